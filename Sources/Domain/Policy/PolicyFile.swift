import Primitives
import Yams

/// An operator's override file: YAML (JSON is YAML too) that maps names of rules to checks, as OpenStack's
/// `policy.yaml` does.
///
/// Read strictly: every value is a text, an empty one stands in quotes (it allows everybody), no key stands twice.
public struct PolicyFile: Sendable, Hashable {
    /// Bytes of a file.
    public static let sizeMax = 1 << 20

    /// Where the file is, as errors name it.
    public let path: String
    /// Checks by the names of the rules that they replace.
    public let checks: [String: String]

    /// Reads `text`, the content of the file at `path`; throws `PolicyError` with the line that is wrong.
    public init(_ text: String, path: String) throws(PolicyError) {
        self.path = path
        func wrong(_ line: Int?, _ problem: String) -> PolicyError {
            PolicyError(.file(line: line, problem: problem), file: path)
        }
        guard text.utf8.count <= Self.sizeMax else {
            throw wrong(nil, "it is larger than \(Self.sizeMax) bytes; keep only the rules that differ.")
        }
        let root: Node?
        do { root = try Yams.compose(yaml: text) } catch {
            let (line, problem) = Self.problem(of: error)
            throw wrong(line, problem)
        }
        // A file of comments only overrides nothing.
        guard let root, root != Node("", Tag(.null)) else {
            checks = [:]
            return
        }
        guard case .mapping(let mapping) = root else {
            throw wrong(root.mark?.line, "expected a mapping such as identity:list_users: \"rule:admin_required\".")
        }
        var checks: [String: String] = [:]
        for (key, value) in mapping {
            guard case .scalar(let name) = key, !name.string.isEmpty else {
                throw wrong(key.mark?.line, "expected the name of a rule before the colon.")
            }
            guard case .scalar(let check) = value else {
                throw wrong(value.mark?.line, "expected one text in quotes for '\(name.string.printable(limit: 80))'.")
            }
            guard !check.string.isEmpty || [.singleQuoted, .doubleQuoted].contains(check.style) else {
                throw wrong(
                    value.mark?.line ?? key.mark?.line,
                    "'\(name.string.printable(limit: 80))' has no check; write \"@\" to allow everybody or \"!\" to "
                        + "allow nobody, with the quotes.")
            }
            checks[name.string] = check.string
        }
        self.checks = checks
    }

    private static func problem(of error: any Error) -> (line: Int?, text: String) {
        guard let error = error as? YamlError else { return (nil, "not YAML: \("\(error)".printable(limit: 200)).") }
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            return (mark.line, "not YAML: \(problem.printable(limit: 200)); put checks in quotes.")
        case .duplicatedKeysInMapping(let names, let context):
            let name = names.map { $0.printable(limit: 80) }.joined(separator: ", ")
            return (context.mark.line, "'\(name)' stands twice; keep one.")
        default:
            return (nil, "not YAML: \("\(error)".printable(limit: 200)).")
        }
    }
}

extension PolicyTable {
    /// A table of `defaults` with the checks of `file`; a `PolicyError` about one of these names the file.
    public init(_ defaults: [PolicyRule], file: PolicyFile) throws(PolicyError) {
        do { try self.init(defaults, overrides: file.checks) } catch {
            var named = error
            named.file = file.path
            throw named
        }
    }
}
