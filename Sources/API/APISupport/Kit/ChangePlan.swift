import Identity
import Primitives
import ResourceModel

/// What a change writes, and what must still be so then.
public struct ChangePlan: Sendable {
    /// What must be so when it is written.
    public var conditions: [Transaction.Condition] = []
    /// What is written.
    public var operations: [Transaction.Operation] = []
    /// The document before, for the audit event; nil: there was none, or it is not told.
    public var before: [UInt8]?
    /// The document afterwards; nil: there is none, or it is not told.
    public var after: [UInt8]?
    /// Words for the audit event in the place of the difference of the two.
    public var summary: String?

    /// Nothing yet.
    public init() {}

    /// What the audit event says of it.
    var told: String? { summary ?? before.map { AuditSummary.changes(from: $0, to: after) } }

    /// Writes something new.
    public mutating func create<R: Resource>(_ new: R) throws { try put(Stored(new: new)) }

    /// Writes what was read and changed; `old` is how it was, where the audit event may tell the difference.
    public mutating func update<R: Resource>(_ stored: Stored<R>, was old: Stored<R>? = nil) throws {
        var stored = stored
        stored.value.metadata.generation = stored.value.metadata.generation.next
        if let old { before = try old.encoded() }
        try put(stored)
    }

    private mutating func put<R: Resource>(_ stored: Stored<R>) throws {
        conditions.append(stored.unchanged)
        let operation = try stored.put()
        operations.append(operation)
        if case .put(_, let document, _) = operation { after = document }
    }

    /// Deletes what was read, if nobody has changed it since.
    public mutating func delete<R: Resource>(_ stored: Stored<R>) throws {
        conditions.append(stored.unchanged)
        operations.append(.delete(stored.value.key))
        before = try stored.encoded()
    }

    /// Deletes whatever is there.
    public mutating func delete(_ key: ResourceKey) { operations.append(.delete(key)) }

    /// Needs that something is there.
    public mutating func need(_ key: ResourceKey) { conditions.append(.exists(key)) }

    /// Needs that something is as it was read.
    public mutating func need<R: Resource>(_ stored: Stored<R>) {
        if !conditions.contains(stored.unchanged) { conditions.append(stored.unchanged) }
    }

    /// Takes a mark that only one can have; who takes it at the same moment plans anew and finds it taken.
    public mutating func take<R: Resource>(_ mark: R) throws {
        conditions.append(.absent(mark.key))
        operations.append(try Stored(new: mark).put())
    }
}
