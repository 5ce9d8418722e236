import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import FleetContract
import FoundationEssentials
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import Testing

@Suite struct FleetAPIOrderTests {
    @Test func approvalWritesTheSpecificationAndAnEvent() async throws {
        try await withFleet { fleet in
            let id = try await fleet.addNode("n1", number: 1)
            try await fleet.with { (client: FleetClient) async throws in
                let early = await #expect(throws: ClientError.self) {
                    try await client.approve("n1", .init(role: .network))
                }
                #expect(
                    early?.publicMessage
                        == "There is no image for the role 'network'; push one with 'muster image push "
                        + "NAME --role network --file FILE'.")
                try await fleet.addImage()
                let reply = try await client.approve("n1", .init(role: .network, name: "net-1"))
                #expect(reply.node.name == "net-1")
                #expect(reply.node.isApproved)
                _ = try await client.approve(id.raw, .init())
            }
            let node = try #require(try await fleet.node(id))
            #expect(node.spec.role == .network)
            #expect(node.spec.approval?.by == "operator:test-admin")
            #expect(node.spec.approval?.number == 2)
            #expect(node.metadata.generation == Generation(3))
            #expect(node.status.state == .enroll)
            let events = try await fleet.audit.events().events
            #expect(events.count == 3)
            #expect(events[1].spec.resource == Node.key(id.raw))
            #expect(events[1].spec.outcome == .ok)
            #expect(events[1].spec.summary?.contains(#"spec.name: "n1" → "net-1""#) == true)
        }
    }

    @Test func deploymentsAndPowerOrdersRise() async throws {
        try await withFleet { fleet in
            try await fleet.addImage()
            let id = try await fleet.addNode("n1", number: 1) { node in
                node.spec.role = .network
                node.spec.bmc = "b1"
                node.status.state = .active
                node.status.attempted = Generation(1)
            }
            try await fleet.with(.member) { (client: FleetClient) async throws in
                let early = await #expect(throws: ClientError.self) { try await client.deploy("n1") }
                #expect(early?.exitCode == 4)
                _ = try await client.approve("n1", .init())
                #expect(try await client.deploy("n1").deployment == Generation(2))
                #expect(try await client.deploy("n1").deployment == Generation(3))
                _ = try await client.power("n1", .reset)
                _ = try await client.power("n1", .off)
                _ = try await client.change("n1", NodePatch(isInMaintenance: true))
                let late = await #expect(throws: ClientError.self) { try await client.deploy("n1") }
                #expect(late?.publicMessage.contains("maintenance") == true)
            }
            let spec = try #require(try await fleet.node(id)).spec
            #expect(spec.deployment == Generation(3))
            #expect(spec.power == Node.PowerRequest(number: 2, action: .off))
        }
    }

    @Test func ordersAtTheSameTimeAllCount() async throws {
        try await withFleet { fleet in
            let id = try await fleet.addNode("n1", number: 1) { $0.spec.bmc = "b1" }
            try await fleet.with { (client: FleetClient) async throws in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<8 { group.addTask { _ = try await client.power("n1", .on) } }
                    try await group.waitForAll()
                }
            }
            #expect(try await fleet.node(id)?.spec.power?.number == 8)
            #expect(try await fleet.audit.events().events.count == 8)
        }
    }

    @Test func fieldsOfALaterVersionAreKept() async throws {
        try await withFleet { fleet in
            let id = try await fleet.addNode("n1", number: 1)
            let stored = try #require(try await fleet.store.get(Node.key(id.raw)))
            guard case .object(var members) = try JSONDecoder().decode(JSONValue.self, from: Data(stored.value)),
                case .object(var spec)? = members["spec"]
            else {
                Issue.record("a node is an object")
                return
            }
            spec["colour"] = .string("blue")
            members["spec"] = .object(spec)
            members["annotations"] = .array([.string("x")])
            let bytes = Array(try JSONEncoder().encode(JSONValue.object(members)))
            let revision = try await fleet.store.commit(Transaction(operations: [.put(stored.key, bytes)]))
            try await fleet.cache.wait(for: revision)
            _ = try await fleet.with { try await $0.change("n1", NodePatch(role: .storage)) }
            let after = try #require(try await fleet.store.get(Node.key(id.raw)))
            let value = try JSONDecoder().decode(JSONValue.self, from: Data(after.value))
            #expect(value["spec"]?["colour"] == .string("blue"))
            #expect(value["spec"]?["role"] == .string("storage"))
            #expect(value["annotations"] == .array([.string("x")]))
        }
    }

    @Test func patchesChangeWhatTheyNameAndNothingElse() async throws {
        try await withFleet { fleet in
            let id = try await fleet.addNode("n1", number: 1) { node in
                node.spec.role = .network
                node.spec.bmc = "gone"
                node.spec.image = "old"
            }
            _ = try await fleet.with { (client: FleetClient) async throws in
                try await client.change(
                    "n1",
                    NodePatch(
                        name: "n9", image: "", rootDisk: .init(serial: "D-1"), dataDisks: DataDisks(all: true), bmc: "")
                )
            }
            let spec = try #require(try await fleet.node(id)).spec
            #expect(spec.dataDisks == DataDisks(pool: "data", all: true))
            #expect(spec.name == "n9")
            #expect(spec.role == .network)
            #expect(spec.image == nil)
            #expect(spec.bmc == nil)
            #expect(spec.rootDisk.serial == "D-1")
            _ = try await fleet.with { (client: FleetClient) async throws in
                try await client.change("n9", NodePatch(dataDisks: DataDisks()))
            }
            #expect(try await fleet.node(id)?.spec.dataDisks == nil, "no disk is named: nothing more is taken")
        }
    }
}
