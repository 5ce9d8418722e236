/// A JSON patch (RFC 6902): changes of a JSON document that are made all or not at all.
public struct JSONPatch: Sendable, Hashable {
    /// The most operations of one patch.
    public static let operationCountMax = 256

    /// One change.
    public struct Operation: Sendable, Hashable {
        /// What is done.
        public var kind: Kind
        /// Where.
        public var path: JSONPointer

        /// What an operation does; `value` and `from` as section 4 has them.
        public enum Kind: Sendable, Hashable {
            case add(JSONValue)
            case remove
            case replace(JSONValue)
            case move(from: JSONPointer)
            case copy(from: JSONPointer)
            case test(JSONValue)
        }
    }

    /// The changes in their order.
    public let operations: [Operation]

    /// The patch that `document` is, an array of operations; throws `JSONPatchError` for one that it cannot be.
    public init(_ document: JSONValue) throws(JSONPatchError) {
        guard let elements = document.array else { throw JSONPatchError("a patch is an array of operations") }
        guard elements.count <= Self.operationCountMax else {
            throw JSONPatchError("a patch has at most \(Self.operationCountMax) operations")
        }
        var operations: [Operation] = []
        for element in elements { operations.append(try Self.operation(element)) }
        self.operations = operations
    }

    private static func operation(_ element: JSONValue) throws(JSONPatchError) -> Operation {
        guard let name = element["op"]?.string else { throw JSONPatchError("an operation needs 'op'") }
        guard let text = element["path"]?.string else { throw JSONPatchError("an operation needs 'path'") }
        let path = try JSONPointer(text)
        func value() throws(JSONPatchError) -> JSONValue {
            guard let value = element["value"] else { throw JSONPatchError("'\(name)' at '\(path)' needs 'value'") }
            return value
        }
        func from() throws(JSONPatchError) -> JSONPointer {
            guard let from = element["from"]?.string else {
                throw JSONPatchError("'\(name)' at '\(path)' needs 'from'")
            }
            return try JSONPointer(from)
        }
        switch name {
        case "add": return Operation(kind: .add(try value()), path: path)
        case "remove": return Operation(kind: .remove, path: path)
        case "replace": return Operation(kind: .replace(try value()), path: path)
        case "move": return Operation(kind: .move(from: try from()), path: path)
        case "copy": return Operation(kind: .copy(from: try from()), path: path)
        case "test": return Operation(kind: .test(try value()), path: path)
        default: throw JSONPatchError("there is no operation '\(name.printable(limit: 40))'")
        }
    }

    /// `document` with all changes made; throws `JSONPatchError` when one of them cannot be, or a test fails.
    public func applied(to document: JSONValue) throws(JSONPatchError) -> JSONValue {
        var result = document
        for operation in operations { result = try Self.applied(operation, to: result) }
        return result
    }

    private static func applied(_ operation: Operation, to document: JSONValue) throws(JSONPatchError) -> JSONValue {
        let path = operation.path
        switch operation.kind {
        case .add(let value): return try document.adding(value, at: path.parts[...], of: path)
        case .remove: return try document.removing(path.parts[...], of: path)
        case .replace(let value): return try document.replacing(path.parts[...], by: value, of: path)
        case .move(let from):
            guard !(path.parts.count > from.parts.count && path.parts.starts(with: from.parts)) else {
                throw JSONPatchError("'\(from)' cannot be moved into itself")
            }
            let value = try document.value(at: from)
            return try document.removing(from.parts[...], of: from).adding(value, at: path.parts[...], of: path)
        case .copy(let from): return try document.adding(document.value(at: from), at: path.parts[...], of: path)
        case .test(let value):
            guard try document.value(at: path).isSame(as: value) else {
                throw JSONPatchError("the test of '\(path)' failed")
            }
            return document
        }
    }
}

/// Names a value in a JSON document (RFC 6901).
public struct JSONPointer: Sendable, Hashable, CustomStringConvertible {
    /// The names and places on the way to it; empty: the whole document.
    public let parts: [String]

    /// Parses `/extra/a~1b`; throws `JSONPatchError` for a text that is no pointer.
    public init(_ text: String) throws(JSONPatchError) {
        guard !text.isEmpty else {
            parts = []
            return
        }
        guard text.utf8.first == UInt8(ascii: "/") else {
            throw JSONPatchError("the path '\(text.printable(limit: 80))' must begin with '/'")
        }
        var parts: [String] = []
        for part in text.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            guard let plain = Self.unescaped(part) else {
                throw JSONPatchError("the path '\(text.printable(limit: 80))' has '~' without 0 or 1 behind it")
            }
            parts.append(plain)
        }
        self.parts = parts
    }

    private static func unescaped(_ part: Substring) -> String? {
        guard part.utf8.contains(UInt8(ascii: "~")) else { return String(part) }
        let pieces = part.split(separator: "~", omittingEmptySubsequences: false)
        var plain = String(pieces[0])
        for piece in pieces.dropFirst() {
            switch piece.first {
            case "0": plain += "~" + piece.dropFirst()
            case "1": plain += "/" + piece.dropFirst()
            default: return nil
            }
        }
        return plain
    }

    public var description: String {
        parts.map { "/" + $0.replacing("~", with: "~0").replacing("/", with: "~1") }.joined().printable(limit: 200)
    }
}

/// Why a patch cannot be applied.
public struct JSONPatchError: UserFacingError, Hashable {
    /// What is wrong, for people.
    public let reason: String

    init(_ reason: String) { self.reason = reason }

    public var publicMessage: String { "The patch cannot be applied: \(reason)." }
}

extension JSONValue {
    /// The value that `pointer` names; throws `JSONPatchError` when there is none.
    public func value(at pointer: JSONPointer) throws(JSONPatchError) -> JSONValue {
        var value = self
        for part in pointer.parts {
            switch value {
            case .object(let members):
                guard let next = members[part] else { throw .missing(pointer) }
                value = next
            case .array(let elements): value = elements[try Self.place(part, below: elements.count, of: pointer)]
            default: throw .missing(pointer)
            }
        }
        return value
    }

    fileprivate func adding(
        _ value: JSONValue, at rest: ArraySlice<String>, of path: JSONPointer
    ) throws(JSONPatchError) -> JSONValue {
        guard let part = rest.first else { return value }
        guard rest.count == 1 else {
            return try changing(part, of: path) { (inner) throws(JSONPatchError) in
                try inner.adding(value, at: rest.dropFirst(), of: path)
            }
        }
        switch self {
        case .object(var members):
            members[part] = value
            return .object(members)
        case .array(var elements):
            let place = part == "-" ? elements.count : try Self.place(part, below: elements.count + 1, of: path)
            elements.insert(value, at: place)
            return .array(elements)
        default: throw .missing(path)
        }
    }

    fileprivate func removing(_ rest: ArraySlice<String>, of path: JSONPointer) throws(JSONPatchError) -> JSONValue {
        guard let part = rest.first else { return .null }
        guard rest.count == 1 else {
            return try changing(part, of: path) { (inner) throws(JSONPatchError) in
                try inner.removing(rest.dropFirst(), of: path)
            }
        }
        switch self {
        case .object(var members):
            guard members.removeValue(forKey: part) != nil else { throw .missing(path) }
            return .object(members)
        case .array(var elements):
            elements.remove(at: try Self.place(part, below: elements.count, of: path))
            return .array(elements)
        default: throw .missing(path)
        }
    }

    fileprivate func replacing(
        _ rest: ArraySlice<String>, by value: JSONValue, of path: JSONPointer
    ) throws(JSONPatchError) -> JSONValue {
        guard let part = rest.first else { return value }
        return try changing(part, of: path) { (inner) throws(JSONPatchError) in
            try inner.replacing(rest.dropFirst(), by: value, of: path)
        }
    }

    /// This with `change` done to the member or element `part`, which must be there.
    private func changing(
        _ part: String, of path: JSONPointer, _ change: (JSONValue) throws(JSONPatchError) -> JSONValue
    ) throws(JSONPatchError) -> JSONValue {
        switch self {
        case .object(var members):
            guard let inner = members[part] else { throw .missing(path) }
            members[part] = try change(inner)
            return .object(members)
        case .array(var elements):
            let place = try Self.place(part, below: elements.count, of: path)
            elements[place] = try change(elements[place])
            return .array(elements)
        default: throw .missing(path)
        }
    }

    private static func place(_ part: String, below count: Int, of path: JSONPointer) throws(JSONPatchError) -> Int {
        let isNumber = !part.isEmpty && part.utf8.allSatisfy { (0x30...0x39).contains($0) }
        guard isNumber, part == "0" || part.utf8.first != UInt8(ascii: "0"), let place = Int(part), place < count else {
            throw .missing(path)
        }
        return place
    }

    /// Whether both are the same JSON value: numbers by what they are worth (RFC 6902 section 4.6).
    fileprivate func isSame(as other: JSONValue) -> Bool {
        switch (self, other) {
        case (.array(let left), .array(let right)):
            left.count == right.count && zip(left, right).allSatisfy { $0.isSame(as: $1) }
        case (.object(let left), .object(let right)):
            left.count == right.count && left.allSatisfy { name, value in right[name]?.isSame(as: value) ?? false }
        case (.number(let left), .integer(let right)), (.integer(let right), .number(let left)): left == Double(right)
        case (.number(let left), .unsigned(let right)), (.unsigned(let right), .number(let left)): left == Double(right)
        default: self == other
        }
    }
}

extension JSONPatchError {
    fileprivate static func missing(_ path: JSONPointer) -> JSONPatchError {
        JSONPatchError("there is nothing at '\(path)'")
    }
}
