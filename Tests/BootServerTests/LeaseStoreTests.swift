import CatalogBareMetal
import Primitives
import ResourceModel
import StoreMemory
import Synchronization
import TestSupport
import Testing

@testable import BootServer

@Suite("Lease store")
struct LeaseStoreTests {
    private let clock = ManualWallClock(Lab.start)
    private let store = MemoryStore()
    private let network: IPv4Network

    init() throws { network = try IPv4Network("10.77.0.0/24") }

    private var leases: LeaseStore { leases(of: "lab") }

    private func leases(of segment: String) -> LeaseStore {
        LeaseStore(store: store, segment: segment, network: network, clock: clock)
    }

    private func record(
        _ client: UInt8, _ last: UInt8, seconds: Int64 = 3600, phase: Lease.Phase = .bound
    ) -> LeaseRecord {
        LeaseRecord(
            address: Lab.address(last), mac: Lab.mac(client), phase: phase,
            expires: clock.now.advanced(by: .seconds(seconds)), lastSeen: clock.now, hostname: "n\(client)")
    }

    @Test("what is stored is loaded, of this segment only")
    func load() async throws {
        try await leases.commit(record(1, 50))
        try await leases.commit(record(2, 51, phase: .quarantined))
        let other = Segment(
            metadata: Metadata(name: "lab2", schemaVersion: Segment.schemaVersion, created: clock.now),
            spec: Segment.Spec(
                interface: "eth2", network: network, server: Lab.server,
                pools: [.init(start: Lab.address(50), end: Lab.address(99))]))
        _ = try await store.commit(Transaction(operations: [try Stored(new: other).put()]))
        try await leases(of: "lab2").commit(record(3, 50))
        try await leases(of: "lab2").commit(record(4, 52))
        #expect(Set(try await leases.load()) == [record(1, 50), record(2, 51, phase: .quarantined)])
        let stored = try await store.fetch(Lease.self, "lab-10.77.0.50")
        #expect(stored?.value.spec == Lease.Spec(segment: "lab", address: Lab.address(50), mac: Lab.mac(1)))
        #expect(stored?.value.status.hostname == "n1")
    }

    @Test("a segment with a new name keeps the addresses that still run, and no others")
    func renamed() async throws {
        try await leases(of: "old").commit(record(1, 50))
        try await leases(of: "old").commit(record(2, 51, seconds: 60))
        try await leases(of: "old").commit(
            LeaseRecord(
                address: IPv4Address(bytes: [10, 78, 0, 50]), mac: Lab.mac(3), expires: record(3, 50).expires,
                lastSeen: clock.now))
        clock.advance(by: .seconds(60))
        let kept = try await leases.load()
        #expect(kept.map(\.address) == [Lab.address(50)])
        #expect(kept.map(\.mac) == [Lab.mac(1)])
        let renewed = record(1, 50, seconds: 7200)
        try await leases.commit(renewed)
        #expect(try await leases.load() == [renewed])
    }

    @Test("an address stays with its machine until its lease has expired")
    func held() async throws {
        try await leases.commit(record(1, 50))
        try await leases.commit(record(1, 50, seconds: 7200))
        await #expect(throws: LeaseCommitFailure.held(record(1, 50, seconds: 7200))) {
            try await leases.commit(record(2, 50))
        }
        clock.advance(by: .seconds(7200))
        try await leases.commit(record(2, 50))
        #expect(try await leases.load() == [record(2, 50)])
    }

    @Test("moving to another address gives the old one back in the same commit")
    func replacing() async throws {
        try await leases.commit(record(1, 50))
        let before = try await store.currentRevision()
        try await leases.commit(record(1, 51), replacing: record(1, 50))
        #expect(try await leases.load() == [record(1, 51)])
        #expect(try await store.currentRevision().number == before.number + 1)
        try await leases.commit(record(2, 52))
        try await leases.commit(record(1, 53), replacing: record(1, 52))
        #expect(Set(try await leases.load().map(\.address)).contains(Lab.address(52)), "another machine's lease stays")
        try await leases.commit(record(1, 54, seconds: 7200))
        try await leases.commit(record(1, 53), replacing: record(1, 54))
        #expect(Set(try await leases.load().map(\.address)).contains(Lab.address(54)), "one that is renewed stays too")
    }

    @Test("what this process wrote is written again without a read, and what another wrote meanwhile is kept")
    func known() async throws {
        let counting = ReadCounter(store)
        let leases = LeaseStore(store: counting, segment: "lab", network: network, clock: clock)
        #expect(try await leases.load().isEmpty)
        try await leases.commit(record(1, 50))
        try await leases.commit(record(1, 50, seconds: 7200))
        try await leases.commit(record(2, 51))
        #expect(counting.count == 0)

        let key = Lease.key("lab-10.77.0.50")
        let document = try #require(try await store.get(key))
        let text = String(decoding: document.value, as: UTF8.self)
        let newer = text.replacing("\"spec\":{", with: "\"spec\":{\"later\":1,")
        _ = try await store.commit(Transaction(operations: [.put(key, Array(newer.utf8), lease: nil)]))
        try await leases.commit(record(1, 50, seconds: 9000))
        try await leases.commit(record(1, 50, seconds: 9999))
        #expect(counting.count == 2, "a document with fields of a newer version is read each time")
        let after = try #require(try await store.get(key))
        #expect(String(decoding: after.value, as: UTF8.self).contains("\"later\":1"))
        #expect(Set(try await leases.load()) == [record(1, 50, seconds: 9999), record(2, 51)])

        try await self.leases.commit(record(3, 52))
        await #expect(throws: LeaseCommitFailure.held(record(3, 52))) { try await leases.commit(record(4, 52)) }
    }

    @Test("a release deletes only the lease that was released")
    func release() async throws {
        let first = record(1, 50)
        try await leases.commit(first)
        try await leases.commit(record(1, 50, seconds: 7200))
        try await leases.release(first)
        #expect(try await leases.load().count == 1)
        try await leases.release(record(1, 50, seconds: 7200))
        #expect(try await leases.load().isEmpty)
        try await leases.release(first)
    }

    @Test("of many machines that want one address at once exactly one gets it")
    func race() async throws {
        let (leases, records) = (leases, (1...40 as ClosedRange<UInt8>).map { record($0, 50) })
        let winners = await withTaskGroup(of: Bool.self) { group in
            for record in records {
                group.addTask {
                    do {
                        try await leases.commit(record)
                        return true
                    } catch { return false }
                }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(winners == 1)
    }
}

/// Counts the documents that are read one by one.
private final class ReadCounter: ResourceStore {
    private let store: MemoryStore
    private let reads = Atomic<Int>(0)

    init(_ store: MemoryStore) { self.store = store }

    var count: Int { reads.load(ordering: .relaxed) }

    func get(_ key: ResourceKey) async throws(StoreError) -> Document? {
        reads.add(1, ordering: .relaxed)
        return try await store.get(key)
    }

    func currentRevision() async throws(StoreError) -> Revision { try await store.currentRevision() }
    func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
        try await store.list(kind: kind, after: after, limit: limit)
    }
    func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
        try await store.commit(transaction)
    }
    func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
        await store.watch(after: revision)
    }
    func compact(through revision: Revision) async throws(StoreError) { try await store.compact(through: revision) }
    func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID {
        try await store.grantLease(timeToLive: timeToLive)
    }
    func renewLease(_ lease: LeaseID) async throws(StoreError) { try await store.renewLease(lease) }
    func revokeLease(_ lease: LeaseID) async throws(StoreError) { try await store.revokeLease(lease) }
}
