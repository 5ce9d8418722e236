import APISupport
import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel

/// All that the bare-metal API works with; filled by whoever composes the conductor.
public struct BareMetalBackend: Sendable {
    /// Where nodes are written.
    public var store: any ResourceStore
    /// Where nodes are read; it must hold `Node`, `BMC`, `NodeImage` and all of `IronicAPI.cachedKinds` and `.cacheIndexes`.
    public var cache: ResourceCache
    /// Has one event of each change.
    public var audit: AuditLog
    /// The project that owns machines of which nobody has said another owner; nil: only the system does.
    public var ownerOfMachines: @Sendable (CacheSnapshot) -> String?
    /// The conductor's own name.
    public var conductor: String
    /// The time.
    public var clock: any WallClock
    /// Identifiers.
    public var random: RandomBytes
    /// Where failures are written.
    public var logger: Logger
    /// What lists were made of lately.
    let views = NodeViews()

    /// A backend.
    public init(
        store: any ResourceStore, cache: ResourceCache, audit: AuditLog,
        ownerOfMachines: @escaping @Sendable (CacheSnapshot) -> String? = { _ in nil }, conductor: String,
        clock: any WallClock, random: RandomBytes = .system, logger: Logger
    ) {
        self.store = store
        self.cache = cache
        self.audit = audit
        self.ownerOfMachines = ownerOfMachines
        self.conductor = conductor
        self.clock = clock
        self.random = random
        self.logger = logger
    }

    /// A new UUID.
    func newUUID() -> String {
        var bytes = random(16)
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        return UUIDText.format(bytes)
    }
}

/// What a change writes, and what must still be so then.
struct BareMetalPlan {
    private(set) var conditions: [Transaction.Condition] = []
    private(set) var operations: [Transaction.Operation] = []
    /// The document before and after, for the audit event.
    private(set) var before: [UInt8]?
    private(set) var after: [UInt8]?

    /// Writes something new, or something that was read and changed.
    mutating func write<R: Resource>(_ stored: Stored<R>, was old: Stored<R>? = nil) throws {
        var stored = stored
        if let old {
            stored.value.metadata.generation = stored.value.metadata.generation.next
            before = try old.encoded()
        }
        conditions.append(stored.unchanged)
        operations.append(try stored.put())
        after = try stored.encoded()
    }

    /// Deletes what was read.
    mutating func delete<R: Resource>(_ stored: Stored<R>) throws {
        conditions.append(stored.unchanged)
        operations.append(.delete(stored.value.key))
        before = try stored.encoded()
    }

    /// Needs that something is there.
    mutating func need(_ key: ResourceKey) { conditions.append(.exists(key)) }

    /// Takes a word for `id`; who takes it at the same moment plans anew and finds it taken.
    mutating func take(_ word: TakenWord, for id: String, at now: Timestamp) throws {
        let mark = TakenMark(
            metadata: Metadata(name: word.markName, schemaVersion: TakenMark.schemaVersion, created: now),
            spec: TakenMark.Spec(by: id))
        conditions.append(.absent(mark.key))
        operations.append(try Stored(new: mark).put())
    }

    /// Gives a word up.
    mutating func free(_ word: TakenWord) { operations.append(.delete(TakenMark.key(word.markName))) }
}

/// What only one can have.
enum TakenWord {
    case name(String)
    case instance(String)
    case address(MACAddress)

    /// Names are taken whatever their case is, as host names are.
    var markName: String {
        switch self {
        case .name(let name): "name.\(CatalogName.of(name.lowercased()))"
        case .instance(let uuid): "instance.\(CatalogName.of(uuid))"
        case .address(let address): "address.\(address)"
        }
    }
}

extension APICall where Backend == BareMetalBackend {
    /// Plans a change on what is there now and commits it together with its audit event; plans anew when somebody was
    /// faster, and returns once reads show it.
    ///
    /// `plan` throws what refuses the change. Throws that, and the store's errors.
    @discardableResult
    func change<Result: Sendable>(
        _ verb: String, _ resource: ResourceKey, _ plan: (CacheSnapshot) throws -> (BareMetalPlan, Result)
    ) async throws -> Result {
        for attempt in 0..<StoreContention.attemptCountMax {
            let (planned, result) = try plan(backend.cache.snapshot())
            guard !planned.operations.isEmpty else { return result }
            let event = AuditEventSpec(
                who: "user:\(caller.name)", from: remoteAddress, requestID: requestID, verb: verb, resource: resource,
                outcome: .ok, before: planned.before.map(AuditLog.digest), after: planned.after.map(AuditLog.digest),
                summary: AuditSummary.changes(from: planned.before, to: planned.after))
            let operations = planned.operations + [try backend.audit.operation(event)]
            do {
                let revision = try await backend.store.commit(
                    Transaction(conditions: planned.conditions, operations: operations))
                try await backend.cache.wait(for: revision)
                return result
            } catch let error as StoreError {
                guard case .conflict = error else { throw error }
            }
            try await backend.cache.barrier()
            await StoreContention.giveWay(after: attempt)
        }
        throw StoreError.conflict(resource)
    }

    /// The version that the answer is in.
    var minor: Int { version?.minor ?? 1 }
}
