import EtcdBed
import NIOCore
import NIOPosix
import Primitives
import ResourceModel
import StoreEtcd
import TestSupport
import Testing

/// A member whose machine needs seconds for a handshake is slow, and not gone.
@Suite(.serialized) struct SlowHandshakeTests {
    @Test(.timeLimit(.minutes(1))) func `a store opens and works although each connection is silent for three seconds`()
        async throws
    {
        let scene = try await EtcdScene(members: 1)
        let port = try #require(scene.cluster.endpoints[0].split(separator: ":").last.flatMap { Int($0) })
        try await SlowRelay.with(to: port, silence: .seconds(3)) { relay in
            var configuration = scene.configuration()
            configuration.endpoints = [relay.endpoint]
            let store = try await EtcdStore.open(configuration, logger: quiet)
            let key = ResourceKey(kind: "test.thing", name: "slow")
            let put = Transaction(operations: [.put(key, [1])])
            let revision = try await store.commit(put)
            #expect(try await store.get(key)?.revision == revision)

            // The member's connections are lost, and come again as slowly.
            relay.cut()
            try await waitUntil(.seconds(5)) { !store.isReachable }
            try await waitUntil(.seconds(25)) { store.isReachable }
            #expect(try await store.commit(put) > revision)
            try await store.close()
        }
        scene.end()
    }

    /// The others answer: this one is not waited for, and is one of them in the end.
    @Test(.timeLimit(.minutes(1))) func `a member among others is given more time with each connection`() async throws {
        let scene = try await EtcdScene(members: 3)
        let port = try #require(scene.cluster.endpoints[0].split(separator: ":").last.flatMap { Int($0) })
        try await SlowRelay.with(to: port, silence: .seconds(3)) { relay in
            var configuration = scene.configuration()
            configuration.endpoints[0] = relay.endpoint
            let store = try await EtcdStore.open(configuration, logger: quiet)
            try await waitUntil { relay.count > 2 }
            for member in [1, 2] { scene.cluster.pause(member) }
            try await waitUntil(.seconds(5)) { !store.isReachable }
            scene.cluster.resume(1)
            try await waitUntil(.seconds(25)) { store.isReachable }
            scene.cluster.resume(2)
            try await store.close()
        }
        scene.end()
    }

    @Test(.timeLimit(.minutes(1))) func `where nobody takes connections the opening fails as soon as before`()
        async throws
    {
        let scene = try await EtcdScene(members: 1)
        let configuration = scene.configuration()
        scene.end()
        let began = ContinuousClock.now
        await #expect(throws: StoreError.self) { try await EtcdStore.open(configuration, logger: quiet) }
        #expect(ContinuousClock.now - began < .seconds(10))
    }
}
