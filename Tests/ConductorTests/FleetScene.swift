import BlobStore
import TestSupport
import AgentProtocol
import CatalogBareMetal
import FoundationEssentials
import Primitives
import ResourceModel

/// A small site as it may look on a working day: machines in every state, with hardware, events and reasons.
struct FleetScene {
    let fleet: FleetFixture
    var now: Timestamp { fleet.clock.now }

    func ago(_ seconds: Int) -> Timestamp { now.advanced(by: .seconds(-seconds)) }

    /// The machine that is being written.
    static let writing: UInt8 = 0x21
    /// The machine whose page is looked at: it failed.
    static let failed: UInt8 = 0x31

    func fill() async throws {
        try await fleet.addImage()
        for number in UInt8(1)...9 { try await active("net-\(number < 10 ? "0" : "")\(number)", 0x10 + number) }
        try await active("net-10", 0x1A, isConnected: false)
        try await writing()
        try await waiting()
        try await failed()
        try await resting()
    }

    private func hardware(_ number: UInt8) -> InventorySummary {
        InventorySummary(
            model: "Dell Inc. PowerEdge R650", processors: 64, memory: .gibibytes(256),
            disks: [
                .init(serial: "S6XNNE0T\(number)01", size: .gibibytes(447)),
                .init(serial: "S6XNNE0T\(number)02", size: .gibibytes(3576)),
            ], firmware: "uefi")
    }

    private func active(_ name: String, _ number: UInt8, isConnected: Bool = true) async throws {
        try await fleet.addNode(name, number: number) { node in
            node.spec.role = .network
            node.spec.approval = .init(by: "operator:admin", at: ago(90_000), number: 1)
            node.spec.bmc = "bmc-\(name)"
            node.status.state = .active
            node.status.since = ago(86_400 + Int(number) * 4_000)
            node.status.summary = hardware(number)
            node.status.power =
                isConnected ? .on(since: ago(40)) : .unknown(since: ago(40), cause: "the BMC does not answer")
            node.status.agent = Node.Agent(
                version: "0.1.0", bootID: "b", isConnected: isConnected, since: ago(isConnected ? 80_000 : 190),
                addresses: [IPv4Address(bytes: [10, 77, 0, number])], isReady: isConnected,
                conditions: [
                    Condition(
                        type: "OverlayReady", isTrue: true, message: "3 tunnels, 12 forwarding entries",
                        since: ago(80_000))
                ])
        }
    }

    private func writing() async throws {
        try await fleet.addNode("net-11", number: Self.writing) { node in
            node.spec.role = .network
            node.spec.approval = .init(by: "operator:admin", at: ago(75), number: 1)
            node.status.state = .deploying(.writing)
            node.status.since = ago(31)
            node.status.summary = hardware(Self.writing)
            node.status.power = .on(since: ago(12))
            node.status.progress = Node.Progress(done: 5_120, total: 12_288, bytes: 41_000_000)
            node.status.wait = Node.Wait(
                cause: "the ramdisk writes the image", owner: .machine, deadline: now.advanced(by: .seconds(90)),
                next: "if nothing comes, the machine is rebooted and goes on where it was")
        }
        try await fleet.addNode("net-12", number: 0x22) { node in
            node.spec.role = .network
            node.spec.approval = .init(by: "rule:rack-a", at: ago(60), number: 1, isByRule: true)
            node.status.state = .deploying(.bootingRamdisk)
            node.status.since = ago(14)
            node.status.summary = hardware(0x22)
            node.status.power = .on(since: ago(3))
            node.status.wait = Node.Wait(
                cause: "the BMC was told to boot the ramdisk", owner: .bmc, deadline: now.advanced(by: .seconds(280)),
                next: "if the machine does not come, it is reset once more")
        }
    }

    private func waiting() async throws {
        for number in UInt8(0x41)...0x42 {
            try await fleet.addNode("m-52540000004\(number & 0xF)", number: number) { node in
                node.status.since = ago(Int(number) * 7)
                node.status.summary = hardware(number)
                node.status.power = .on(since: ago(30))
                node.status.wait = Node.Wait(
                    cause: "nobody has let this machine in", owner: .operator,
                    deadline: now.advanced(by: .seconds(600_000)),
                    next: "muster node approve \(node.spec.name) --role ROLE")
            }
        }
    }

    private func failed() async throws {
        let inventory = try fleet.blobs.put(Array(try JSONEncoder().encode(Self.inventory(now: ago(700)))))
        let id = try await fleet.addNode("net-13", number: Self.failed) { node in
            node.spec.role = .network
            node.spec.bmc = "bmc-a13"
            node.spec.approval = .init(by: "operator:admin", at: ago(800), number: 1)
            node.status.state = .deployFailed
            node.status.since = ago(412)
            node.status.summary = hardware(Self.failed)
            node.status.inventory = inventory
            node.status.identity.serial = "7BQ2X83"
            node.status.identity.smbiosUUID = "4c4c4544-0042-5110-8032-b7c04f583833"
            node.status.power = .on(since: ago(8))
            node.status.lastError = "chunk 812 of the image is damaged: its SHA-256 is not what the manifest says"
            node.status.wait = Node.Wait(
                cause: "the deployment failed: a chunk of the image is damaged", owner: .operator,
                deadline: now.advanced(by: .seconds(86_000)),
                next: "push the image again, then 'muster node deploy net-13'")
        }
        var bmc = BMC(
            metadata: Metadata(name: "bmc-a13", schemaVersion: 1, created: ago(90_000)),
            spec: .init(address: "https://10.78.0.13", system: "1", username: "muster", passwordSecret: "bmc.a13"),
            status: .init())
        bmc.status.isReachable = true
        bmc.status.checked = ago(8)
        bmc.status.power = .on
        try await fleet.put(bmc)
        for (index, (seconds, type, message)) in Self.story.enumerated() {
            try await fleet.put(
                NodeEvent(
                    metadata: Metadata(name: "\(id).\(1_000 + index)", schemaVersion: 1, created: ago(seconds)),
                    spec: .init(node: id, time: ago(seconds), type: type, message: message)))
        }
    }

    private func resting() async throws {
        try await fleet.addNode("spare-01", number: 0x51) { node in
            node.spec.approval = .init(by: "operator:admin", at: ago(90_000), number: 1)
            node.status.state = .available
            node.status.since = ago(40_000)
            node.status.summary = hardware(0x51)
            node.status.power = .off(since: ago(30))
        }
        try await fleet.addNode("net-14", number: 0x52) { node in
            node.spec.role = .network
            node.spec.approval = .init(by: "operator:admin", at: ago(90_000), number: 1)
            node.spec.maintenance = Node.Maintenance(
                reason: "a fan", by: "operator:x", since: Timestamp(millisecondsSinceEpoch: 0))
            node.status.state = .active
            node.status.since = ago(500_000)
            node.status.summary = hardware(0x52)
            node.status.power = .off(since: ago(30))
        }
    }

    static let story: [(Int, String, String)] = [
        (900, "Registered", "seen first, with 4 MAC addresses, serial 7BQ2X83"),
        (800, "Approved", "let in by operator:admin as network"),
        (799, "StateChanged", "deploying (bootingRamdisk): the deployment was ordered by operator:admin"),
        (740, "PowerChanged", "the BMC has switched it on"),
        (698, "StateChanged", "deploying (writing): the ramdisk has come and is trusted"),
        (540, "Retried", "chunk 812 came damaged, it is asked for again"),
        (412, "DeployFailed", "chunk 812 of the image is damaged: its SHA-256 is not what the manifest says"),
    ]

    static func lines(_ now: Timestamp) -> [String] {
        [
            (702, "info", "udev has settled: 2 disks, 4 network interfaces"),
            (701, "info", "the inventory is posted, session opened"), (698, "info", "order: deploy generation 1"),
            (697, "info", "root disk nvme0n1: the smallest that holds 8 GiB"),
            (541, "warning", "chunk 812: SHA-256 differs, asking again"),
            (413, "error", "chunk 812: SHA-256 differs for the third time, giving up"),
        ].map { "\(now.advanced(by: .seconds(-$0.0))) \($0.1) \($0.2)" }
    }

    static func inventory(now: Timestamp) -> InventoryReport {
        typealias Partition = InventoryReport.Partition
        let gibibyte = UInt64(1) << 30
        let root = InventoryReport.Disk(
            name: "nvme0n1", path: "/dev/nvme0n1", serial: "S6XNNE0T3101", model: "SAMSUNG MZQL2480HCHQ-00A07",
            size: .gibibytes(447), isRotational: false, bus: "nvme", idPath: "pci-0000:01:00.0-nvme-1",
            contents: .init(
                partitionTable: "gpt", partitionTableUUID: "6f1c0d1e-22f4-4d7f-9c1b-5a8a8f5f0c11",
                partitions: [
                    Partition(
                        number: 1, name: "esp", uuid: "0b8a1c52-8e07-4c43-a6f4-93a4b2d7c0de", start: 1 << 20,
                        size: .mebibytes(512), signature: .init(usage: "filesystem", type: "vfat", label: "ESP")),
                    Partition(
                        number: 2, name: "slot-a", uuid: "5f8d3b1c-11aa-4f4e-9d5b-aa00bb11cc22", start: gibibyte,
                        size: .gibibytes(40), signature: .init(usage: "filesystem", type: "ext4", label: "muster-a")),
                    Partition(
                        number: 3, name: "slot-b", uuid: "9e1d3b1c-11aa-4f4e-9d5b-aa00bb11cc23", start: 41 * gibibyte,
                        size: .gibibytes(40)),
                    Partition(
                        number: 4, name: "state", uuid: "1a2b3c4d-11aa-4f4e-9d5b-aa00bb11cc24", start: 81 * gibibyte,
                        size: .gibibytes(200), signature: .init(usage: "filesystem", type: "ext4", label: "state")),
                ]))
        let data = InventoryReport.Disk(
            name: "nvme1n1", path: "/dev/nvme1n1", serial: "S6XNNE0T3102", model: "SAMSUNG MZQL23T8HCLS-00A07",
            size: .gibibytes(3576), isRotational: false, bus: "nvme",
            contents: .init(signature: .init(usage: "raid", type: "LVM2_member", label: "ceph-block")))
        let names = ["enp65s0f0", "enp65s0f1", "enp66s0f0", "enp66s0f1"]
        var nics: [InventoryReport.NIC] = []
        for (index, name) in names.enumerated() {
            nics.append(
                InventoryReport.NIC(
                    name: name, mac: MACAddress(bytes: [0x52, 0x54, 0, 0, 0x31, UInt8(index)] as [UInt8]),
                    driver: "mlx5_core", speed: index < 2 ? 25_000 : nil, hasLink: index < 2,
                    pciAddress: "0000:41:00.\(index)", mtu: 9000, addresses: index == 0 ? ["10.77.0.49/24"] : []))
        }
        return InventoryReport(
            agentVersion: "0.1.0", collectedAt: now, kernelVersion: "6.1.0-32-amd64",
            system: .init(
                vendor: "Dell Inc.", product: "PowerEdge R650", serial: "7BQ2X83",
                uuid: "4c4c4544-0042-5110-8032-b7c04f583833", boardSerial: ".7BQ2X83.CNFCP0021L00ND.",
                biosVendor: "Dell Inc.", biosVersion: "1.12.1", biosDate: "12/11/2023", firmwareMode: .uefi,
                secureBoot: true),
            cpu: .init(
                model: "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", vendor: "GenuineIntel", architecture: "x86_64",
                sockets: 2, cores: 64, threads: 128),
            memory: .init(
                total: .gibibytes(256),
                modules: (1...8).map {
                    .init(slot: "DIMM A\($0)", size: .gibibytes(32), speed: 3200, serial: "3E5C\($0)A1F")
                }),
            disks: [root, data], nics: nics,
            pciDevices: [
                .init(address: "0000:01:00.0", classCode: 0x010802, vendor: 0x144D, device: 0xA80A, driver: "nvme"),
                .init(
                    address: "0000:41:00.0", classCode: 0x020000, vendor: 0x15B3, device: 0x1015, driver: "mlx5_core"),
            ], tpmVersion: "2.0")
    }
}
