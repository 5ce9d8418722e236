import AgentProtocol
import CatalogBareMetal
import ClientSDK
import FleetContract
import Identity
import Primitives
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@Suite struct FleetAPIRemovalTests {
    @Test func aDeletedNodeLeavesNothingBehind() async throws {
        try await withFleet { fleet in
            let id = try await fleet.addNode("n1", number: 1)
            let other = try await fleet.addNode("n2", number: 2)
            for (name, owner) in [("mac-1", id), ("uuid-1", id), ("mac-2", other)] {
                try await fleet.put(
                    MachineMark(
                        metadata: Metadata(name: name, schemaVersion: 1, created: fleet.clock.now),
                        spec: MachineMark.Spec(node: owner)))
            }
            for number in 0..<150 {
                _ = try await fleet.store.commit(
                    Transaction(operations: [
                        try Stored(
                            new: NodeEvent(
                                metadata: Metadata(name: "\(id).\(number)", schemaVersion: 1, created: fleet.clock.now),
                                spec: NodeEvent.Spec(node: id, time: fleet.clock.now, type: "T", message: "m"))
                        ).put()
                    ]))
            }
            try await fleet.with { (client: FleetClient) async throws in
                #expect(try await client.deleteNode("n1").name == "n1")
                let gone = await #expect(throws: ClientError.self) { try await client.deleteNode("n1") }
                #expect(gone?.exitCode == 3)
            }
            #expect(try await fleet.node(id) == nil)
            #expect(try await fleet.store.fetchAll(MachineMark.self).map(\.value.metadata.name) == ["mac-2"])
            #expect(try await fleet.store.fetchAll(NodeEvent.self).isEmpty)
            #expect(try await fleet.node(other) != nil)
        }
    }

    @Test func aNodeThatWasLetInGoesOnlyByForce() async throws {
        try await withFleet { fleet in
            let id = try await fleet.addNode("n1", number: 1) { node in
                node.spec.approval = Node.Approval(by: "admin", at: fleet.clock.now, number: 1)
            }
            try await fleet.with { (client: FleetClient) async throws in
                let refused = await #expect(throws: ClientError.self) { try await client.deleteNode("n1") }
                #expect(refused?.publicMessage.contains("--force") == true)
                _ = try await client.deleteNode("n1", force: true)
            }
            #expect(try await fleet.node(id) == nil)
        }
    }

    @Test func aSettledConflictIsForgotten() async throws {
        try await withFleet { fleet in
            let id = try await fleet.addNode("n1", number: 1)
            try await fleet.put(
                IdentityConflict(
                    metadata: Metadata(name: "c1", schemaVersion: 1, created: fleet.clock.now),
                    spec: IdentityConflict.Spec(
                        claim: MachineIdentity(serial: "S"), nodes: [id], reason: "two machines have one serial"),
                    status: IdentityConflict.Status(lastSeen: fleet.clock.now, count: 3)))
            try await fleet.with { (client: FleetClient) async throws in
                #expect(try await client.conflicts().map(\.name) == ["c1"])
                _ = try await client.deleteConflict("c1")
                #expect(try await client.conflicts().isEmpty)
                let gone = await #expect(throws: ClientError.self) { try await client.deleteConflict("c1") }
                #expect(gone?.publicMessage.contains("muster conflict list") == true)
            }
        }
    }
}
