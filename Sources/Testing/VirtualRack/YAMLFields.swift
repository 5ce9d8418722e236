import Primitives
import Yams

/// Reads one mapping of a YAML document key by key; every error names the file and the path of the key.
struct YAMLFields {
    let file: String
    let path: String
    private let values: [String: Node]
    private var taken: [String] = []

    init(_ node: Node, file: String, path: String) throws(RackError) {
        self.file = file
        self.path = path
        guard case .mapping(let mapping) = node else {
            throw .invalidFile(file: file, path: path, problem: "must be a mapping of keys to values")
        }
        var values: [String: Node] = [:]
        for (key, value) in mapping {
            guard case .scalar(let scalar) = key else {
                throw .invalidFile(file: file, path: path, problem: "a key must be a plain text")
            }
            values[scalar.string] = value
        }
        self.values = values
    }

    func error(_ key: String, _ problem: String) -> RackError {
        .invalidFile(file: file, path: join(key), problem: problem)
    }

    func join(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    /// Refuses keys that nobody asked for.
    func finish() throws(RackError) {
        guard let unknown = values.keys.filter({ !taken.contains($0) }).min() else { return }
        let known = taken.joined(separator: ", ")
        throw error(unknown.printable(limit: 60), "unknown key; the keys here are \(known)")
    }

    mutating func optional(_ key: String) -> Node? {
        taken.append(key)
        return values[key]
    }

    /// Whether there is such a key, which counts as asked for.
    mutating func has(_ key: String) -> Bool { optional(key) != nil }

    mutating func required(_ key: String) throws(RackError) -> Node {
        guard let node = optional(key) else { throw error(key, "is missing") }
        return node
    }

    mutating func text(_ key: String) throws(RackError) -> String {
        guard case .scalar(let scalar) = try required(key) else { throw error(key, "must be a plain text") }
        return scalar.string
    }

    mutating func text(_ key: String, default value: String) throws(RackError) -> String {
        if values[key] != nil { return try text(key) }
        taken.append(key)
        return value
    }

    mutating func integer(_ key: String, in range: ClosedRange<Int>, default value: Int? = nil) throws(RackError) -> Int
    {
        if values[key] == nil, let value {
            taken.append(key)
            return value
        }
        let text = try text(key)
        guard let number = Int(text), range.contains(number) else {
            let shown = text.printable(limit: 40)
            throw error(key, "'\(shown)' is not a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// A text of 1 to `limit` characters from `characters`.
    mutating func word(_ key: String, limit: Int, _ characters: Characters) throws(RackError) -> String {
        let text = try text(key)
        guard (1...limit).contains(text.utf8.count), text.utf8.allSatisfy(characters.contains) else {
            throw error(key, "'\(text.printable(limit: 80))' must be 1 to \(limit) of \(characters.description)")
        }
        return text
    }

    mutating func choice<Value: RawRepresentable & CaseIterable>(
        _ key: String, default value: Value
    ) throws(RackError) -> Value where Value.RawValue == String {
        if values[key] != nil { return try choice(key) }
        taken.append(key)
        return value
    }

    mutating func choice<Value: RawRepresentable & CaseIterable>(_ key: String) throws(RackError) -> Value
    where Value.RawValue == String {
        let text = try text(key)
        guard let value = Value(rawValue: text) else {
            let known = Value.allCases.map(\.rawValue).joined(separator: ", ")
            throw error(key, "'\(text.printable(limit: 40))' is not known; use \(known)")
        }
        return value
    }

    /// A value that parses itself from text.
    mutating func value<Value>(
        _ key: String, _ parse: (String) throws(InvalidValue) -> Value
    ) throws(RackError) -> Value {
        let text = try text(key)
        do { return try parse(text) } catch { throw self.error(key, error.publicMessage) }
    }

    mutating func fields(_ key: String) throws(RackError) -> YAMLFields {
        try YAMLFields(try required(key), file: file, path: join(key))
    }

    mutating func list<Value>(
        _ key: String, count: ClosedRange<Int>, _ read: (inout YAMLFields) throws(RackError) -> Value
    ) throws(RackError) -> [Value] {
        guard case .sequence(let nodes) = try required(key) else { throw error(key, "must be a list") }
        guard count.contains(nodes.count) else {
            throw error(key, "must have \(count.lowerBound) to \(count.upperBound) entries, and has \(nodes.count)")
        }
        var values: [Value] = []
        for (index, node) in nodes.enumerated() {
            var fields = try YAMLFields(node, file: file, path: "\(join(key))[\(index)]")
            values.append(try read(&fields))
            try fields.finish()
        }
        return values
    }
}

/// Sets of characters that words of a rack file are made of.
enum Characters {
    /// `a-z`, `0-9`, `-`, not first or last `-`: see `RackFile`.
    case name
    /// Letters, digits, `.`, `_`, `-`.
    case serial
    /// Printable ASCII without quotes, backslash, `<`, `>` and `&`.
    case product
    /// Printable ASCII without a space.
    case password

    func contains(_ byte: UInt8) -> Bool {
        let isLower = (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
        let isUpper = (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
        let isDigit = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        switch self {
        case .name: return isLower || isDigit || byte == UInt8(ascii: "-")
        case .serial: return isLower || isUpper || isDigit || "._-".utf8.contains(byte)
        case .product: return (0x20...0x7E).contains(byte) && !"\"'`\\<>&".utf8.contains(byte)
        case .password: return (0x21...0x7E).contains(byte)
        }
    }

    var description: String {
        switch self {
        case .name: "a-z, 0-9 and '-'"
        case .serial: "letters, digits, '.', '_' and '-'"
        case .product: "printable ASCII without quotes, backslashes, '<', '>' and '&'"
        case .password: "printable ASCII without spaces"
        }
    }
}
