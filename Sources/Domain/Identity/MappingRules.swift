import Primitives

/// How what an identity provider says of somebody becomes a user, groups and projects here: Keystone's federation
/// mappings (`/v3/OS-FEDERATION/mappings`), in their schema versions 1.0, 2.0 and 3.0.
///
/// Making one checks the rules against the version's schema; `MappingRules.evaluate` applies them.
public struct MappingRules: Sendable, Hashable {
    /// A version of the schema: 2.0 gives users and projects the mapping's domain, 3.0 knows `projects_json`.
    public enum SchemaVersion: String, Sendable, Hashable {
        case one = "1.0"
        case two = "2.0"
        case three = "3.0"
    }

    /// The most rules of a mapping.
    public static let ruleCountMax = 1000

    /// A domain by its identifier or its name.
    struct Domain: Sendable, Hashable {
        var id: MappingTemplate?
        var name: MappingTemplate?
    }

    /// What a rule asks of one attribute.
    struct Requirement: Sendable, Hashable {
        enum Test: Sendable, Hashable {
            /// It is there; its values can be referred to.
            case isThere
            /// One of its values is one of these, or matches one.
            case anyOneOf([String])
            /// None is.
            case notAnyOf([String])
            /// Its values but these can be referred to.
            case blacklist([String])
            /// Those of its values that are among these can be referred to.
            case whitelist([String])
        }

        var attribute: String
        var test: Test
        var isRegex: Bool
    }

    /// What a rule that applies gives.
    struct Local: Sendable, Hashable {
        struct User: Sendable, Hashable {
            var id: MappingTemplate?
            var name: MappingTemplate?
            var email: MappingTemplate?
            var domain: Domain?
            var isLocal = false
        }

        enum Group: Sendable, Hashable {
            case id(MappingTemplate)
            case name(MappingTemplate, Domain)
        }

        struct Project: Sendable, Hashable {
            var name: MappingTemplate
            var domain: Domain?
            var roles: [MappingTemplate]
        }

        var user: User?
        var group: Group?
        var groups: MappingTemplate?
        var groupIDs: MappingTemplate?
        var domain: Domain?
        var projects: [Project]?
        /// Which of the rule's values is JSON that lists projects.
        var projectsJSON: Int?
    }

    struct Rule: Sendable, Hashable {
        var remote: [Requirement]
        var local: [Local]
    }

    let version: SchemaVersion
    let rules: [Rule]

    /// Whether a login takes roles on projects away that the rules do not give any more.
    public var replacesRoles: Bool { version == .three }

    /// Checks and reads the `rules` of a mapping. Throws `MappingError.invalid`, which says where and what.
    public init(_ rules: JSONValue, schemaVersion: String = SchemaVersion.one.rawValue) throws(MappingError) {
        guard let version = SchemaVersion(rawValue: schemaVersion) else {
            throw .invalid("schema_version: expected 1.0, 2.0 or 3.0")
        }
        self.version = version
        let reader = MappingReader(version: version)
        let values = try reader.array(rules, "rules", countMin: 1)
        guard values.count <= Self.ruleCountMax else { throw .invalid("rules: at most \(Self.ruleCountMax)") }
        var read: [Rule] = []
        for (index, value) in values.enumerated() { read.append(try reader.rule(value, "rules[\(index)]")) }
        self.rules = read
    }
}

/// Why a mapping is not taken, or gives nothing for somebody.
public enum MappingError: UserFacingError, Hashable {
    /// The mapping has not the form of its schema version; the text says where.
    case invalid(String)
    /// No rule applies to what the provider says.
    case noMatch
    /// A rule refers to a value that its `remote` part does not give.
    case missingValue(String)
    /// A rule gives groups or JSON without what they need.
    case incomplete(String)
    /// The provider says too much.
    case tooLarge

    public var publicMessage: String {
        switch self {
        case .invalid(let what): "The mapping is not valid: \(what)."
        case .noMatch: "The mapping has no rule that gives a user for what the identity provider says."
        case .missingValue(let what): "The mapping refers to a value that there is not: \(what)."
        case .incomplete(let what): "The mapping gives something incomplete: \(what)."
        case .tooLarge: "The identity provider says more than \(FederationAssertion.sizeMax) bytes."
        }
    }
}

/// Reads the JSON of mappings.
struct MappingReader {
    let version: MappingRules.SchemaVersion
    /// Whether braces are only braces.
    var isLiteral = false

    func rule(_ value: JSONValue, _ path: String) throws(MappingError) -> MappingRules.Rule {
        let object = try object(value, path, required: ["local", "remote"])
        var rule = MappingRules.Rule(remote: [], local: [])
        for (index, value) in try array(object["remote"], "\(path).remote", countMin: 1).enumerated() {
            rule.remote.append(try requirement(value, "\(path).remote[\(index)]"))
        }
        for (index, value) in try array(object["local"], "\(path).local").enumerated() {
            rule.local.append(try local(value, "\(path).local[\(index)]"))
        }
        return rule
    }

    private func requirement(_ value: JSONValue, _ path: String) throws(MappingError) -> MappingRules.Requirement {
        let tests = ["any_one_of", "not_any_of", "blacklist", "whitelist"]
        let object = try object(value, path, required: ["type"], optional: tests + ["regex"])
        let given = tests.filter { object[$0] != nil }
        guard given.count <= 1, !(given.isEmpty && object["regex"] != nil) else {
            throw .invalid("\(path): expected 'type' and at most one of \(tests.joined(separator: ", "))")
        }
        var requirement = MappingRules.Requirement(
            attribute: try string(object["type"], "\(path).type"), test: .isThere, isRegex: false)
        if let regex = object["regex"] {
            guard case .bool(let isRegex) = regex else { throw .invalid("\(path).regex: expected true or false") }
            requirement.isRegex = isRegex
        }
        guard let name = given.first else { return requirement }
        // Values are texts; another type is allowed and never found.
        let values = try array(object[name], "\(path).\(name)").compactMap { value -> String? in
            guard case .string(let text) = value else { return nil }
            return text
        }
        if requirement.isRegex, let wrong = values.first(where: { (try? Regex($0)) == nil }) {
            throw .invalid("\(path).\(name): '\(wrong.printable(limit: 80))' is no regular expression")
        }
        switch name {
        case "any_one_of": requirement.test = .anyOneOf(values)
        case "not_any_of": requirement.test = .notAnyOf(values)
        case "blacklist": requirement.test = .blacklist(values)
        default: requirement.test = .whitelist(values)
        }
        return requirement
    }

    private func local(_ value: JSONValue, _ path: String) throws(MappingError) -> MappingRules.Local {
        let names = ["user", "projects", "group", "groups", "group_ids", "domain"]
        let object = try object(
            value, path, optional: version == .three ? names + ["projects_json"] : names)
        var local = MappingRules.Local()
        if let user = object["user"] { local.user = try self.user(user, "\(path).user") }
        if let group = object["group"] { local.group = try self.group(group, "\(path).group") }
        local.groups = try template(object["groups"], "\(path).groups")
        local.groupIDs = try template(object["group_ids"], "\(path).group_ids")
        local.domain = try domain(object["domain"], "\(path).domain")
        if let value = object["projects"] {
            local.projects = try projects(value, "\(path).projects")
        }
        if let value = object["projects_json"] {
            let text = try string(value, "\(path).projects_json")
            let number = text.drop { $0 == "{" }.prefix { $0.isASCII && $0.isNumber }
            guard let index = Int(number), number.count <= 3 else {
                throw .invalid("\(path).projects_json: expected a reference such as {0}")
            }
            local.projectsJSON = index
        }
        return local
    }

    private func user(_ value: JSONValue, _ path: String) throws(MappingError) -> MappingRules.Local.User {
        let object = try object(value, path, optional: ["id", "name", "email", "domain", "type"])
        var user = MappingRules.Local.User()
        user.id = try template(object["id"], "\(path).id")
        user.name = try template(object["name"], "\(path).name")
        user.email = try template(object["email"], "\(path).email")
        user.domain = try domain(object["domain"], "\(path).domain")
        switch object["type"] {
        case nil, .string("ephemeral"): user.isLocal = false
        case .string("local"): user.isLocal = true
        default: throw .invalid("\(path).type: expected ephemeral or local")
        }
        return user
    }

    private func group(_ value: JSONValue, _ path: String) throws(MappingError) -> MappingRules.Local.Group {
        let object = try object(value, path, optional: ["id", "name", "domain"])
        if let id = try template(object["id"], "\(path).id"), object.count == 1 { return .id(id) }
        guard let name = try template(object["name"], "\(path).name"),
            let domain = try domain(object["domain"], "\(path).domain"), object.count == 2
        else { throw .invalid("\(path): expected either 'id', or 'name' and 'domain'") }
        return .name(name, domain)
    }

    /// Projects with their roles, as `projects` has them and, from version 3.0, JSON of the provider.
    func projects(_ value: JSONValue, _ path: String) throws(MappingError) -> [MappingRules.Local.Project] {
        var projects: [MappingRules.Local.Project] = []
        for (index, value) in try array(value, path).enumerated() {
            projects.append(try project(value, "\(path)[\(index)]"))
        }
        return projects
    }

    private func project(_ value: JSONValue, _ path: String) throws(MappingError) -> MappingRules.Local.Project {
        let object = try object(
            value, path, required: ["name", "roles"], optional: version == .one ? [] : ["domain"])
        var roles: [MappingTemplate] = []
        for (index, role) in try array(object["roles"], "\(path).roles").enumerated() {
            let role = try self.object(role, "\(path).roles[\(index)]", required: ["name"])
            if let name = try template(role["name"], "\(path).roles[\(index)].name") { roles.append(name) }
        }
        guard let name = try template(object["name"], "\(path).name") else { throw .invalid("\(path): no name") }
        return MappingRules.Local.Project(
            name: name, domain: try domain(object["domain"], "\(path).domain"), roles: roles)
    }

    private func domain(_ value: JSONValue?, _ path: String) throws(MappingError) -> MappingRules.Domain? {
        guard let value else { return nil }
        let object = try object(value, path, optional: ["id", "name"])
        return MappingRules.Domain(
            id: try template(object["id"], "\(path).id"), name: try template(object["name"], "\(path).name"))
    }

    private func template(_ value: JSONValue?, _ path: String) throws(MappingError) -> MappingTemplate? {
        guard let value else { return nil }
        let text = try string(value, path)
        guard let template = isLiteral ? MappingTemplate(literal: text) : MappingTemplate(text) else {
            throw .invalid("\(path): expected text with references such as {0}; braces are written {{ and }}")
        }
        return template
    }

    fileprivate func array(_ value: JSONValue?, _ path: String, countMin: Int = 0) throws(MappingError) -> [JSONValue] {
        guard case .array(let values) = value, values.count >= countMin else {
            throw .invalid("\(path): expected a list\(countMin > 0 ? " with at least \(countMin) entry" : "")")
        }
        return values
    }

    private func string(_ value: JSONValue?, _ path: String) throws(MappingError) -> String {
        guard case .string(let text) = value else { throw .invalid("\(path): expected a text") }
        return text
    }

    private func object(
        _ value: JSONValue, _ path: String, required: [String] = [], optional: [String] = []
    ) throws(MappingError) -> [String: JSONValue] {
        guard case .object(let object) = value else { throw .invalid("\(path): expected an object") }
        if let missing = required.first(where: { object[$0] == nil }) {
            throw .invalid("\(path): '\(missing)' is missing")
        }
        if let other = object.keys.sorted().first(where: { !required.contains($0) && !optional.contains($0) }) {
            throw .invalid("\(path): '\(other.printable(limit: 80))' is not known")
        }
        return object
    }
}
