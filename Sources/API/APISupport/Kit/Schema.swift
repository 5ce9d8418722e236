import Primitives

/// What JSON a request or an answer may be (a part of JSON Schema 2020-12): it checks values, and says so in OpenAPI.
public indirect enum Schema: Sendable, Hashable {
    /// Anything.
    case any
    case null
    case boolean
    case integer(min: Int? = nil, max: Int? = nil)
    /// A text of so many Unicode characters, perhaps of one of these values or forms.
    case string(min: Int = 0, max: Int? = nil, form: TextForm? = nil)
    /// One of these texts.
    case choice([String])
    case array(of: Schema, max: Int? = nil, isUnique: Bool = false)
    /// Members by name; `others` are allowed when it is not nil.
    case object([String: Schema], required: [String] = [], others: Schema? = .any, minCount: Int = 0)
    /// Fits at least one.
    case either([Schema])

    /// How a text is written.
    public enum TextForm: String, Sendable, Hashable {
        /// RFC 3339, with or without fractions.
        case time = "date-time"
        /// An absolute URI.
        case uri
        /// Not only blanks.
        case notBlank
        /// Hexadecimal digits.
        case hex
        /// Letters, digits, `-`, `_`: what identifiers of Keystone's are made of.
        case identifier
    }

    /// The schema, or null.
    public var orNull: Schema { .either([self, .null]) }

    /// What is wrong with `value` first, nil: nothing is.
    public func fault(in value: JSONValue, at path: String = "") -> SchemaFault? {
        switch (self, value) {
        case (.any, _), (.null, .null), (.boolean, .bool): nil
        case (.integer(let min, let max), _):
            Self.integerFault(value, min, max, path)
        case (.string(let min, let max, let form), .string(let text)):
            Self.textFault(text, min, max, form, path)
        case (.choice(let texts), .string(let text)) where texts.contains(text): nil
        case (.choice(let texts), _):
            SchemaFault(path, "\(value.shown) is not one of \(texts.map { "'\($0)'" }.joined(separator: ", "))")
        case (.array(let element, let max, let isUnique), .array(let values)):
            Self.arrayFault(values, element, max, isUnique, path)
        case (.object(let members, let required, let others, let minCount), .object(let given)):
            Self.objectFault(given, members, required, others, minCount, path)
        case (.either(let schemas), _):
            schemas.contains { $0.fault(in: value, at: path) == nil }
                ? nil : (schemas.first { $0 != .null }?.fault(in: value, at: path) ?? SchemaFault(path, "must be null"))
        default: SchemaFault(path, "\(value.shown) is not of type '\(typeName)'")
        }
    }

    private var typeName: String {
        switch self {
        case .any: "any"
        case .null: "null"
        case .boolean: "boolean"
        case .integer: "integer"
        case .string, .choice: "string"
        case .array: "array"
        case .object: "object"
        case .either(let schemas): schemas.map(\.typeName).joined(separator: "' or '")
        }
    }

    private static func integerFault(_ value: JSONValue, _ min: Int?, _ max: Int?, _ path: String) -> SchemaFault? {
        guard let number = value.integer else { return SchemaFault(path, "\(value.shown) is not of type 'integer'") }
        if let min, number < min { return SchemaFault(path, "\(number) is less than the minimum of \(min)") }
        if let max, number > max { return SchemaFault(path, "\(number) is greater than the maximum of \(max)") }
        return nil
    }

    private static func textFault(
        _ text: String, _ min: Int, _ max: Int?, _ form: TextForm?, _ path: String
    ) -> SchemaFault? {
        let length = text.unicodeScalars.count
        if length < min { return SchemaFault(path, "\(JSONValue.string(text).shown) is too short: \(min) at least") }
        if let max, length > max {
            return SchemaFault(path, "\(JSONValue.string(text).shown) is too long: \(max) characters at most")
        }
        guard let form, !form.fits(text) else { return nil }
        return SchemaFault(path, "\(JSONValue.string(text).shown) is not \(form.words)")
    }

    private static func arrayFault(
        _ values: [JSONValue], _ element: Schema, _ max: Int?, _ isUnique: Bool, _ path: String
    ) -> SchemaFault? {
        if let max, values.count > max { return SchemaFault(path, "has \(values.count) elements: \(max) at most") }
        if isUnique, Set(values).count != values.count { return SchemaFault(path, "has an element twice") }
        for (index, value) in values.enumerated() {
            if let fault = element.fault(in: value, at: "\(path)/\(index)") { return fault }
        }
        return nil
    }

    private static func objectFault(
        _ given: [String: JSONValue], _ members: [String: Schema], _ required: [String], _ others: Schema?,
        _ minCount: Int, _ path: String
    ) -> SchemaFault? {
        for name in required where given[name] == nil {
            return SchemaFault(path, "'\(name)' is a required property")
        }
        if given.count < minCount { return SchemaFault(path, "has too few properties: \(minCount) at least") }
        for (name, value) in given.sorted(by: { $0.key < $1.key }) {
            guard let schema = members[name] ?? others else {
                return SchemaFault(path, "'\(name.printable(limit: 80))' is not known here")
            }
            if let fault = schema.fault(in: value, at: "\(path)/\(name.printable(limit: 80))") { return fault }
        }
        return nil
    }

    /// As JSON Schema 2020-12.
    public var document: JSONValue {
        switch self {
        case .any: return [:]
        case .null: return ["type": "null"]
        case .boolean: return ["type": "boolean"]
        case .integer(let min, let max):
            var members: [String: JSONValue] = ["type": "integer"]
            if let min { members["minimum"] = .integer(Int64(min)) }
            if let max { members["maximum"] = .integer(Int64(max)) }
            return .object(members)
        case .string(let min, let max, let form):
            var members: [String: JSONValue] = ["type": "string"]
            if min > 0 { members["minLength"] = .integer(Int64(min)) }
            if let max { members["maxLength"] = .integer(Int64(max)) }
            for (name, value) in form?.members ?? [:] { members[name] = value }
            return .object(members)
        case .choice(let texts): return ["type": "string", "enum": .array(texts.map { .string($0) })]
        case .array(let element, let max, let isUnique):
            var members: [String: JSONValue] = ["type": "array", "items": element.document]
            if let max { members["maxItems"] = .integer(Int64(max)) }
            if isUnique { members["uniqueItems"] = true }
            return .object(members)
        case .object(let known, let required, let others, let minCount):
            var members: [String: JSONValue] = ["type": "object"]
            if !known.isEmpty { members["properties"] = .object(known.mapValues(\.document)) }
            if !required.isEmpty { members["required"] = .array(required.map { .string($0) }) }
            if others != .any { members["additionalProperties"] = others?.document ?? false }
            if minCount > 0 { members["minProperties"] = .integer(Int64(minCount)) }
            return .object(members)
        case .either(let schemas): return ["anyOf": .array(schemas.map(\.document))]
        }
    }
}

extension Schema.TextForm {
    func fits(_ text: String) -> Bool {
        switch self {
        case .time: (try? Timestamp(keystone: text)) != nil
        case .uri:
            text.firstIndex(of: ":").map { colon in
                colon > text.startIndex
                    && text[..<colon].utf8.allSatisfy { ($0 | 0x20) >= 0x61 && ($0 | 0x20) <= 0x7A || $0 == 0x2B }
            } ?? false
        case .notBlank: text.contains { !$0.isWhitespace }
        case .hex: text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0 | 0x20) }
        case .identifier:
            text.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20) || $0 == 0x2D || $0 == 0x5F
            }
        }
    }

    var words: String {
        switch self {
        case .time: "a time such as 2026-11-23T19:13:53.000000Z"
        case .uri: "a URI"
        case .notBlank: "a text that is not only blanks"
        case .hex: "hexadecimal digits"
        case .identifier: "made of letters, digits, '-' and '_' only"
        }
    }

    var members: [String: JSONValue] {
        switch self {
        case .time, .uri: ["format": .string(rawValue)]
        case .notBlank: ["pattern": "[\\S]+"]
        case .hex: ["pattern": "^[a-fA-F0-9]*$"]
        case .identifier: ["pattern": "^[a-zA-Z0-9_-]*$"]
        }
    }
}

/// What is wrong with a value.
public struct SchemaFault: Sendable, Hashable {
    /// Where, for example `/user/name`; empty: all of it.
    public let path: String
    /// What.
    public let problem: String

    init(_ path: String, _ problem: String) {
        self.path = path
        self.problem = problem
    }

    /// Both, for people.
    public var message: String { path.isEmpty ? problem : "Invalid input for '\(path)': \(problem)" }
}

extension JSONValue {
    /// As a message shows it: short, and printable.
    var shown: String { String(decoding: text, as: UTF8.self).printable(limit: 120) }
}
