import CatalogIdentity
import Crypto
import FoundationEssentials
import Primitives
import ResourceModel
import Synchronization

/// Writes and lists audit events.
public final class AuditLog: Sendable {
    private let store: any ResourceStore
    private let clock: any WallClock
    private let random: RandomBytes
    private let last = Mutex((time: Int64(0), sequence: 0))

    /// A log kept in `store`.
    public init(store: any ResourceStore, clock: any WallClock = SystemWallClock(), random: RandomBytes = .system) {
        self.store = store
        self.clock = clock
        self.random = random
    }

    /// Writes one event; returns when it is durable.
    public func record(_ spec: AuditEventSpec) async throws(StoreError) {
        _ = try await store.commit(Transaction(operations: [try operation(spec)]))
    }

    /// The operation that writes one event, for the transaction that makes the change.
    public func operation(_ spec: AuditEventSpec) throws(StoreError) -> Transaction.Operation {
        let now = clock.now
        return try Stored(new: AuditEvent(name: name(at: now), created: now, spec: spec)).put()
    }

    /// Up to `limit` events in the order of time, from `since` on, after the event named `after`.
    public func events(
        since: Timestamp? = nil, after: String? = nil, limit: Int = 100
    ) async throws(StoreError) -> (events: [AuditEvent], hasMore: Bool) {
        let start = [after, since.map { Self.prefix($0.millisecondsSinceEpoch) }].compactMap { $0 }.max()
        let page = try await store.list(
            kind: AuditEvent.kind, after: start.map(AuditEvent.key), limit: min(max(limit, 1), StoreLimits.pageCountMax)
        )
        var events: [AuditEvent] = []
        for document in page.documents { events.append(try Stored<AuditEvent>(document).value) }
        return (events, page.hasMore)
    }

    /// Deletes the events before `time`; returns how many.
    public func prune(before time: Timestamp) async throws(StoreError) -> Int {
        let end = Self.prefix(time.millisecondsSinceEpoch)
        var count = 0
        while true {
            let page = try await store.list(
                kind: AuditEvent.kind, after: nil, limit: StoreLimits.operationCountMax)
            let keys = page.documents.map(\.key).filter { $0.name < end }
            guard !keys.isEmpty else { return count }
            _ = try await store.commit(Transaction(operations: keys.map { .delete($0) }))
            count += keys.count
        }
    }

    /// SHA-256 of a stored document, for an event's `before` and `after`.
    public static func digest(_ document: [UInt8]) -> Primitives.Digest {
        Primitives.Digest(bytes: Array(SHA256.hash(data: document)))
    }

    /// Never goes back, also when the clock does: the order of names is the order of this log's events.
    private func name(at now: Timestamp) -> String {
        let (time, sequence) = last.withLock { last in
            last =
                now.millisecondsSinceEpoch > last.time
                ? (now.millisecondsSinceEpoch, 0) : (last.time, last.sequence + 1)
            return last
        }
        let digits = String(sequence)
        let padded = String(repeating: "0", count: max(0, 6 - digits.count)) + digits
        return "\(Self.prefix(time))-\(padded)-\(Hex.encode(random(4)))"
    }

    private static func prefix(_ milliseconds: Int64) -> String {
        let digits = String(max(0, milliseconds))
        return String(repeating: "0", count: max(0, 14 - digits.count)) + digits
    }
}

/// Tells in short what changed between two documents, with secrets masked.
public enum AuditSummary {
    /// For example `spec.role: null → "network"`, one change after another, cut to the length that an event holds.
    ///
    /// Values of members whose name has to do with secrets are shown as `***`.
    public static func changes(from before: [UInt8]?, to after: [UInt8]?) -> String {
        let old = decode(before)
        let new = decode(after)
        var changes: [String] = []
        compare(old, new, path: "", isSecret: false, into: &changes)
        return changes.joined(separator: ", ").printable(limit: AuditEventSpec.summaryLengthMax)
    }

    private static let secretWords = [
        "password", "secret", "token", "hash", "private", "ciphertext", "key", "credential",
    ].map { Array($0.utf8) }

    private static func isSecret(_ name: String) -> Bool {
        let name = Array(name.lowercased().utf8)
        return secretWords.contains { word in name.indices.contains { name[$0...].starts(with: word) } }
    }

    private static func decode(_ bytes: [UInt8]?) -> JSONValue {
        bytes.flatMap { try? JSONDecoder().decode(JSONValue.self, from: Data($0)) } ?? .null
    }

    private static func compare(
        _ old: JSONValue, _ new: JSONValue, path: String, isSecret: Bool, into changes: inout [String]
    ) {
        guard old != new, changes.count < 100 else { return }
        let oldMembers = members(old)
        let newMembers = members(new)
        guard oldMembers != nil || newMembers != nil else {
            changes.append("\(path): \(isSecret ? "***" : "\(text(old)) → \(text(new))")")
            return
        }
        for name in Set((oldMembers ?? [:]).keys).union((newMembers ?? [:]).keys).sorted() {
            compare(
                oldMembers?[name] ?? .null, newMembers?[name] ?? .null, path: path.isEmpty ? name : "\(path).\(name)",
                isSecret: isSecret || Self.isSecret(name), into: &changes)
        }
    }

    private static func members(_ value: JSONValue) -> [String: JSONValue]? {
        switch value {
        case .object(let members): members
        case .array(let elements):
            Dictionary(uniqueKeysWithValues: elements.enumerated().map { (String($0.offset), $0.element) })
        case .null, .bool, .integer, .unsigned, .number, .string: nil
        }
    }

    private static func text(_ value: JSONValue) -> String {
        switch value {
        case .null: "null"
        case .bool(let value): String(value)
        case .integer(let value): String(value)
        case .unsigned(let value): String(value)
        case .number(let value): String(value)
        case .string(let value): "\"\(value.printable(limit: 100))\""
        case .array, .object: "…"
        }
    }
}
