import Primitives
import Yams

/// What reading a site file has found: where each value stands and what is wrong.
final class SiteReading {
    private(set) var problems: [SiteProblem] = []
    private(set) var lines: [String: Int] = [:]

    func report(_ path: String, _ node: Yams.Node?, _ message: String) {
        problems.append(SiteProblem(path: path, line: node?.mark?.line ?? line(of: path), message: message))
    }

    func note(_ path: String, _ node: Yams.Node) {
        if let line = node.mark?.line { lines[path] = line }
    }

    /// The line of `path`, or of the nearest thing around it.
    func line(of path: String) -> Int? { Self.line(of: path, in: lines) }

    static func line(of path: String, in lines: [String: Int]) -> Int? {
        var rest = path[...]
        while !rest.isEmpty {
            if let line = lines[String(rest)] { return line }
            guard let cut = rest.lastIndex(where: { $0 == "." || $0 == "[" }) else { return nil }
            rest = rest[..<cut]
        }
        return nil
    }
}

/// The fields of one mapping; each that is asked for is known, the rest is refused by `finish`.
final class FieldReader {
    let path: String
    let reading: SiteReading
    private let node: Yams.Node
    private var fields: [String: Yams.Node] = [:]
    private var keys: [String: Yams.Node] = [:]
    private var known: [String] = []

    /// The fields of `node`; reports and returns nil when it is not a mapping.
    init?(_ node: Yams.Node, path: String, reading: SiteReading) {
        guard case .mapping(let mapping) = node else {
            reading.report(path, node, "expected fields, each as 'key: value'")
            return nil
        }
        self.node = node
        self.path = path
        self.reading = reading
        reading.note(path, node)
        for (key, value) in mapping {
            guard case .scalar(let name) = key else {
                reading.report(path, key, "a key must be plain text")
                continue
            }
            fields[name.string] = value
            keys[name.string] = key
            reading.note(self.path(of: name.string), key)
        }
    }

    func path(of key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    /// The node at `key`; nil when there is none.
    func node(_ key: String) -> Yams.Node? {
        known.append(key)
        return fields[key]
    }

    /// Whether `key` is there, without making it a known one.
    func has(_ key: String) -> Bool { fields[key] != nil }

    /// All keys in the order of the file, each known from now on.
    func allKeys() -> [String] {
        let names = keys.sorted { ($0.value.mark?.line ?? 0, $0.key) < ($1.value.mark?.line ?? 0, $1.key) }.map(\.key)
        known += names
        return names
    }

    /// The text at `key`; reports when it is not one line of text.
    func text(_ key: String) -> String? {
        guard let node = node(key) else { return nil }
        return scalar(node, at: path(of: key))
    }

    /// The text at `key`; reports when there is none.
    func requiredText(_ key: String) -> String {
        guard has(key) else {
            _ = node(key)
            reading.report(path, node, "'\(key)' is missing")
            return ""
        }
        return text(key) ?? ""
    }

    /// What `parse` makes of the text at `key`; reports what it throws.
    func value<Value>(_ key: String, _ parse: (String) throws(InvalidValue) -> Value) -> Value? {
        guard let node = node(key), let text = scalar(node, at: path(of: key)) else { return nil }
        do { return try parse(text) } catch {
            reading.report(path(of: key), node, error.publicMessage)
            return nil
        }
    }

    /// As `value`, but reports when there is none.
    func required<Value>(_ key: String, _ parse: (String) throws(InvalidValue) -> Value) -> Value? {
        guard has(key) else {
            _ = requiredText(key)
            return nil
        }
        return value(key, parse)
    }

    /// The whole number at `key`.
    func integer(_ key: String) -> Int? {
        value(key) { (text) throws(InvalidValue) in
            guard let number = Int(text), String(number) == text else {
                throw InvalidValue("number", text, expected: "a whole number such as 15")
            }
            return number
        }
    }

    /// The truth at `key`; false when there is none.
    func flag(_ key: String) -> Bool {
        value(key) { (text) throws(InvalidValue) in
            guard text == "true" || text == "false" else {
                throw InvalidValue("answer", text, expected: "true or false")
            }
            return text == "true"
        } ?? false
    }

    /// The elements of the list at `key` with their paths; empty when there is none.
    func list(_ key: String, countMax: Int) -> [(path: String, node: Yams.Node)] {
        guard let node = node(key) else { return [] }
        guard case .sequence(let sequence) = node else {
            reading.report(path(of: key), node, "expected a list, each entry with '- ' before it")
            return []
        }
        if sequence.count > countMax {
            reading.report(path(of: key), node, "\(sequence.count) entries; at most \(countMax) are possible")
        }
        return sequence.prefix(countMax).enumerated().map { index, element in
            let place = "\(path(of: key))[\(index)]"
            reading.note(place, element)
            return (place, element)
        }
    }

    /// The texts of the list at `key`.
    func texts(_ key: String, countMax: Int) -> [String] {
        list(key, countMax: countMax).map { scalar($0.node, at: $0.path) ?? "" }
    }

    /// The fields at `key`; nil when there are none.
    func fields(_ key: String) -> FieldReader? {
        guard let node = node(key) else { return nil }
        return FieldReader(node, path: path(of: key), reading: reading)
    }

    /// Reports every key that was never asked for.
    func finish() {
        let unknown = keys.filter { !known.contains($0.key) }
        for (key, node) in unknown.sorted(by: { $0.key < $1.key }) {
            let message =
                key == "password"
                ? "a password must not stand in this file; put it into a file of mode 0600 and name it with "
                    + "'passwordFile', or name an environment variable with 'passwordEnv'"
                : "unknown key; known here: \(known.filter { $0 != "password" }.joined(separator: ", "))"
            reading.report(path(of: key.printable(limit: 80)), node, message)
        }
    }

    private func scalar(_ node: Yams.Node, at path: String) -> String? {
        guard case .scalar(let scalar) = node else {
            reading.report(path, node, "expected one value")
            return nil
        }
        let isPlain = scalar.style == .plain || scalar.style == .any
        if isPlain, ["", "~", "null", "Null", "NULL"].contains(scalar.string) {
            reading.report(path, node, "the value is missing; leave the key out or give it one")
            return nil
        }
        return scalar.string
    }
}
