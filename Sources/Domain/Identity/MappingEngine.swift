import FoundationEssentials
import Primitives

/// What an identity provider says of somebody: attributes with their values.
public struct FederationAssertion: Sendable, Hashable {
    /// The most bytes of all names and values.
    public static let sizeMax = 64 * 1024

    /// The values of each attribute, in their order.
    public var values: [String: [String]]

    /// Attributes with lists of values, for example of a token's claims.
    public init(values: [String: [String]]) { self.values = values }

    /// Attributes as a web server hands them on, with `;` between the values.
    public init(attributes: [String: String]) {
        values = attributes.mapValues { text in
            text.split(separator: ";", omittingEmptySubsequences: false).map(String.init)
        }
    }

    var size: Int {
        values.reduce(0) { sum, pair in
            pair.value.reduce(sum + pair.key.utf8.count) { $0 + $1.utf8.count + 1 }
        }
    }
}

/// Who somebody is here, by a mapping.
public struct MappedIdentity: Sendable, Hashable {
    /// A domain by its identifier or its name.
    public struct Domain: Sendable, Hashable {
        /// Its identifier, if the mapping says it.
        public var id: String?
        /// Its name, if the mapping says it.
        public var name: String?

        /// A domain.
        public init(id: String? = nil, name: String? = nil) {
            self.id = id
            self.name = name
        }
    }

    /// The user.
    public struct User: Sendable, Hashable {
        public var id: String?
        public var name: String?
        public var email: String?
        /// The domain; nil: the identity provider's.
        public var domain: Domain?
        /// Whether it is a user that exists here, and none that comes with the provider's word.
        public var isLocal = false
    }

    /// A group by its name.
    public struct Group: Sendable, Hashable {
        public var name: String
        public var domain: Domain
    }

    /// A project that the user gets roles on.
    public struct Project: Sendable, Hashable {
        public var name: String
        /// The domain; nil: the identity provider's.
        public var domain: Domain?
        /// The names of the roles.
        public var roles: [String]
    }

    /// The user.
    public var user = User()
    /// Groups by their identifiers, each once.
    public var groupIDs: [String] = []
    /// Groups by their names, each once.
    public var groups: [Group] = []
    /// Projects with roles.
    public var projects: [Project] = []
}

extension MappingRules {
    /// Applies the rules: those of whose `remote` part everything holds give their `local` parts, in their order.
    ///
    /// The first user counts, the last projects, all groups. Throws `MappingError` when no rule applies or when one
    /// that does gives something that cannot be.
    public func evaluate(_ assertion: FederationAssertion) throws(MappingError) -> MappedIdentity {
        guard assertion.size <= FederationAssertion.sizeMax else { throw .tooLarge }
        var identity = MappedIdentity()
        var hasUser = false
        var lastDomain: MappedIdentity.Domain?
        var isEmpty = true
        for rule in rules {
            guard let values = try Self.values(rule.remote, assertion) else { continue }
            for local in rule.local {
                isEmpty = false
                lastDomain = try local.domain?.rendered(values)
                if let user = local.user, !hasUser, user != Local.User() {
                    identity.user = try user.rendered(values)
                    hasUser = true
                }
                try addGroups(of: local, values, lastDomain, to: &identity)
                if local.projects != nil || local.projectsJSON != nil {
                    identity.projects = try projects(of: local, values, lastDomain)
                }
            }
        }
        guard !isEmpty else { throw .noMatch }
        if version != .one, identity.user.domain == nil { identity.user.domain = lastDomain }
        return identity
    }

    // MARK: Remote

    /// The values that templates refer to; nil when a requirement does not hold.
    private static func values(
        _ requirements: [Requirement], _ assertion: FederationAssertion
    ) throws(MappingError) -> [[String]]? {
        var found: [[String]] = []
        for requirement in requirements {
            guard let values = assertion.values[requirement.attribute], !values.isEmpty else { return nil }
            switch requirement.test {
            case .isThere: found.append(values)
            case .anyOneOf(let wanted):
                guard try !requirement.matching(wanted, values).isEmpty else { return nil }
            case .notAnyOf(let unwanted):
                guard try requirement.matching(unwanted, values).isEmpty else { return nil }
            case .blacklist(let unwanted):
                let matches = try requirement.matching(unwanted, values)
                found.append(values.filter { !matches.contains($0) }.unique)
            case .whitelist(let wanted):
                let matches = try requirement.matching(wanted, values)
                found.append(values.filter { matches.contains($0) }.unique)
            }
        }
        return found
    }

    // MARK: Local

    private func addGroups(
        of local: Local, _ values: [[String]], _ domain: MappedIdentity.Domain?, to identity: inout MappedIdentity
    ) throws(MappingError) {
        switch local.group {
        case nil: break
        case .id(let id): identity.groupIDs.append(try id.text(values))
        case .name(let name, let domain):
            identity.groups.append(.init(name: try name.text(values), domain: try domain.rendered(values)))
        }
        for name in try local.groups?.list(values) ?? [] {
            identity.groups.append(try Self.group(name, domain))
        }
        identity.groupIDs += try local.groupIDs?.list(values) ?? []
        identity.groupIDs = identity.groupIDs.unique
        identity.groups = identity.groups.unique
    }

    /// A group of a list: its name in the mapping's domain, or `JSON:{"name": …, "domain": …}`.
    private static func group(_ text: String, _ domain: MappedIdentity.Domain?) throws(MappingError)
        -> MappedIdentity
        .Group
    {
        guard text.hasPrefix("JSON:") else {
            guard let domain else { throw .incomplete("'groups' without 'domain'") }
            return .init(name: text, domain: domain)
        }
        guard case .object(let object) = json(String(text.dropFirst(5))), case .string(let name) = object["name"],
            case .object(let domain) = object["domain"]
        else { throw .incomplete("a group in JSON without name or domain") }
        var read = MappedIdentity.Domain()
        if case .string(let id) = domain["id"] { read.id = id }
        if case .string(let name) = domain["name"] { read.name = name }
        guard read != .init() else { throw .incomplete("a group in JSON without its domain's id or name") }
        return .init(name: name, domain: read)
    }

    private func projects(
        of local: Local, _ values: [[String]], _ domain: MappedIdentity.Domain?
    ) throws(MappingError) -> [MappedIdentity.Project] {
        var projects: [MappedIdentity.Project] = []
        for project in local.projects ?? [] { projects.append(try project.rendered(values)) }
        if let index = local.projectsJSON {
            guard values.indices.contains(index), values[index].count == 1 else { throw .missingValue("{\(index)}") }
            guard let value = Self.json(values[index][0]) else { throw .incomplete("projects that are no JSON") }
            // What a provider says is text and no template.
            for project in try MappingReader(version: version, isLiteral: true).projects(value, "projects_json") {
                projects.append(try project.rendered([]))
            }
        }
        guard version != .one else { return projects }
        return projects.map { project in
            var project = project
            if project.domain == nil || project.domain == .init() { project.domain = domain }
            return project
        }
    }

    private static func json(_ text: String) -> JSONValue? {
        try? JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))
    }
}

extension MappingRules.Requirement {
    /// Those of `values` that are among `wanted`, or that one of those matches somewhere.
    fileprivate func matching(_ wanted: [String], _ values: [String]) throws(MappingError) -> Set<String> {
        guard isRegex else { return Set(values).intersection(wanted) }
        var found: Set<String> = []
        for pattern in wanted {
            guard let regex = (try? Regex(pattern))?.matchingSemantics(.unicodeScalar) else {
                throw .invalid("'\(pattern.printable(limit: 80))' is no regular expression")
            }
            for value in values where !found.contains(value) && (try? regex.firstMatch(in: value)) != nil {
                found.insert(value)
            }
        }
        return found
    }
}

extension MappingRules.Domain {
    fileprivate func rendered(_ values: [[String]]) throws(MappingError) -> MappedIdentity.Domain {
        MappedIdentity.Domain(id: try id?.text(values), name: try name?.text(values))
    }
}

extension MappingRules.Local.User {
    fileprivate func rendered(_ values: [[String]]) throws(MappingError) -> MappedIdentity.User {
        MappedIdentity.User(
            id: try id?.text(values), name: try name?.text(values), email: try email?.text(values),
            domain: try domain?.rendered(values), isLocal: isLocal)
    }
}

extension MappingRules.Local.Project {
    fileprivate func rendered(_ values: [[String]]) throws(MappingError) -> MappedIdentity.Project {
        var names: [String] = []
        for role in roles { names.append(try role.text(values)) }
        return MappedIdentity.Project(
            name: try name.text(values), domain: try domain?.rendered(values), roles: names)
    }
}

extension Array where Element: Hashable {
    /// Each element once, at its first place.
    fileprivate var unique: [Element] {
        var seen: Set<Element> = []
        return filter { seen.insert($0).inserted }
    }
}
