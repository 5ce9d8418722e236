import CatalogBareMetal
import Primitives
import ResourceModel

/// Keeps a segment's leases in the resource store, one document an address.
///
/// Every write is a compare-and-swap on what was read, so that no two writers, in this process or another, can give
/// one address to two machines.
public struct LeaseStore: Sendable {
    private let store: any ResourceStore
    private let segment: String
    private let network: IPv4Network
    private let clock: any WallClock

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

    /// Stores `record` durably, and deletes its machine's lease of `replacing` in the same transaction.
    ///
    /// Throws `LeaseCommitFailure.held` when another machine has the address and its lease has not expired.
    public func commit(_ record: LeaseRecord, replacing: IPv4Address? = nil) async throws(LeaseCommitFailure) {
        do {
            for _ in 0..<Self.tryCountMax {
                let current = try await fetch(record.address)
                if let current, current.value.spec.mac != record.mac, current.value.status.expires > clock.now {
                    throw LeaseCommitFailure.held(LeaseRecord(current.value))
                }
                let next = updated(current, record)
                var transaction = Transaction(conditions: [next.unchanged], operations: [try next.put()])
                if let replacing, let old = try await fetch(replacing), old.value.spec.mac == record.mac {
                    transaction.conditions.append(old.unchanged)
                    transaction.operations.append(.delete(old.value.key))
                }
                do {
                    _ = try await store.commit(transaction)
                    return
                } catch {
                    guard case .conflict = error else { throw error }
                }
            }
            throw LeaseCommitFailure.unavailable("Another writer kept changing the lease of \(record.address).")
        } catch let failure as LeaseCommitFailure {
            throw failure
        } catch {
            throw .unavailable((error as? any UserFacingError)?.diagnostic ?? "\(error)")
        }
    }

    /// Deletes a lease if it is still as `record` says. Throws `StoreError`.
    public func release(_ record: LeaseRecord) async throws(StoreError) {
        guard let current = try await fetch(record.address), LeaseRecord(current.value) == record else { return }
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

    private func updated(_ current: Stored<Lease>?, _ record: LeaseRecord) -> Stored<Lease> {
        let spec = Lease.Spec(segment: segment, address: record.address, mac: record.mac)
        let status = Lease.Status(
            phase: record.phase, expires: record.expires, lastSeen: record.lastSeen, hostname: record.hostname)
        guard var next = current else {
            let name = Lease.name(segment: segment, address: record.address)
            let metadata = Metadata(name: name, schemaVersion: Lease.schemaVersion, created: clock.now)
            return Stored(new: Lease(metadata: metadata, spec: spec, status: status))
        }
        if next.value.spec != spec { next.value.metadata.generation = next.value.metadata.generation.next }
        next.value.spec = spec
        next.value.status = status
        return next
    }
}

extension LeaseRecord {
    /// The record of a stored lease.
    init(_ lease: Lease) {
        self.init(
            address: lease.spec.address, mac: lease.spec.mac, phase: lease.status.phase,
            expires: lease.status.expires, lastSeen: lease.status.lastSeen, hostname: lease.status.hostname)
    }
}
