import Primitives
import ResourceModel

/// Everything a memory store holds; all changes are synchronous and take the time as an argument.
struct MemoryState {
    private(set) var revision = Revision.zero
    private(set) var documents: [ResourceKey: Document] = [:]
    private var keys: [ResourceKey] = []  // in order
    private var history: [WatchBatch] = []  // oldest first
    private var compacted = Revision.zero
    private var leases: [LeaseID: Lease] = [:]
    private var leaseNumber: Int64 = 0
    private let historyCountMax: Int

    private struct Lease {
        let timeToLive: Duration
        var deadline: Timestamp
        var keys: Set<ResourceKey> = []
    }

    init(historyCountMax: Int) { self.historyCountMax = historyCountMax }

    func page(kind: String?, after: ResourceKey?, limit: Int) -> Page {
        var index = 0
        if let kind { index = position(of: ResourceKey(kind: kind, name: "")) }
        if let after {
            let next = position(of: after)
            index = max(index, next < keys.count && keys[next] == after ? next + 1 : next)
        }
        var found: [Document] = []
        var hasMore = false
        while index < keys.count, kind == nil || keys[index].kind == kind {
            if found.count == limit {
                hasMore = true
                break
            }
            if let document = documents[keys[index]] { found.append(document) }
            index += 1
        }
        return Page(documents: found, revision: revision, hasMore: hasMore)
    }

    mutating func commit(
        _ transaction: Transaction, now: Timestamp
    ) throws(StoreError) -> (Revision, WatchBatch?) {
        for condition in transaction.conditions where !condition.holds(for: documents[condition.key]) {
            throw .conflict(condition.key)
        }
        for operation in transaction.operations {
            if case .put(_, _, let lease?) = operation { try requireLease(lease, now: now) }
        }
        let batch = apply(transaction.operations)
        return (revision, batch)
    }

    func history(after: Revision, through: Revision) throws(StoreError) -> [WatchBatch] {
        guard after >= compacted else { throw .compacted(oldest: compacted) }
        return history.filter { $0.revision > after && $0.revision <= through }
    }

    mutating func compact(through limit: Revision) throws(StoreError) {
        guard limit <= revision else {
            throw .invalid("revision \(limit) has not been committed yet; the newest is \(revision)")
        }
        guard limit > compacted else { return }
        compacted = limit
        history.removeAll { $0.revision <= limit }
    }

    mutating func grantLease(timeToLive: Duration, now: Timestamp) throws(StoreError) -> LeaseID {
        guard timeToLive > .zero else { throw .invalid("a lease lives longer than no time at all") }
        guard leases.count < StoreLimits.leaseCountMax else {
            throw .limitExceeded("there are \(StoreLimits.leaseCountMax) leases already; end one first")
        }
        leaseNumber += 1
        leases[LeaseID(leaseNumber)] = Lease(timeToLive: timeToLive, deadline: now.advanced(by: timeToLive))
        return LeaseID(leaseNumber)
    }

    mutating func renewLease(_ id: LeaseID, now: Timestamp) throws(StoreError) {
        try requireLease(id, now: now)
        guard let lease = leases[id] else { return }
        leases[id]?.deadline = now.advanced(by: lease.timeToLive)
    }

    func requireLease(_ id: LeaseID, now: Timestamp) throws(StoreError) {
        guard let lease = leases[id], lease.deadline > now else { throw .leaseEnded(id) }
    }

    mutating func endLease(_ id: LeaseID) -> (LeaseID, WatchBatch?) {
        let operations = leases[id]?.keys.sorted().map { Transaction.Operation.delete($0) } ?? []
        let batch = apply(operations)
        leases[id] = nil
        return (id, batch)
    }

    /// Ends the first lease whose time is over; nil when there is none.
    mutating func endNextLease(now: Timestamp) -> (LeaseID?, WatchBatch?) {
        let ended = leases.filter { $0.value.deadline <= now }.map(\.key.number).min()
        guard let ended else { return (nil, nil) }
        return endLease(LeaseID(ended))
    }

    /// Nil when nothing changes; then there is no new revision either.
    private mutating func apply(_ operations: [Transaction.Operation]) -> WatchBatch? {
        let next = Revision(revision.number + 1)
        var changes: [WatchBatch.Change] = []
        for operation in operations {
            switch operation {
            case .put(let key, let value, let lease):
                let document = Document(key: key, revision: next, value: value, lease: lease)
                if let old = documents.updateValue(document, forKey: key) {
                    if let oldLease = old.lease { leases[oldLease]?.keys.remove(key) }
                } else {
                    keys.insert(key, at: position(of: key))
                }
                if let lease { leases[lease]?.keys.insert(key) }
                changes.append(.put(document))
            case .delete(let key):
                guard let old = documents.removeValue(forKey: key) else { continue }
                if let oldLease = old.lease { leases[oldLease]?.keys.remove(key) }
                keys.remove(at: position(of: key))
                changes.append(.deleted(key))
            }
        }
        guard !changes.isEmpty else { return nil }
        revision = next
        let batch = WatchBatch(revision: next, changes: changes)
        history.append(batch)
        if history.count > historyCountMax + historyCountMax / 8 {
            history.removeFirst(history.count - historyCountMax)
            compacted = Revision(history[0].revision.number - 1)
        }
        return batch
    }

    /// Where `key` is in `keys`, or would be inserted.
    private func position(of key: ResourceKey) -> Int {
        var low = 0
        var high = keys.count
        while low < high {
            let middle = (low + high) / 2
            if keys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
