/// What a rule asks, as a tree: the language of OpenStack's policy files, parsed.
///
/// Its `description` is that language again, and parses to an equal tree.
public indirect enum PolicyCheck: Sendable, Hashable {
    /// `@`: everybody.
    case always
    /// `!`: nobody.
    case never
    /// `role:reader`: the caller has the role, compared without case.
    case role(PolicyText)
    /// `rule:owner`: the rule of that name holds, its scopes not asked.
    case rule(String)
    /// `user_id:%(target.user.id)s`: both sides are the same.
    case same(PolicySubject, PolicyText)
    case not(PolicyCheck)
    /// Every one holds; true for none.
    case all([PolicyCheck])
    /// At least one holds; false for none.
    case any([PolicyCheck])
}

/// The left side of a comparison: what the caller is, or a constant.
public enum PolicySubject: Sendable, Hashable {
    case attribute(PolicyAttribute)
    /// `'manager'`, `True` or `1`.
    case text(String)
    /// `None`.
    case null
}

/// The right side of a comparison: a constant, or what the target holds.
public enum PolicyText: Sendable, Hashable {
    case text(String)
    /// `None`.
    case null
    /// `%(target.user.id)s`.
    case target(PolicyPath)
    /// Text and target members in a row, such as `%(target.project.id)s-owner`.
    case joined([PolicyText])
}

extension PolicyText: ExpressibleByStringLiteral {
    public init(stringLiteral value: String) { self = .text(value) }
}

/// A dotted name of a target's member, cut once.
public struct PolicyPath: Sendable, Hashable, CustomStringConvertible, ExpressibleByStringLiteral {
    public let description: String
    let parts: [String]

    /// The path `dotted`, for example `target.user.domain_id`.
    public init(_ dotted: String) {
        description = dotted
        parts = dotted.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    }

    public init(stringLiteral value: String) { self.init(value) }
}

extension PolicyCheck: CustomStringConvertible {
    public var description: String {
        switch self {
        case .always: "@"
        case .never: "!"
        case .role(let name): "role:\(name)"
        case .rule(let name): "rule:\(name)"
        case .same(let left, let right): "\(left):\(right)"
        case .not(let check): "not \(check.asPart)"
        case .all(let checks): checks.isEmpty ? "@" : checks.map(\.asPart).joined(separator: " and ")
        case .any(let checks): checks.isEmpty ? "!" : checks.map(\.asPart).joined(separator: " or ")
        }
    }

    /// The text of this check as a part of another one.
    private var asPart: String {
        switch self {
        case .all(let checks) where !checks.isEmpty: "(\(self))"
        case .any(let checks) where !checks.isEmpty: "(\(self))"
        default: description
        }
    }
}

extension PolicySubject: CustomStringConvertible {
    public var description: String {
        switch self {
        case .attribute(let attribute): attribute.rawValue
        case .text(let text): text.contains("'") ? "\"\(text)\"" : "'\(text)'"
        case .null: "None"
        }
    }
}

extension PolicyText: CustomStringConvertible {
    public var description: String {
        switch self {
        case .text(let text): text.split(separator: "%", omittingEmptySubsequences: false).joined(separator: "%%")
        case .null: "None"
        case .target(let path): "%(\(path))s"
        case .joined(let pieces): pieces.map(\.description).joined()
        }
    }
}
