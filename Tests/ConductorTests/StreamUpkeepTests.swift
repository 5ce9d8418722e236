import AgentPort
import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel
import TestSupport
import Testing

@testable import ConductorServer

/// What becomes of agents whose conductor does not reach its store.
@Suite("StreamUpkeep", .serialized)
struct StreamUpkeepTests {
    @Test func `agents are sent on once the store has been away for as long as others wait, and no sooner`() {
        let start = ContinuousClock.now
        var evacuation = StreamUpkeep.Evacuation()
        func places(_ second: Int, _ isReached: Bool) -> Int {
            evacuation.places(reachesStore: isReached, at: start + .seconds(second))
        }
        #expect((0..<30).allSatisfy { places($0, true) == 0 })
        #expect((30..<40).allSatisfy { places($0, false) == 0 })
        #expect(places(40, false) == StreamUpkeep.Evacuation.countMax)
        #expect(places(41, true) == 0)
        #expect((42..<52).allSatisfy { places($0, false) == 0 })
    }

    @Test func `who is sent on comes to another conductor, and is not welcome where the store is away`() async throws {
        try await TrustScene.run { scene in
            let node = try await scene.addNode(1)
            try await node.runAgent {
                try await waitUntil { scene.hub.feed.certificate(of: node.id) != nil }
                let first = try #require(scene.hub.newest.newest(of: node.id)).session
                scene.hub.sendOn(200)
                try await waitUntil {
                    scene.hub.feed.certificate(of: node.id) != nil
                        && scene.hub.newest.newest(of: node.id)?.session != first
                }
                scene.hub.ledger.isCutOff = true
                scene.hub.sendOn(200)
                try await waitUntil { scene.hub.newest.newest(of: node.id) == nil }
                try await Task.sleep(for: .seconds(3))
                #expect(scene.hub.feed.certificate(of: node.id) == nil)
            }
        }
    }

    @Test func `the end of a stream that could not be told is told later, unless the agent is back`() async throws {
        try await TrustScene.run { scene in
            let (here, gone) = (try await scene.addNode(1), try await scene.addNode(2))
            @Sendable func agent(_ node: SceneNode) async throws -> Node.Agent? {
                try await scene.store.fetch(Node.self, node.id.raw)?.value.status.agent
            }
            try await gone.runAgent { try await waitUntil { try await agent(gone)?.isConnected == true } }
            try await waitUntil { try await agent(gone)?.isConnected == false }
            _ = try await scene.store.update(Node.self, gone.id.raw) { (stored: Stored<Node>?) in
                guard var stored else { return nil }
                stored.value.status.agent?.isConnected = true
                return stored
            }
            let session = try #require(try await agent(gone)?.stream).number
            try await here.runAgent {
                try await waitUntil { try await agent(here)?.isConnected == true }
                scene.hub.ledger.add(gone.id, session)
                scene.hub.ledger.add(here.id, 0)
                await scene.hub.tellUntold()
                #expect(try await agent(gone)?.isConnected == false)
                #expect(try await agent(here)?.isConnected == true)
            }
        }
    }
}
