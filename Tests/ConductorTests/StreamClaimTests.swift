import AgentProtocol
import CatalogBareMetal
import Foundation
import Primitives
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@testable import ConductorServer

/// A real agent's stream to one of several conductors.
@Suite("StreamClaim", .serialized)
struct StreamClaimTests {
    private func connection(_ node: NodeID, _ scene: TrustScene) async throws -> Node.Agent? {
        try await scene.store.fetch(Node.self, node.raw)?.value.status.agent
    }

    @Test func `what a conductor that was paused tells late of an older stream is corrected by who has the newer`()
        async throws
    {
        try await TrustScene.run { scene in
            let node = try await scene.addNode(1)
            try await node.runAgent {
                try await waitUntil { try await self.connection(node.id, scene)?.connection == .open }
                let own = try #require(try await self.connection(node.id, scene)?.stream)
                _ = try await scene.store.update(Node.self, node.id.raw) { (stored: Stored<Node>?) in
                    guard var stored else { return nil }
                    stored.value.status.agent?.stream = Node.Stream(conductor: "the other", number: 9)
                    stored.value.status.agent?.isConnected = false
                    return stored
                }
                try await waitUntil {
                    let agent = try await self.connection(node.id, scene)
                    return agent?.connection == .open && agent?.stream == own
                }
            }
        }
    }

    @Test func `an agent keeps where all conductors are, also those that it has never met`() async throws {
        try await TrustScene.run { scene in
            let node = try await scene.addNode(1)
            try await node.runAgent {
                try await waitUntil { try await self.connection(node.id, scene)?.connection == .open }
                let endpoint = ConductorEndpoint(
                    metadata: Metadata(name: "second", schemaVersion: 1, created: SystemWallClock().now),
                    spec: ConductorEndpoint.Spec(agents: ["192.0.2.7:7443"], provisioning: [], api: []))
                _ = try await scene.store.commit(Transaction(operations: [try Stored(new: endpoint).put()]))
                try await waitUntil {
                    let kept = try Data(contentsOf: URL(filePath: scene.directory.appending("n1/agent.json")))
                    let file = try JSONDecoder().decode(AgentIdentityFile.self, from: kept)
                    return Set(file.conductors) == [scene.endpoint, "192.0.2.7:7443"]
                }
            }
        }
    }
}
