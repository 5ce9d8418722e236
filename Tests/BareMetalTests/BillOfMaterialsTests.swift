import AgentProtocol
import BareMetal
import CatalogBareMetal
import Primitives
import ResourceModel
import Testing

/// A machine as a rack has many of them.
func rackServer(
    memory: [ByteCount] = [.gibibytes(64), .gibibytes(64)], disks: [InventoryReport.Disk]? = nil,
    nics: [InventoryReport.NIC]? = nil, firmware: String = "2.17", tpm: String? = "2.0",
    pci: [InventoryReport.PCIDevice] = []
) -> InventoryReport {
    InventoryReport(
        agentVersion: "0.1.0", collectedAt: Timestamp(millisecondsSinceEpoch: 0), kernelVersion: "6.1.0",
        system: .init(
            vendor: "Acme", product: "R740", serial: "SRV-1", biosVendor: "Acme", biosVersion: firmware,
            firmwareMode: .uefi, secureBoot: true),
        cpu: .init(model: "Epyc 7443P 24-Core", architecture: "x86_64", sockets: 1, cores: 24, threads: 48),
        memory: .init(
            total: ByteCount(bytes: memory.reduce(0) { $0 + $1.bytes } - 900 << 20),
            modules: memory.enumerated().map {
                .init(slot: "DIMM \($0.offset)", size: $0.element, serial: "M\($0.offset)")
            }
        ),
        disks: disks ?? [disk("D-1", 894, "nvme"), disk("D-2", 894, "nvme"), disk("D-3", 3726, "ata", turns: true)],
        nics: nics ?? [nic(1, speed: 25_000), nic(2, speed: 25_000)], pciDevices: pci, tpmVersion: tpm)
}

func disk(
    _ serial: String, _ gibibytes: UInt64, _ bus: String, turns: Bool = false, path: String? = nil
) -> InventoryReport.Disk {
    .init(
        name: "sd\(serial.last ?? "x")", path: "/dev/sd", serial: serial, model: "M-\(bus)",
        size: .gibibytes(gibibytes), isRotational: turns, bus: bus, idPath: path ?? "slot-\(serial)")
}

func nic(_ number: UInt8, speed: Int?, driver: String = "mlx5_core") -> InventoryReport.NIC {
    .init(
        name: "eth\(number)", mac: MACAddress(bytes: [2, 0, 0, 0, 0, number]),
        permanentMAC: MACAddress(bytes: [0x52, 0x54, 0, 0, 0, number]), driver: driver, speed: speed,
        hasLink: speed != nil, pciAddress: "0000:41:00.\(number)", mtu: 1500)
}

@Suite struct BillOfMaterialsTests {
    private func bill(_ fill: (inout SKU.Spec) -> Void) -> SKU.Spec {
        var spec = SKU.Spec()
        fill(&spec)
        return spec
    }

    private var whole: SKU.Spec {
        bill { spec in
            spec.vendor = "Acme"
            spec.product = "R7*"
            spec.cpu = .init(model: "*7443P*", architecture: "x86_64", sockets: 1, coresMin: 24)
            spec.memory = .init(exact: .gibibytes(128))
            spec.disks = [
                .init(count: 1, sizeMin: .gibibytes(3000), isRotational: true),
                .init(count: 2, sizeMin: .gibibytes(800), sizeMax: .gibibytes(1000), bus: "nvme", model: "M-*"),
            ]
            spec.nics = [.init(count: 2, driver: "mlx5_core", speedMin: 25_000)]
            spec.firmware = .init(mode: .uefi, vendor: "Acme", version: "2.*", secureBoot: true)
            spec.tpm = "2.0"
            spec.pciDevices = [.init(count: 1, device: "10DE:20b0")]
        }
    }

    @Test func aMachineThatIsSoDiffersInNothing() {
        let gpu = InventoryReport.PCIDevice(
            address: "0000:01:00.0", classCode: 0x030200, vendor: 0x10DE, device: 0x20B0)
        #expect(BillOfMaterials.differences(whole, rackServer(pci: [gpu])) == [])
        #expect(BillOfMaterials.differences(SKU.Spec(), rackServer()) == [])
    }

    @Test func everyFieldIsCompared() {
        let machine = rackServer(
            memory: [.gibibytes(64)],
            disks: [disk("D-1", 400, "ata"), disk("D-2", 894, "nvme"), disk("D-9", 100, "usb")],
            nics: [nic(1, speed: 1000, driver: "igb")], firmware: "1.9", tpm: nil)
        #expect(
            BillOfMaterials.differences(whole, machine).map(\.description) == [
                "memory: 128 GiB wanted, 64 GiB found",
                "disks: 1 × turning at least 2.9 TiB wanted, 0 found",
                "disks: 2 × nvme model M-* at least 800 GiB at most 1000 GiB wanted, 1 found",
                "disks: nothing else wanted, ata M-ata 400 GiB serial D-1, usb M-usb 100 GiB serial D-9 found",
                "network interfaces: 2 × mlx5_core at least 25000 Mbit/s wanted, 0 found",
                "network interfaces: nothing else wanted, igb 1000 Mbit/s 52:54:00:00:00:01 found",
                "PCI device 10DE:20b0: 1 wanted, 0 found", "firmware version: 2.* wanted, 1.9 found",
                "TPM: 2.0 wanted, none found",
            ])
    }

    @Test func moreThanIsListedMayBeAllowed() {
        let one = bill {
            $0.disks = [.init(count: 1, bus: "nvme")]
            $0.allowsMore = true
        }
        #expect(BillOfMaterials.differences(one, rackServer()) == [])
        let none = bill { $0.disks = [] }
        #expect(BillOfMaterials.differences(none, rackServer()).count == 1)
    }

    /// A disk that fits two groups goes to the one that no other disk can fill, whatever the order of the groups.
    @Test func groupsShareDisksSoThatAllAreFilled() {
        let groups: [SKU.DiskGroup] = [.init(count: 2), .init(count: 1, isRotational: true)]
        for order in [groups, groups.reversed()] {
            #expect(BillOfMaterials.differences(bill { $0.disks = order }, rackServer()) == [])
        }
    }

    @Test func memoryWithoutModulesMayLackWhatTheKernelKeeps() {
        let total = { (mebibytes: UInt64) -> [BillOfMaterials.Difference] in
            let machine = InventoryReport(
                agentVersion: "0", collectedAt: Timestamp(millisecondsSinceEpoch: 0), kernelVersion: "6",
                system: .init(firmwareMode: .bios),
                cpu: .init(architecture: "x86_64", sockets: 1, cores: 1, threads: 1),
                memory: .init(total: .mebibytes(mebibytes)), disks: [], nics: [])
            return BillOfMaterials.differences(bill { $0.memory = .init(exact: .gibibytes(1)) }, machine)
        }
        #expect(total(970) == [])
        #expect(total(800).count == 1)
        #expect(total(1100).count == 1)
    }

    @Test func differencesAreBlocks() {
        let sku = SKU(
            metadata: Metadata(name: "compute", schemaVersion: 1, created: Timestamp(millisecondsSinceEpoch: 0)),
            spec: whole)
        let blocks = BillOfMaterials.blocks(
            sku: "compute", among: [sku],
            rackServer(memory: [.gibibytes(64)], disks: [], nics: [nic(1, speed: nil)], firmware: "1", tpm: nil))
        #expect(blocks.first == Node.Block(kind: .sku, message: "compute: memory: 128 GiB wanted, 64 GiB found"))
        #expect(blocks.count == Node.Block.countMax)
        #expect(BillOfMaterials.blocks(sku: nil, among: [sku], rackServer()) == [])
        #expect(BillOfMaterials.blocks(sku: "gone", among: [sku], rackServer()).count == 1)
    }
}
