import AgentProtocol
import CatalogBareMetal
import DHCP
import Primitives

/// A simulated machine: power, firmware, disks, and what runs on it.
final class Machine: CustomStringConvertible, @unchecked Sendable {
    // SAFETY: touched on the simulation's thread only.

    /// A disk and what is on it.
    struct Disk {
        let serial: String
        var contents = Contents.blank
        var isFailing = false

        enum Contents {
            case blank
            /// An image whose writing has begun.
            case partial
            /// Data that nobody has asked to be written over.
            case data
            case image(Installation)
        }
    }

    /// What is written on a node's state partition.
    struct Installation {
        var identity: AgentIdentityFile
        var certificate: (notBefore: Timestamp, notAfter: Timestamp)?
        var view: NodeView?
        /// The signing request of its key.
        var request: String
    }

    /// What runs.
    enum Running {
        case off
        case firmware
        case ramdisk(RamdiskHost)
        case installed(AgentHost)
    }

    let index: Int
    let shape: Shape.Machine
    unowned let world: World
    let mac: MACAddress
    let uuid: String

    /// Counts the starts.
    private(set) var epoch = 0
    private(set) var isOn = false
    var running = Running.off
    var disks: [Disk]
    var dhcp: DHCPClient?
    /// The address it answers to, and until when.
    private(set) var lease: (address: IPv4Address, until: Int64)?
    /// What the BMC was told: the target that stays, and the one of the next start.
    var target = BootTargets()
    var bmc = BMCHealth()
    /// The starts from this one on may be the one that the conductor has ordered of the BMC; nil: it has ordered none.
    var orderedFrom: Int?
    /// The start that was taken for the ordered one.
    var orderedEpoch: Int?
    /// When somebody was last at it.
    var handledAt: Int64 = 0

    struct BootTargets {
        var usual = Target.network
        var next: Target?

        enum Target {
            case network
            case disk
        }
    }

    struct BMCHealth {
        var unreachableUntil: Int64 = 0
    }

    init(index: Int, shape: Shape.Machine, world: World) {
        self.index = index
        self.shape = shape
        self.world = world
        mac = MACAddress(bytes: [0, 0x16, 0x3E, 0, 0, UInt8(index + 1)])
        let last = String(index, radix: 16)
        uuid = "4c4c4544-0000-4000-8000-" + String(repeating: "0", count: 12 - last.count) + last
        disks = [Disk(serial: "D\(index)-0")]
        if shape.hasDataDisk { disks.append(Disk(serial: "D\(index)-1", contents: .data)) }
    }

    var description: String { "m\(index)" }
    var hasBMC: Bool { shape.hasBMC }
    var bmcName: String { "bmc-\(index)" }
    var serial: String { "SN-\(index)" }
    var hint: RootDiskHint { RootDiskHint(serial: disks[0].serial) }

    /// What is installed on the disk it boots.
    var installation: Installation? {
        get { if case .image(let installation) = disks[0].contents { installation } else { nil } }
        set { if let newValue { disks[0].contents = .image(newValue) } }
    }

    // MARK: Power

    /// Switches it on, or resets it: whatever ran is gone.
    func boot() {
        stop()
        isOn = true
        epoch += 1
        running = .firmware
        let isNetwork = (target.next ?? target.usual) == .network
        target.next = nil
        if world.strikes(.hungBoot) { return }
        world.after(world.slowly(5000...40_000), self, "has started") { [self] in
            if isNetwork { bootNetwork() } else { bootDisk(orElse: bootNetwork) }
        }
    }

    func powerOff() {
        stop()
        epoch += 1
        isOn = false
        running = .off
    }

    private func stop() {
        if case .installed(let agent) = running { agent.lose() }
        dhcp = nil
        lease = nil
    }

    /// Starts the disk's system, if there is one.
    func bootDisk(orElse other: () -> Void) {
        guard installation != nil else { return other() }
        let agent = AgentHost(self)
        running = .installed(agent)
        world.after(world.slowly(5000...20_000), self, "runs its disk's system") { [self] in
            obtainAddress(.installed) { _ in agent.start() }
        }
    }

    /// Starts the ramdisk, which was loaded.
    func bootRamdisk() {
        let ramdisk = RamdiskHost(self)
        running = .ramdisk(ramdisk)
        obtainAddress(.ramdisk) { _ in ramdisk.start() }
    }

    // MARK: Addresses

    /// Takes an address that it was given.
    func take(_ address: IPv4Address, until: Int64) {
        lease = (address, until)
        world.checkAddresses(of: self)
    }

    func dropAddress() { lease = nil }

    /// The address it answers to now.
    var address: IPv4Address? { lease.flatMap { $0.until > world.now ? $0.address : nil } }

    // MARK: Inventory

    func inventory() -> InventoryReport {
        InventoryReport(
            agentVersion: "0.1.0", collectedAt: World.epoch, kernelVersion: "6.1.0",
            system: .init(serial: serial, uuid: uuid, firmwareMode: shape.isUEFI ? .uefi : .bios),
            cpu: .init(architecture: "x86_64", sockets: 1, cores: 4, threads: 8), memory: .init(total: .gibibytes(8)),
            disks: inventoryDisks, nics: [.init(name: "eth0", mac: mac, hasLink: true, mtu: 1500)])
    }

    var inventoryDisks: [InventoryReport.Disk] {
        disks.enumerated().map { number, disk in
            let name = "vd\(number == 0 ? "a" : "b")"
            return .init(name: name, path: "/dev/\(name)", serial: disk.serial, size: .gibibytes(100))
        }
    }
}
