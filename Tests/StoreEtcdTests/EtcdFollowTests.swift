import EtcdBed
import Primitives
import ResourceModel
import StoreEtcd
import Synchronization
import TestSupport
import Testing

@testable import struct StoreEtcd.EtcdAddress
@testable import struct StoreEtcd.EtcdTurn

/// A store whose members come and go while it works.
@Suite(.serialized) struct EtcdFollowTests {
    private static let quick = EtcdTestCluster.Options(heartbeat: .milliseconds(50), election: .milliseconds(500))

    private static func addresses(_ numbers: ClosedRange<Int>) throws -> [EtcdAddress] {
        try numbers.map { try EtcdAddress("http://10.0.0.\($0):2379") }
    }

    @Test func `the first member is asked until it fails, and then the next one until that fails`() throws {
        let now = ContinuousClock.now
        let all = try Self.addresses(1...3)
        var turn = EtcdTurn(all)
        #expect(turn.member(at: now) == all[0])
        turn.noteFailure(of: all[0], at: now)
        #expect(turn.member(at: now) == all[1])
        #expect(turn.member(at: now + .seconds(5)) == all[1], "who is well keeps its turn")
        turn.noteFailure(of: all[1], at: now + .milliseconds(10))
        turn.noteFailure(of: all[2], at: now + .milliseconds(20))
        #expect(turn.member(at: now + .milliseconds(30)) == all[0], "its stain is the oldest")
        turn.noteSuccess(of: all[2])
        #expect(turn.member(at: now + .milliseconds(40)) == all[2])
    }

    @Test func `who is asked keeps its turn when others come and go, and the first has it when it goes itself`() throws
    {
        let now = ContinuousClock.now
        let all = try Self.addresses(1...4)
        var turn = EtcdTurn([all[0], all[1]])
        turn.noteFailure(of: all[0], at: now)
        #expect(turn.member(at: now) == all[1])
        turn.follow([all[2], all[3], all[1]])
        #expect(turn.member(at: now) == all[1])
        turn.follow([all[2], all[3]])
        #expect(turn.member(at: now) == all[2])
        turn.noteFailure(of: all[1], at: now)
        turn.follow([all[1]])
        #expect(turn.member(at: now) == all[1], "what was said of one that was none is not held against it")
    }

    @Test(.timeLimit(.minutes(2)))
    func `a store grows from one member to three and moves to the last of them under writers, and loses nothing`()
        async throws
    {
        let scene = try await EtcdScene(members: 1, options: Self.quick)
        let configuration = scene.configuration(prefix: "/shared/")
        let store = try await EtcdStore.open(configuration, logger: quiet)
        let lease = try await store.grantLease(timeToLive: .seconds(4))
        let isDone = Mutex(false)
        let hasLease = Mutex(true)
        let wasUnreachable = Mutex(false)
        let crew = WriterCrew(store, writers: 8)
        let witness = Witness(store, after: try await store.currentRevision())
        async let result = crew.run { isDone.withLock { $0 } }
        let keeper = Task {
            while !Task.isCancelled {
                do throws(StoreError) { try await store.renewLease(lease) } catch {
                    if case .leaseEnded = error { hasLease.withLock { $0 = false } }
                }
                if !store.isReachable { wasUnreachable.withLock { $0 = true } }
                try? await Task.sleep(for: .milliseconds(100))
            }
        }
        let administration = store.administration
        try await waitUntil { crew.acknowledgedCount > 50 }
        for number in 1...2 {
            let added = try scene.cluster.addMember()
            let learner = try await administration.addLearner(peerURLs: [scene.cluster.peers[added]])
            // It is named before it has begun, and learns before it votes.
            try store.follow(scene.cluster.endpoints)
            try await Task.sleep(for: .seconds(2))
            try scene.cluster.startAdded(added, beside: Array(0..<number))
            // Whether it was done is not known while the answer is lost.
            try await waitUntil(.seconds(30)) {
                try? await administration.promote(learner.id)
                return (try? await administration.members())?.contains { $0.id == learner.id && !$0.isLearner } == true
            }
        }
        for number in 0...1 {
            let before = crew.acknowledgedCount
            try await waitUntil { crew.acknowledgedCount > before + 50 }
            let members = try await administration.members()
            let last = try #require(members.first { $0.name == "m2" })
            let left = try #require(members.first { $0.name == "m\(number)" })
            try await administration.moveLeader(to: last.id)
            try await waitUntil(.seconds(30)) {
                try? await administration.remove(left.id)
                return (try? await administration.members())?.contains { $0.id == left.id } == false
            }
            try store.follow(Array(scene.cluster.endpoints.dropFirst(number + 1)))
            try await Task.sleep(for: .seconds(1))
            scene.cluster.kill(number)
        }
        let before = crew.acknowledgedCount
        try await waitUntil { crew.acknowledgedCount > before + 50 }
        isDone.withLock { $0 = true }
        let report = await result
        keeper.cancel()
        await keeper.value
        print("members that come and go: gap \(report.gap), unknown \(report.unknownCount), \(report.failures)")
        #expect(report.gap < .seconds(5))
        #expect(hasLease.withLock { $0 } && !wasUnreachable.withLock { $0 })
        try await waitUntil { try await scene.newest(of: 8, store) <= witness.position }
        witness.end()
        try await witness.check(report, store)
        try await store.close()
        scene.end()
    }

    @Test(.timeLimit(.minutes(1))) func `calls to a member that stands still end as soon as it is none any more`()
        async throws
    {
        let scene = try await EtcdScene(members: 3, options: Self.quick)
        let store = try await scene.store()
        let key = ResourceKey(kind: "test.thing", name: "a")
        _ = try await store.commit(Transaction(operations: [.put(key, [1])]))
        scene.cluster.pause(0)
        try await waitUntil(.seconds(10)) {
            (try? await store.commit(Transaction(operations: [.put(key, [2])]))) != nil
        }
        try store.follow(Array(scene.cluster.endpoints.dropFirst()))
        let began = ContinuousClock.now
        for value in 0..<20 as Range<UInt8> {
            _ = try await store.commit(Transaction(operations: [.put(key, [value])]))
        }
        #expect(ContinuousClock.now - began < .seconds(3))
        #expect(store.isReachable)
        #expect(throws: StoreError.self) { try store.follow([]) }
        #expect(throws: StoreError.self) { try store.follow(["http://127.0.0.1:1"]) }
        #expect(try await store.get(key)?.value == [19])
        try await store.close()
        scene.end()
    }
}
