import FoundationEssentials
import Primitives

/// A resource together with the document it was read from, so that what this version does not know is written back.
public struct Stored<R: Resource>: Sendable, Hashable {
    /// The typed resource; change it and make a transaction with `put()`.
    public var value: R
    /// The revision it was read at; nil for one that is not stored yet.
    public let revision: Revision?
    /// The document as read, and what this version made of it.
    private let original: Original?

    private struct Original: Hashable {
        let document: [UInt8]
        let value: R
    }

    /// A new resource that is not stored yet.
    public init(new value: R) {
        self.value = value
        revision = nil
        original = nil
    }

    /// Decodes a document, also of a newer version; throws `StoreError.undecodable`.
    public init(_ document: Document) throws(StoreError) {
        do {
            value = try JSONDecoder().decode(R.self, from: Data(document.value))
        } catch {
            throw .undecodable(document.key, "\(error)".printable(limit: 300))
        }
        original = Original(document: document.value, value: value)
        revision = document.revision
    }

    /// The JSON to store: the typed fields, and every field of the document read that this version does not know.
    public func encoded() throws(StoreError) -> [UInt8] {
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            let new = try encoder.encode(value)
            guard let original else { return Array(new) }
            let known = try encoder.encode(original.value)
            // The usual case: the document has nothing but what this version wrote.
            if known.elementsEqual(original.document) { return Array(new) }
            let decoder = JSONDecoder()
            let merged = try UnknownFields.merge(
                new: decoder.decode(JSONValue.self, from: new),
                original: decoder.decode(JSONValue.self, from: Data(original.document)),
                known: decoder.decode(JSONValue.self, from: known))
            return Array(try encoder.encode(merged))
        } catch {
            throw .undecodable(value.key, "cannot be encoded: \(error)".printable(limit: 300))
        }
    }

    /// The operation that writes this resource; throws `StoreError.limitExceeded` when it is larger than its kind may be.
    public func put(lease: LeaseID? = nil) throws(StoreError) -> Transaction.Operation {
        let bytes = try encoded()
        guard bytes.count <= Int(R.documentSizeMax.bytes) else {
            throw .limitExceeded("\(value.key) has \(bytes.count) bytes; the limit is \(R.documentSizeMax)")
        }
        return .put(value.key, bytes, lease: lease)
    }

    /// The condition that nobody has changed the resource since it was read (or made it, if it is new).
    public var unchanged: Transaction.Condition {
        if let revision { .unchanged(value.key, since: revision) } else { .absent(value.key) }
    }
}

/// Carries fields over that a version does not know.
enum UnknownFields {
    /// `new` with every member of `original` that is not in `known`, at every depth.
    ///
    /// Elements of arrays are matched by their `id` or `name` member, else by what is known of them, else by position
    /// when the lengths agree.
    static func merge(new: JSONValue, original: JSONValue, known: JSONValue?) -> JSONValue {
        switch (new, original) {
        case (.object(var members), .object(let old)):
            for (name, value) in old {
                let knownValue = known?[name]
                if let current = members[name] {
                    members[name] = merge(new: current, original: value, known: knownValue)
                } else if knownValue == nil {
                    members[name] = value
                }
            }
            return .object(members)
        case (.array(let elements), .array(let old)):
            return .array(merge(elements: elements, original: old, known: known))
        default:
            return new
        }
    }

    private static func merge(elements: [JSONValue], original: [JSONValue], known: JSONValue?) -> [JSONValue] {
        var knownElements: [JSONValue?] = original.map { _ in nil }
        if case .array(let array) = known, array.count == original.count { knownElements = array }
        var matches = [Int?](repeating: nil, count: elements.count)
        var free = Set(original.indices)
        func match(_ isMatch: (JSONValue, Int) -> Bool) {
            for index in elements.indices where matches[index] == nil {
                guard let found = free.sorted().first(where: { isMatch(elements[index], $0) }) else { continue }
                matches[index] = found
                free.remove(found)
            }
        }
        match { element, place in
            identity(of: element) != nil && identity(of: element) == identity(of: original[place])
        }
        match { element, place in identity(of: element) == nil && element == knownElements[place] }
        if elements.count == original.count {
            for index in elements.indices where matches[index] == nil && free.contains(index) {
                if identity(of: elements[index]) == nil { matches[index] = index }
            }
        }
        return zip(elements, matches).map { element, match in
            guard let match else { return element }
            return merge(new: element, original: original[match], known: knownElements[match])
        }
    }

    private static func identity(of element: JSONValue) -> JSONValue? { element["id"] ?? element["name"] }
}

extension ResourceStore {
    /// The typed resource `name`, nil when there is none.
    public func fetch<R: Resource>(_ type: R.Type, _ name: String) async throws(StoreError) -> Stored<R>? {
        guard let document = try await get(R.key(name)) else { return nil }
        return try Stored<R>(document)
    }

    /// All resources of a type, page by page, with the revision of the last page.
    public func fetchAll<R: Resource>(_ type: R.Type) async throws(StoreError) -> [Stored<R>] {
        var result: [Stored<R>] = []
        var after: ResourceKey?
        while true {
            let page = try await list(kind: R.kind, after: after, limit: StoreLimits.pageCountMax)
            for document in page.documents { result.append(try Stored<R>(document)) }
            guard page.hasMore, let last = page.documents.last else { return result }
            after = last.key
        }
    }

    /// Reads a resource, lets `change` decide, and writes it if nobody else has; tries again on a conflict.
    ///
    /// `change` is synchronous, gets the resource as it is now (nil: there is none) and returns what to write, or
    /// nil to leave it. Throws `StoreError.conflict` after `StoreContention.attemptCountMax` tries.
    @discardableResult
    public func update<R: Resource, Failure: Error>(
        _ type: R.Type, _ name: String,
        _ change: (Stored<R>?) throws(Failure) -> Stored<R>?
    ) async throws -> Revision? {
        for attempt in 0..<StoreContention.attemptCountMax {
            let current = try await fetch(type, name)
            guard let next = try change(current) else { return nil }
            do {
                return try await commit(
                    Transaction(conditions: [next.unchanged], operations: [next.put()]))
            } catch {
                guard case .conflict = error else { throw error }
            }
            await StoreContention.giveWay(after: attempt)
        }
        throw StoreError.conflict(R.key(name))
    }
}

/// How writers that find a resource changed by somebody else go about it.
public enum StoreContention {
    /// The most tries before the writer is told of the conflict.
    public static let attemptCountMax = 16

    /// Lets others run before the try after `attempt` (from 0), longer each time, so that nobody loses every race.
    public static func giveWay(after attempt: Int) async {
        for _ in 0..<(1 << min(attempt, 8)) { await Task.yield() }
    }
}
