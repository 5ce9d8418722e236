import AgentProtocol
import BareMetal
import CatalogBareMetal
import Primitives
import ResourceModel
import StoreMemory
import Synchronization
import Testing

@Suite struct InventoryDifferenceTests {
    @Test func theSameHardwareDoesNotDiffer() {
        let old = rackServer()
        let disks = old.disks.reversed().map { disk in
            var disk = disk
            disk.name = "sdz"
            disk.contents = .init(partitionTable: "gpt")
            return disk
        }
        let nics = old.nics.reversed().map { nic in
            var nic = nic
            (nic.name, nic.speed, nic.hasLink, nic.mtu, nic.addresses) = ("x", nil, false, 9000, ["10.0.0.1/24"])
            return nic
        }
        #expect(InventoryDifference.between(old, rackServer(disks: disks, nics: nics)) == [])
        #expect(InventoryDifference.between(old, old) == [])
    }

    @Test func whatIsGoneNewAndChangedIsTold() {
        let new = rackServer(
            memory: [.gibibytes(64)],
            disks: [
                disk("D-1", 894, "nvme"), disk("D-7", 894, "nvme", path: "slot-D-2"), disk("D-8", 100, "ata"),
            ],
            nics: [nic(1, speed: 25_000), nic(3, speed: 25_000)], firmware: "2.18", tpm: nil)
        #expect(
            InventoryDifference.between(rackServer(), new) == [
                "firmware version 2.17 → 2.18", "TPM 2.0 → none", "memory module DIMM 1 (64 GiB, serial M1) is gone",
                "disk D-3 (3.6 TiB) is gone", "disk D-2 (894 GiB) was replaced by D-7 (894 GiB)",
                "disk D-8 (100 GiB) is new", "network interface 52:54:00:00:00:02 is gone",
                "network interface 52:54:00:00:00:03 is new",
            ])
        let larger = rackServer(disks: [
            disk("D-1", 1000, "nvme"), disk("D-2", 894, "nvme"), disk("D-3", 3726, "ata", turns: true),
        ])
        #expect(
            InventoryDifference.between(rackServer(), larger) == ["disk D-1: M-nvme 894 GiB → M-nvme 1000 GiB"])
    }

    @Test func pciDevicesAreCounted() {
        func device(_ address: String, _ id: UInt16, _ classCode: UInt32 = 0x030200) -> InventoryReport.PCIDevice {
            .init(address: address, classCode: classCode, vendor: 0x10DE, device: id)
        }
        let old = rackServer(pci: [device("1", 1), device("2", 1), device("3", 2, 0x020000)])
        #expect(InventoryDifference.between(old, rackServer(pci: [device("7", 1), device("8", 1)])) == [])
        #expect(
            InventoryDifference.between(old, rackServer(pci: [device("1", 1)])) == ["PCI device 10de:0001: 2 → 1"])
    }

    @Test func theTextIsBounded() {
        let many = (0..<40).map { "disk \($0) of a long name that goes on and on is gone" }
        let text = InventoryDifference.text(many)
        #expect(text.hasSuffix("; and 30 more"))
        #expect(text.count < 600)
        #expect(InventoryDifference.text(["a", "b"]) == "a; b")
    }

    /// One event for each boot that shows other hardware; none for a retry, and a boot without trust is told as such.
    @Test func differencesAreEvents() async throws {
        let store = MemoryStore()
        let writer = NodeWriter(store: store)
        let nodes = Mutex<[Node]>([])
        let saved = Mutex<[InventoryReport]>([])
        let current = Mutex(rackServer())
        let registrar = Registrar(
            store: store,
            submit: { input, id in
                let node = try await writer.write(input, to: id, now: Timestamp(millisecondsSinceEpoch: 1000)).node
                nodes.withLock { $0 = [node] }
                return node
            }, events: writer.events,
            catalog: .init(nodes: { nodes.withLock { $0 } }, node: { _ in nil }, rules: { [] }, bmcs: { [] }),
            saveInventory: { _ in
                saved.withLock { list in
                    list.append(current.withLock { $0 })
                    return Digest(bytes: [UInt8](repeating: UInt8(list.count), count: 32))
                }
            }, readInventory: { digest in saved.withLock { $0[Int(digest.bytes[0]) - 1] } }, clock: SystemWallClock())
        func boot(_ name: String, _ inventory: InventoryReport) async throws {
            current.withLock { $0 = inventory }
            _ = try await registrar.register(InventoryPost(bootID: name, inventory: inventory))
        }
        func changes() async throws -> [String] {
            try await store.fetchAll(NodeEvent.self).map(\.value.spec).filter { $0.type == "InventoryChanged" }
                .map(\.message)
        }
        try await boot("boot-0001", rackServer())
        try await boot("boot-0001", rackServer())
        #expect(try await changes() == [])
        let less = rackServer(memory: [.gibibytes(64)])
        try await boot("boot-0002", less)
        try await boot("boot-0002", less)
        #expect(try await changes() == ["memory module DIMM 1 (64 GiB, serial M1) is gone"])
        let id = try #require(nodes.withLock { $0.first }).metadata.name
        try await store.update(Node.self, id) { stored in
            guard var stored else { return nil }
            stored.value.spec.approval = .init(by: "admin", at: Timestamp(millisecondsSinceEpoch: 1000), number: 1)
            stored.value.status.approvalSeen = 1
            stored.value.status.state = .active
            nodes.withLock { $0 = [stored.value] }
            return stored
        }
        try await boot("boot-0003", rackServer())
        #expect(
            try await changes().last
                == "a boot that is not trusted says: memory module DIMM 1 (64 GiB, serial M1) is new")
    }
}
