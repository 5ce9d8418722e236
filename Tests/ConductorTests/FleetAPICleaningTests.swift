import AgentProtocol
import BlobStore
import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import FleetContract
import Foundation
import Primitives
import TestSupport
import Testing

@Suite struct FleetAPICleaningTests {
    private static func inventory() -> InventoryReport {
        InventoryReport(
            agentVersion: "1", collectedAt: Timestamp(millisecondsSinceEpoch: 0), kernelVersion: "6.1",
            system: .init(serial: "S-1", firmwareMode: .bios),
            cpu: .init(architecture: "x86_64", sockets: 1, cores: 1, threads: 1), memory: .init(total: .gibibytes(1)),
            disks: [
                InventoryReport.Disk(name: "vda", path: "/dev/vda", serial: "A", size: .gibibytes(4)),
                InventoryReport.Disk(name: "sdb", path: "/dev/sdb", wwn: "0x5", size: .gibibytes(8)),
                InventoryReport.Disk(name: "sdc", path: "/dev/sdc", serial: "C", size: .gibibytes(1), isReadOnly: true),
            ], nics: [])
    }

    @Test func `disks are named exactly, and only those that the inventory has`() async throws {
        try await withFleet { fleet in
            let digest = try fleet.blobs.put(Array(try JSONEncoder().encode(Self.inventory())))
            let id = try await fleet.addNode("n1", number: 1) { node in
                node.status.inventory = digest
                node.status.state = .available
                node.spec.approval = Node.Approval(by: "x", at: fleet.clock.now, number: 1)
            }
            try await fleet.with(.reader) { (client: FleetClient) async throws in
                let denied = await #expect(throws: ClientError.self) {
                    try await client.clean("n1", CleanRequestBody(disks: nil, method: .quick))
                }
                #expect(denied?.publicMessage.isEmpty == false)
            }
            try await fleet.with { (client: FleetClient) async throws in
                let unknown = await #expect(throws: ClientError.self) {
                    try await client.clean("n1", CleanRequestBody(disks: ["C"], method: .quick))
                }
                #expect(
                    unknown?.publicMessage
                        == "No disk of 'n1' is called 'C'. Name one by serial number, WWN or path: vda (A, 4 GiB), "
                        + "sdb (0x5, 8 GiB).")
                _ = try await client.clean("n1", CleanRequestBody(disks: ["0x5"], method: .overwrite))
                _ = try await client.clean("n1", CleanRequestBody(disks: nil, method: .quick))
            }
            let node = try #require(try await fleet.node(id))
            #expect(node.spec.cleaning?.number == 2)
            #expect(node.spec.cleaning?.order.disks.map(\.serial) == ["A", nil])
            #expect(node.spec.cleaning?.order.disks.map(\.wwn) == [nil, "0x5"])
            #expect(node.spec.cleaning?.order.disks[1].sizeMin == .gibibytes(8))
        }
    }

    @Test func `an active node is released in so many words, and others are told why not`() async throws {
        try await withFleet { fleet in
            let digest = try fleet.blobs.put(Array(try JSONEncoder().encode(Self.inventory())))
            func add(_ name: String, _ number: UInt8, _ change: @escaping (inout Node) -> Void) async throws -> NodeID {
                try await fleet.addNode(name, number: number) { node in
                    node.status.inventory = digest
                    node.spec.approval = Node.Approval(by: "x", at: fleet.clock.now, number: 1)
                    change(&node)
                }
            }
            let active = try await add("busy", 1) {
                $0.status.state = .active
                $0.spec.role = .network
            }
            _ = try await add("kept", 2) {
                $0.status.state = .available
                $0.spec.maintenance = Node.Maintenance(
                    reason: "a fan", by: "operator:x", since: Timestamp(millisecondsSinceEpoch: 0))
            }
            _ = try await add("writing", 3) { $0.status.state = .deploying(.writing) }
            _ = try await add("stranger", 4) {
                $0.status.state = .enroll
                $0.spec.approval = nil
            }
            _ = try await add("unknown", 5) { $0.status.inventory = nil }
            try await fleet.with { (client: FleetClient) async throws in
                for (name, words) in [
                    ("busy", "--release"), ("kept", "maintenance off"), ("writing", "cannot be cleaned now"),
                    ("stranger", "not let in"), ("unknown", "boot it over the network"),
                ] {
                    let error = await #expect(throws: ClientError.self, "\(name)") {
                        try await client.clean(name, CleanRequestBody(disks: nil, method: .quick))
                    }
                    #expect(error?.publicMessage.contains(words) == true, "\(name): \(error?.publicMessage ?? "")")
                }
                _ = try await client.clean("busy", CleanRequestBody(disks: nil, method: .quick, release: true))
            }
            let node = try #require(try await fleet.node(active))
            #expect(node.spec.role == nil)
            #expect(node.spec.cleaning?.isRelease == true)
        }
    }
}
