import AgentProtocol
import BlobStore
import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import FleetContract
import FoundationEssentials
import Identity
import Primitives
import ResourceModel
import TestSupport
import Testing

@Suite struct FleetAPIExplainTests {
    static func inventory(serial: String = "SRV-1", memory: ByteCount = .gibibytes(8)) -> InventoryReport {
        InventoryReport(
            agentVersion: "0.1.0", collectedAt: Timestamp(millisecondsSinceEpoch: 0), kernelVersion: "6.1.0",
            system: .init(vendor: "Acme", product: "R1", serial: serial, firmwareMode: .uefi),
            cpu: .init(architecture: "x86_64", sockets: 1, cores: 4, threads: 8), memory: .init(total: memory),
            disks: [.init(name: "sda", path: "/dev/sda", serial: "D-1", size: .gibibytes(100))],
            nics: [
                .init(
                    name: "eth0", mac: MACAddress(bytes: [0x52, 0x54, 0, 0x77, 0, 0xAB]),
                    permanentMAC: MACAddress(bytes: [0x52, 0x54, 0, 0x77, 0, 0xAB]), hasLink: true, mtu: 1500)
            ])
    }

    static func addNode(_ fleet: FleetFixture, _ name: String, _ inventory: InventoryReport) async throws -> NodeID {
        let digest = try fleet.blobs.put(Array(try JSONEncoder().encode(inventory)))
        return try await fleet.addNode(name, number: 1) { $0.status.inventory = digest }
    }

    static func addRule(_ fleet: FleetFixture, _ name: String, _ spec: Rule.Spec) async throws {
        try await fleet.put(
            Rule(metadata: Metadata(name: name, schemaVersion: 1, created: fleet.clock.now), spec: spec))
    }

    @Test func aNodeIsExplainedByTheRulesOfNow() async throws {
        try await withFleet { fleet in
            _ = try await Self.addNode(fleet, "node-7700ab", Self.inventory())
            try await Self.addRule(
                fleet, "acme",
                .init(
                    order: 10, match: [.init(path: "system.vendor", comparison: .equals, value: "Acme")],
                    name: "c-{rack}-{nn}", role: .network, rack: "R 7"))
            try await Self.addRule(
                fleet, "typo",
                .init(
                    order: 20, match: [.init(path: "system.serial", comparison: .equals, value: "SRV-l")], bmc: "b1"))
            try await fleet.with(.reader) { (client: FleetClient) async throws in
                let reply = try await client.explain("node-7700ab")
                #expect(reply.node?.name == "node-7700ab")
                #expect(reply.rules.rules.map(\.matches) == [true, false])
                #expect(
                    reply.rules.nearMisses == [
                        "rule typo would match but for system.serial is 'SRV-l' (found SRV-1)"
                    ])
                #expect(
                    reply.fields.map { "\($0.field)=\($0.value ?? "-") (\($0.source))" } == [
                        "name=node-7700ab (an operator or an earlier site file; rule acme gives 'c-{rack}-{nn}' now)",
                        "role=- (nothing yet: rule acme gives 'network', taken over when it is approved)",
                        "rack=- (nothing yet: rule acme gives 'R 7', taken over when it is approved)",
                        "root disk=- (no rule gives it)", "bmc=- (no rule gives it)",
                        "network=- (no rule gives it)", "sku=- (no rule gives it)",
                        "approval=- (no rule lets it in: an operator has to)",
                    ])
                let why = try await client.why("node-7700ab")
                #expect(
                    why.causes.first { $0.subject == "rules" }?.what
                        == "name c-{rack}-{nn} (acme), role network (acme), rack R 7 (acme)")
                let bare = try await fleet.addNode("bare", number: 2)
                await #expect(throws: ClientError.self) { _ = try await client.explain(bare.raw) }
            }
            try await fleet.addImage()
            try await fleet.with { (client: FleetClient) async throws in
                let reply = try await client.approve("node-7700ab", .init())
                #expect(reply.node.name == "c-r-7-01")
                #expect(reply.node.role == .network)
                let fields = try await client.explain("c-r-7-01").fields
                #expect(fields[0].source == "rule acme, 'c-{rack}-{nn}'")
                #expect(fields[2] == .init(field: "rack", value: "R 7", source: "rule acme"))
            }
        }
    }

    @Test func anInventoryIsExplainedWithoutANode() async throws {
        try await withFleet { fleet in
            try await fleet.addNode("c01", number: 1)
            let rules = [
                SiteDocument.RuleEntry(
                    name: "all", spec: .init(order: 1, match: [], name: "c{nn}", role: .compute, approves: false))
            ]
            try await fleet.with(.reader) { (client: FleetClient) async throws in
                let none = try await client.explain(ExplainRequest(inventory: Self.inventory()))
                #expect(
                    none.headline == "It would be 'node-7700ab', without a role, and would wait for an operator.")
                let reply = try await client.explain(ExplainRequest(inventory: Self.inventory(), rules: rules))
                #expect(reply.headline == "It would be 'c02' in the role compute, and would wait for an operator.")
                #expect(reply.node == nil)
            }
        }
    }

    @Test func rulesThatContradictKeepAMachineOutUntilThatIsAccepted() async throws {
        try await withFleet { fleet in
            let id = try await Self.addNode(fleet, "n1", Self.inventory())
            try await fleet.addImage()
            try await Self.addRule(fleet, "a", .init(order: 10, match: [], role: .network))
            try await Self.addRule(fleet, "b", .init(order: 10, match: [], role: .storage))
            try await fleet.with { (client: FleetClient) async throws in
                let refusal = await #expect(throws: ClientError.self) {
                    try await client.approve("n1", .init(role: .network))
                }
                #expect(refusal?.exitCode == 4)
                #expect(
                    refusal?.publicMessage.contains("give different values of role: 'network' and 'storage'") == true)
                #expect(refusal?.publicMessage.contains("muster node approve n1 --accept-difference") == true)
                let why = try await client.why("n1")
                #expect(why.causes.contains { $0.subject == "rules" && $0.isProblem })
                _ = try await client.approve("n1", .init(role: .network, acceptsDifference: true))
            }
            let node = try #require(try await fleet.node(id))
            #expect(node.spec.approval?.accepted?.map(\.kind) == [.rules])
            let summary = try await fleet.audit.events().events.last?.spec.summary
            #expect(summary?.contains("accepted") == true, "\(summary ?? "")")
        }
    }

    @Test func whatIsNotOnTheBillIsRefusedFieldByField() async throws {
        try await withFleet { fleet in
            let id = try await Self.addNode(fleet, "n1", Self.inventory(memory: .gibibytes(4)))
            try await fleet.addImage()
            try await Self.addRule(fleet, "all", .init(order: 10, match: [], role: .network, sku: "small"))
            var bill = SKU.Spec()
            bill.memory = .init(min: .gibibytes(8))
            bill.cpu = .init(cores: 8)
            try await fleet.put(
                SKU(metadata: Metadata(name: "small", schemaVersion: 1, created: fleet.clock.now), spec: bill))
            try await fleet.with { (client: FleetClient) async throws in
                let explained = try await client.explain("n1")
                #expect(
                    explained.blocks.map(\.message) == [
                        "small: cores: 8 wanted, 4 found", "small: memory: at least 8 GiB wanted, 4 GiB found",
                    ])
                let refusal = await #expect(throws: ClientError.self) { try await client.approve("n1", .init()) }
                #expect(refusal?.exitCode == 4)
                #expect(
                    refusal?.publicMessage.contains(
                        "small: cores: 8 wanted, 4 found; small: memory: at least 8 GiB wanted, 4 GiB found") == true)
                _ = try await client.approve("n1", .init(acceptsDifference: true))
            }
            let node = try #require(try await fleet.node(id))
            #expect(node.spec.sku == "small")
            #expect(node.spec.approval?.accepted?.count == 2)
            let summary = try await fleet.audit.events().events.last?.spec.summary
            #expect(summary?.contains("accepted") == true, "\(summary ?? "")")
        }
    }
}
