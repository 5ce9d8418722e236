import Primitives

/// The roles of a user or a group on a project, a domain or the system (Keystone API v3, "UserRole assignments").
public typealias Assignment = IdentityEntry<AssignmentSpec>

/// Who has which roles where; one resource for each actor and target.
public struct AssignmentSpec: IdentitySpec {
    public static let kind = "identity.assignment"

    /// Who.
    public var actor: Actor
    /// Where.
    public var target: Target
    /// Which roles, in order of their identifiers; never empty.
    public var roles: [Grant]

    /// Who has roles; stored as a text.
    public enum Actor: Sendable, Hashable {
        case user(String)
        case group(String)

        /// The identifier.
        public var id: String {
            switch self {
            case .user(let id), .group(let id): id
            }
        }

        /// Unique among all actors.
        public var key: String {
            switch self {
            case .user(let id): "u" + CatalogName.of(id)
            case .group(let id): "g" + CatalogName.of(id)
            }
        }
    }

    /// Where roles are held; stored as a text.
    public enum Target: Sendable, Hashable {
        case project(String)
        case domain(String)
        case system

        /// Unique among all targets.
        public var key: String {
            switch self {
            case .project(let id): "p" + CatalogName.of(id)
            case .domain(let id): "d" + CatalogName.of(id)
            case .system: "s"
            }
        }
    }

    /// One role of them.
    public struct Grant: Codable, Sendable, Hashable {
        /// The role.
        public var roleID: String
        /// Whether it holds in all projects below the target instead of in the target.
        public var isInherited: Bool

        /// A grant.
        public init(roleID: String, isInherited: Bool = false) {
            self.roleID = roleID
            self.isInherited = isInherited
        }
    }

    /// Roles of `actor` on `target`.
    public init(actor: Actor, target: Target, roles: [Grant]) {
        self.actor = actor
        self.target = target
        self.roles = roles
    }

    /// The name of the one resource of these two.
    public static func name(_ actor: Actor, _ target: Target) -> String { "\(actor.key),\(target.key)" }
}

extension AssignmentSpec.Actor: Codable {
    public init(from decoder: any Decoder) throws {
        let (sort, id) = try StoredChoice.read(decoder)
        switch sort {
        case "user": self = .user(id)
        case "group": self = .group(id)
        default: throw StoredChoice.unknown(sort, decoder)
        }
    }

    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .user(let id): try StoredChoice.write("user", id, encoder)
        case .group(let id): try StoredChoice.write("group", id, encoder)
        }
    }
}

extension AssignmentSpec.Target: Codable {
    public init(from decoder: any Decoder) throws {
        let (sort, id) = try StoredChoice.read(decoder)
        switch sort {
        case "project": self = .project(id)
        case "domain": self = .domain(id)
        case "system": self = .system
        default: throw StoredChoice.unknown(sort, decoder)
        }
    }

    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .project(let id): try StoredChoice.write("project", id, encoder)
        case .domain(let id): try StoredChoice.write("domain", id, encoder)
        case .system: try StoredChoice.write("system", "", encoder)
        }
    }
}

/// One of several sorts and an identifier, stored as one text, `sort:identifier`.
private enum StoredChoice {
    static func read(_ decoder: any Decoder) throws -> (sort: String, id: String) {
        let text = try decoder.singleValueContainer().decode(String.self)
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        return (String(parts[0]), parts.count == 2 ? String(parts[1]) : "")
    }

    static func write(_ sort: String, _ id: String, _ encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode("\(sort):\(id)")
    }

    static func unknown(_ sort: String, _ decoder: any Decoder) -> DecodingError {
        .dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: "'\(sort)' is not known"))
    }
}
