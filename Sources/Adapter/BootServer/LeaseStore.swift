import CatalogBareMetal
import Primitives
import ResourceModel
import Synchronization

/// Keeps a segment's leases in the resource store, one document an address.
///
/// Every write is a compare-and-swap on what was read, so that no two writers, in this process or another, can give
/// one address to two machines.
public struct LeaseStore: Sendable {
    private let store: any ResourceStore
    private let segment: String
    private let network: IPv4Network
    private let clock: any WallClock
    private let known = KnownLeases()

    private static let tryCountMax = 8

    /// The leases of `segment`, which has `network`, in `store`.
    public init(store: any ResourceStore, segment: String, network: IPv4Network, clock: any WallClock) {
        self.store = store
        self.segment = segment
        self.network = network
        self.clock = clock
    }

    /// All leases of the segment, and those of its network that still run from a segment that is not in the catalog
    /// any more, so that a segment with a new name keeps its machines' addresses. Throws `StoreError`.
    public func load() async throws(StoreError) -> [LeaseRecord] {
        let leases = try await store.fetchAll(Lease.self).map(\.value)
        let own = leases.filter { $0.spec.segment == segment }.map(LeaseRecord.init)
        known.begin(own.map(\.address))
        let segments = Set(try await store.fetchAll(Segment.self).map(\.value.metadata.name) + [segment])
        let left = leases.filter { lease in
            !segments.contains(lease.spec.segment) && network.contains(lease.spec.address)
                && lease.status.expires > clock.now
        }
        // Of two leases of one address the later counts.
        let newest = Dictionary((own + left.map(LeaseRecord.init)).map { ($0.address, $0) }) { first, second in
            second.expires > first.expires ? second : first
        }
        return newest.values.sorted { $0.address < $1.address }
    }

    /// Stores `record` durably, and deletes `replacing`, another lease of its machine, in the same transaction.
    ///
    /// The other lease stays when it is another one by now: the machine has come back to it by another conductor, after it
    /// asked this one.
    /// Throws `LeaseCommitFailure.held` when another machine has the address and its lease has not expired.
    public func commit(_ record: LeaseRecord, replacing: LeaseRecord? = nil) async throws(LeaseCommitFailure) {
        do {
            for attempt in 0..<Self.tryCountMax {
                // What this process wrote last is tried without asking; the store refuses it when it is not so any more.
                let write =
                    switch attempt == 0 ? known.lease(record.address) : .unknown {
                    case .absent: try Write(new: lease(record))
                    case .written(let lease, let revision): try Write(changed(lease, record), since: revision)
                    case .unknown: try await writeOverStored(record)
                    }
                var transaction = Transaction(conditions: [write.condition], operations: [write.operation])
                if let replacing, let old = try await fetch(replacing.address), LeaseRecord(old.value) == replacing {
                    transaction.conditions.append(old.unchanged)
                    transaction.operations.append(.delete(old.value.key))
                }
                do {
                    let revision = try await store.commit(transaction)
                    known.note(record.address, write.isWhole ? .written(write.lease, revision) : .unknown)
                    if let replacing { known.note(replacing.address, .unknown) }
                    return
                } catch {
                    guard case .conflict = error else { throw error }
                }
            }
            throw LeaseCommitFailure.unavailable("Another writer kept changing the lease of \(record.address).")
        } catch let failure as LeaseCommitFailure {
            throw failure
        } catch {
            guard !error.isOfFrozenStore else { throw .frozen }
            throw .unavailable((error as? any UserFacingError)?.diagnostic ?? "\(error)")
        }
    }

    /// Deletes a lease if it is still as `record` says. Throws `StoreError`.
    public func release(_ record: LeaseRecord) async throws(StoreError) {
        guard let current = try await fetch(record.address), LeaseRecord(current.value) == record else { return }
        known.note(record.address, .unknown)
        do {
            _ = try await store.commit(
                Transaction(conditions: [current.unchanged], operations: [.delete(current.value.key)]))
        } catch {
            // Changed meanwhile: then it is not the lease that was released.
            guard case .conflict = error else { throw error }
        }
    }

    private func fetch(_ address: IPv4Address) async throws(StoreError) -> Stored<Lease>? {
        try await store.fetch(Lease.self, Lease.name(segment: segment, address: address))
    }

    /// A change of one lease's document.
    private struct Write {
        let lease: Lease
        let condition: Transaction.Condition
        let operation: Transaction.Operation
        /// Whether the document has nothing but what `lease` says.
        let isWhole: Bool

        init(new lease: Lease) throws(StoreError) {
            self.lease = lease
            condition = .absent(lease.key)
            operation = try Stored(new: lease).put()
            isWhole = true
        }

        init(_ lease: Lease, since revision: Revision) throws(StoreError) {
            self.lease = lease
            condition = .unchanged(lease.key, since: revision)
            operation = try Stored(new: lease).put()
            isWhole = true
        }

        init(_ stored: Stored<Lease>) throws(StoreError) {
            lease = stored.value
            condition = stored.unchanged
            operation = try stored.put()
            isWhole = try operation == Stored(new: stored.value).put()
        }
    }

    private func writeOverStored(_ record: LeaseRecord) async throws -> Write {
        guard var stored = try await fetch(record.address) else { return try Write(new: lease(record)) }
        stored.value = try changed(stored.value, record)
        return try Write(stored)
    }

    /// The lease of an address that has none.
    private func lease(_ record: LeaseRecord) -> Lease {
        let name = Lease.name(segment: segment, address: record.address)
        let metadata = Metadata(name: name, schemaVersion: Lease.schemaVersion, created: clock.now)
        return Lease(metadata: metadata, spec: spec(record), status: status(record))
    }

    /// The lease after `record`; throws `LeaseCommitFailure.held` when another machine has the address.
    private func changed(_ current: Lease, _ record: LeaseRecord) throws(LeaseCommitFailure) -> Lease {
        if current.spec.mac != record.mac, current.status.expires > clock.now { throw .held(LeaseRecord(current)) }
        var next = current
        next.spec = spec(record)
        next.status = status(record)
        if next.spec != current.spec { next.metadata.generation = next.metadata.generation.next }
        return next
    }

    private func spec(_ record: LeaseRecord) -> Lease.Spec {
        Lease.Spec(segment: segment, address: record.address, mac: record.mac)
    }

    private func status(_ record: LeaseRecord) -> Lease.Status {
        Lease.Status(
            phase: record.phase, expires: record.expires, lastSeen: record.lastSeen, hostname: record.hostname)
    }
}

/// What this process knows of the documents of its leases, so that it need not read before each write.
///
/// It is never trusted: a write that rests on it carries the condition that it is so.
private final class KnownLeases: Sendable {
    enum Document {
        /// The store has to be asked.
        case unknown
        /// There was none at the start, and this process has written none.
        case absent
        /// This process wrote it whole.
        case written(Lease, Revision)
    }

    private let documents = Mutex<(isBegun: Bool, byAddress: [IPv4Address: Document])>((false, [:]))

    /// All addresses that have a document.
    func begin(_ addresses: [IPv4Address]) {
        documents.withLock { $0 = (true, Dictionary(addresses.map { ($0, .unknown) }) { first, _ in first }) }
    }

    func lease(_ address: IPv4Address) -> Document {
        documents.withLock { $0.byAddress[address] ?? ($0.isBegun ? .absent : .unknown) }
    }

    func note(_ address: IPv4Address, _ document: Document) {
        documents.withLock { $0.byAddress[address] = document }
    }
}

extension LeaseRecord {
    /// The record of a stored lease.
    public init(_ lease: Lease) {
        self.init(
            address: lease.spec.address, mac: lease.spec.mac, phase: lease.status.phase,
            expires: lease.status.expires, lastSeen: lease.status.lastSeen, hostname: lease.status.hostname)
    }
}
