import EtcdBed
import Primitives
import ProgramRuns
import ResourceModel
import StoreEtcd
import Synchronization
import TestSupport
import Testing

/// Members that die, stand still or come back under writers: nothing acknowledged is lost, nothing is done twice, and
/// watches see each commit once and in order.
@Suite(.serialized) struct EtcdFailoverTests {
    private enum Fault: String, CaseIterable, CustomTestStringConvertible {
        case kill, pause
        var testDescription: String { rawValue }
    }

    private static let quick = EtcdTestCluster.Options(heartbeat: .milliseconds(50), election: .milliseconds(500))

    @Test(arguments: Fault.allCases)
    private func `the leader goes away under writers, and comes back`(_ fault: Fault) async throws {
        let scene = try await EtcdScene(members: 3, options: Self.quick)
        let writer = try await scene.store(prefix: "/shared/")
        let reader = try await scene.store(prefix: "/shared/")
        let start = try await writer.currentRevision()
        let isDone = Mutex(false)
        let crew = WriterCrew(writer, writers: 8)
        let witness = Witness(reader, after: start)
        async let result = crew.run { isDone.withLock { $0 } }
        try await waitUntil { crew.acknowledgedCount > 50 }
        for _ in 0..<2 {
            let leader = try await scene.leader()
            let before = crew.acknowledgedCount
            switch fault {
            case .kill: scene.cluster.kill(leader)
            case .pause: scene.cluster.pause(leader)
            }
            try await waitUntil { crew.acknowledgedCount > before + 100 }
            switch fault {
            case .kill: try scene.cluster.restart(leader)
            case .pause: scene.cluster.resume(leader)
            }
            try await scene.cluster.waitUntilHealthy()
        }
        isDone.withLock { $0 = true }
        let report = await result
        print("\(fault): gap \(report.gap), unknown \(report.unknownCount), \(report.failures)")
        #expect(report.gap < .seconds(15))

        try await waitUntil { try await scene.newest(of: 8, reader) <= witness.position }
        witness.end()
        try await witness.check(report, reader)
        try await writer.close()
        try await reader.close()
    }

    @Test func `a member that stands still holds nobody longer than the patience`() async throws {
        let scene = try await EtcdScene(members: 3, options: Self.quick)
        let store = try await scene.store()
        let key = ResourceKey(kind: "test.thing", name: "a")
        _ = try await store.commit(Transaction(operations: [.put(key, [1])]))
        // The first end point is the one that is asked.
        scene.cluster.pause(0)
        let began = ContinuousClock.now
        #expect(try await store.get(key)?.value == [1])
        #expect(began.duration(to: .now) < .seconds(5))
        try await waitUntil(.seconds(10)) {
            (try? await store.commit(Transaction(operations: [.put(key, [2])]))) != nil
        }
        scene.cluster.resume(0)
        try await store.close()
    }

    @Test func `without a quorum nothing is done, and that is said in time`() async throws {
        let scene = try await EtcdScene(members: 3, options: Self.quick)
        let store = try await scene.store()
        let key = ResourceKey(kind: "test.thing", name: "a")
        _ = try await store.commit(Transaction(operations: [.put(key, [1])]))
        scene.cluster.kill(1)
        scene.cluster.kill(2)
        let began = ContinuousClock.now
        await #expect(throws: StoreError.self) { try await store.get(key) }
        await #expect(throws: StoreError.self) { try await store.commit(Transaction(operations: [.put(key, [2])])) }
        #expect(began.duration(to: .now) < .seconds(15))
        try scene.cluster.restart(1)
        try await waitUntil(.seconds(20)) { (try? await store.get(key)) != nil }
        _ = try await store.commit(Transaction(operations: [.put(key, [3])]))
        let document = try await store.get(key)
        #expect(document?.value == [3])
        try await store.close()
    }

    @Test func `readers whose place in the history is gone are told, and list anew`() async throws {
        let scene = try await EtcdScene(members: 1, options: Self.quick)
        let writer = try await scene.store(prefix: "/shared/")
        let reader = try await scene.store(prefix: "/shared/")
        let key = ResourceKey(kind: "test.thing", name: "a")
        let first = try await writer.commit(Transaction(operations: [.put(key, [1])]))
        var last = first
        for value in 0..<10 as Range<UInt8> {
            last = try await writer.commit(Transaction(operations: [.put(key, [value])]))
        }
        try await writer.compact(through: last)
        await #expect(throws: StoreError.compacted(oldest: last)) {
            for try await _ in await reader.watch(after: first) { continue }
        }
        for try await batch in await reader.watch(after: last) {
            #expect(batch == WatchBatch(revision: last, changes: []))
            break
        }
        try await writer.close()
        try await reader.close()
    }

    @Test func `a lease that ended is told at the next renewal, whoever is asked`() async throws {
        let scene = try await EtcdScene(members: 3, options: Self.quick)
        let store = try await scene.store()
        let lease = try await store.grantLease(timeToLive: .milliseconds(500))
        let kept = try await store.grantLease(timeToLive: .seconds(3))
        for _ in 0..<8 {
            try await Task.sleep(for: .milliseconds(500))
            try await store.renewLease(kept)
        }
        await #expect(throws: StoreError.leaseEnded(lease)) { try await store.renewLease(lease) }
        scene.cluster.kill(0)
        try await waitUntil { (try? await store.renewLease(kept)) != nil }
        try await store.revokeLease(kept)
        await #expect(throws: StoreError.leaseEnded(kept)) { try await store.renewLease(kept) }
        try await store.close()
    }

    @Test func `the barrier is reached although somebody else writes to the cluster`() async throws {
        let scene = try await EtcdScene(members: 1, options: Self.quick)
        let store = try await scene.store()
        let outcome = try await scene.cluster.control(
            ["--endpoints", scene.cluster.endpoints[0], "put", "/elsewhere", "1"]
        ).finish()
        #expect(outcome.status == 0)
        let revision = try await store.currentRevision()
        try await withDeadline(.seconds(10)) {
            for try await batch in await store.watch(after: Revision(revision.number - 1))
            where batch.revision >= revision {
                break
            }
        }
        try await store.close()
    }
}
