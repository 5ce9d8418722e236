import Primitives

/// A rule or an override file that cannot be used.
public struct PolicyError: UserFacingError, Hashable {
    /// What is wrong.
    public enum Cause: Sendable, Hashable {
        /// Not the rule language: at the 1-based character `position`, `expected` is missing.
        case syntax(position: Int, expected: String)
        /// `rule:name` without such a rule.
        case unknownReference(String)
        /// Rules that ask each other, first one repeated at the end.
        case circle([String])
        /// An override of a rule that does not exist.
        case unknownOverride
        /// Two rules of one name among the defaults.
        case duplicate
        /// Deeper or longer than a decision may cost.
        case tooLarge(String)
        /// Not a file of rules: in `line` (1-based, nil for the whole), `problem`.
        case file(line: Int?, problem: String)
    }

    /// The override file, when the rule came out of one.
    public var file: String?
    /// The rule's name; nil when the trouble is the file's.
    public let rule: String?
    public let cause: Cause

    init(rule: String? = nil, _ cause: Cause, file: String? = nil) {
        self.file = file
        self.rule = rule
        self.cause = cause
    }

    public var publicMessage: String {
        let place = [file.map { "policy file \($0.printable(limit: 200))" }, rule.map { "rule '\(Self.short($0))'" }]
        return (place.compactMap(\.self) + [explanation]).joined(separator: ": ")
    }

    private var explanation: String {
        switch cause {
        case .syntax(let position, let expected):
            "character \(position): expected \(expected)."
        case .unknownReference(let name):
            "there is no rule '\(Self.short(name))' to refer to; correct the name after 'rule:'."
        case .circle(let names):
            "it asks itself (\(names.map(Self.short).joined(separator: " → "))); take one of these references out."
        case .unknownOverride:
            "there is no such rule to override; correct its name or take the line out."
        case .duplicate:
            "it is there twice; take one out."
        case .tooLarge(let limit):
            "it is larger than a decision may cost (\(limit)); write it shorter."
        case .file(let line, let problem):
            (line.map { "line \($0): " } ?? "") + problem
        }
    }

    private static func short(_ name: String) -> String { name.printable(limit: 80) }
}
