import Primitives

/// Everything that bringing a rack up writes and runs, made from the rack file alone; see `Rack.up` for the order.
struct RackPlan: Hashable, Sendable {
    /// A file with its whole content.
    struct File: Hashable, Sendable {
        var path: String
        var text: String
    }

    /// A disk image to make when it is not there.
    struct Image: Hashable, Sendable {
        var path: String
        var disk: RackFile.Disk
    }

    var directories: [String]
    var files: [File]
    /// Commands for the rack's mount namespace that give libvirt directories of its own.
    var mounts: [[String]]
    /// Commands for the rack's network namespace.
    var network: [[String]]
    var images: [Image]
    var domains: [File]
    var libvirtd: [String]
    /// The programs of the BMCs that speak IPMI, by the name they are started under.
    var ipmi: [(name: String, command: [String])] { bmcs.map { ($0.processName, $0.command) } }
    private var bmcs: [IPMIBMC]
    /// The commands that make the machines' TPMs.
    var tpms: [[String]]
    /// The program of the router between the segment and the conductor, if there is one.
    var relay: [String]?
    /// The one account of the Redfish service.
    var user: String
    var password: String

    /// How everything inside the rack reaches its libvirtd; the socket is on the rack's own /run.
    static let libvirtURI = "qemu+unix:///system?socket=/run/libvirt/libvirt-sock"

    init(_ rack: RackFile, _ layout: RackLayout, _ accelerator: Accelerator) {
        directories = layout.directories
        user = rack.bmc.user
        password = rack.bmc.password
        files = [
            File(path: layout.libvirtdConfiguration, text: "auth_unix_rw = \"none\"\n"),
            File(path: "\(layout.libvirt)/etc/qemu.conf", text: Self.qemuConfiguration),
            File(path: layout.sushyConfiguration, text: Self.sushyConfiguration(rack, layout)),
        ]
        let tpms = SoftwareTPMs(rack, layout)
        self.tpms = tpms?.commands ?? []
        directories += tpms?.directories ?? []
        files += tpms?.files ?? []
        mounts =
            [
                ["mount", "-t", "tmpfs", "tmpfs", "/run"],
                ["mkdir", "-p", "/run/libvirt", "/run/lock"],
            ] + (tpms == nil ? [] : SoftwareTPMs.mounts) + [
                ["mount", "--bind", "\(layout.libvirt)/etc", "/etc/libvirt"],
                ["mount", "--bind", "\(layout.libvirt)/lib", "/var/lib/libvirt"],
                ["mount", "--bind", "\(layout.libvirt)/log", "/var/log/libvirt"],
                ["mount", "--bind", "\(layout.libvirt)/cache", "/var/cache/libvirt"],
            ]
        let bmcs = Self.ipmiBMCs(rack, layout)
        self.bmcs = bmcs
        directories += bmcs.map { "\($0.directory)/state" }
        files += bmcs.flatMap(\.files)
        network = Self.networkCommands(rack)
        if let relay = RelayPlan(rack) {
            let script = "\(layout.root)/relay.sh"
            files.append(File(path: script, text: relay.script))
            self.relay = ["/bin/sh", script]
        }
        images = []
        domains = []
        for machine in rack.machines {
            let disks = machine.disks.enumerated().map { index, disk in
                Image(path: layout.disk(machine.name, index), disk: disk)
            }
            images += disks
            let placement = DomainXML.Placement(
                accelerator: accelerator, bridge: rack.network.bridge, console: layout.console(machine.name),
                disks: disks.map(\.path), variables: layout.variables(machine.name),
                terminal: (rack.bmc.address, rack.terminalPort(of: machine)),
                arguments: bmcs.first { $0.machine.name == machine.name }?.machineArguments ?? [])
            domains.append(
                File(path: layout.domain(machine.name), text: DomainXML.render(machine, placement)))
        }
        libvirtd = ["libvirtd", "--config", layout.libvirtdConfiguration, "--pid-file", "/run/libvirtd.pid"]
    }

    /// The bridge with its addresses, forwarding at once, with an address of its own that joining taps do not change.
    private static func networkCommands(_ rack: RackFile) -> [[String]] {
        let bridge = rack.network.bridge
        let length = rack.network.conductorNetwork.prefixLength
        let mac = bridgeMAC(rack.name)
        var commands = [
            ["ip", "link", "set", "lo", "up"],
            [
                "ip", "link", "add", bridge, "address", mac.description, "mtu", "1500", "type", "bridge",
                "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0",
            ],
        ]
        // Behind a relay the bridge is the machines' alone; the conductor is on a link of its own.
        let place = rack.network.relay == nil ? bridge : RelayPlan.uplink
        if rack.network.relay != nil { commands += RelayPlan.links(bridge: bridge) }
        commands += [
            ["ip", "address", "add", "\(rack.network.conductor)/\(length)", "dev", place],
            ["ip", "address", "add", rack.network.conductorIPv6, "dev", place, "nodad"],
        ]
        if rack.bmc.address != rack.network.conductor {
            commands.append(["ip", "address", "add", "\(rack.bmc.address)/\(length)", "dev", place])
        }
        commands += Set([bridge, place]).sorted().map { ["ip", "link", "set", $0, "up"] }
        if let relay = rack.network.relay {
            commands.append(["ip", "route", "add", "\(rack.network.subnet)", "via", "\(relay.uplinkAddress)"])
        }
        return commands
    }

    /// The same number for the same text, always.
    static func hash(_ text: String) -> UInt64 { StableHash.of(text) }

    /// A locally administered address made of the rack's name.
    private static func bridgeMAC(_ name: String) -> MACAddress {
        let hash = hash(name)
        return MACAddress(bytes: [0x02, 0x4D] + (0..<4).map { UInt8(truncatingIfNeeded: hash >> (8 * $0)) })
    }

    /// libvirt as root without cgroups, namespaces, ownership changes and log daemon, none of which a rack needs.
    private static let qemuConfiguration = """
        user = "root"
        group = "root"
        swtpm_user = "root"
        swtpm_group = "root"
        dynamic_ownership = 0
        remember_owner = 0
        security_driver = "none"
        namespaces = []
        cgroup_controllers = []
        stdio_handler = "file"

        """

    /// Python source; every value is checked text without quotes or backslashes.
    private static func sushyConfiguration(_ rack: RackFile, _ layout: RackLayout) -> String {
        """
        SUSHY_EMULATOR_LISTEN_IP = '\(rack.bmc.address)'
        SUSHY_EMULATOR_LISTEN_PORT = \(rack.bmc.port)
        SUSHY_EMULATOR_LIBVIRT_URI = '\(libvirtURI)'
        SUSHY_EMULATOR_STATE_DIR = '\(layout.sushy)'
        SUSHY_EMULATOR_AUTH_FILE = '\(layout.sushyPasswords)'

        """
    }

    /// The whole plan as text: two plans that do the same have the same text.
    var fingerprint: String {
        let commands = (mounts + network + tpms + [libvirtd]).map { $0.joined(separator: " ") }
        let images = [user, password] + images.map { "\($0.path) \($0.disk)" }
        return (commands + images + (files + domains).map { "\($0.path)\n\($0.text)" }).joined(separator: "\n")
    }
}

/// Where a rack's files are, all under one directory.
struct RackLayout: Hashable, Sendable {
    let root: String

    var record: String { "\(root)/rack.json" }
    var lock: String { "\(root)/rack.lock" }
    var plan: String { "\(root)/plan.txt" }
    var processes: String { "\(root)/processes" }
    var logs: String { "\(root)/log" }
    var consoles: String { "\(root)/console" }
    var disks: String { "\(root)/disks" }
    var libvirt: String { "\(root)/libvirt" }
    var domains: String { "\(root)/libvirt/domains" }
    var libvirtdConfiguration: String { "\(root)/libvirt/libvirtd.conf" }
    var sushy: String { "\(root)/sushy" }
    var sushyConfiguration: String { "\(root)/sushy/sushy.conf" }
    var sushyPasswords: String { "\(root)/sushy/htpasswd" }

    var directories: [String] {
        [processes, logs, consoles, disks, domains, sushy] + ["etc", "lib", "log", "cache"].map { "\(libvirt)/\($0)" }
    }

    /// The files of a machine's IPMI BMC.
    func ipmi(_ machine: String) -> String { "\(root)/ipmi/\(machine)" }
    func console(_ machine: String) -> String { "\(consoles)/\(machine).log" }
    func disk(_ machine: String, _ index: Int) -> String { "\(disks)/\(machine)-\(index).qcow2" }
    func variables(_ machine: String) -> String { "\(disks)/\(machine)-vars.fd" }
    /// The authority that certifies the machines' TPMs.
    var tpmMaker: String { "\(root)/tpm" }
    func domain(_ machine: String) -> String { "\(domains)/\(machine).xml" }
    func log(_ process: String) -> String { "\(logs)/\(process).log" }
    func process(_ name: String) -> String { "\(processes)/\(name).json" }
}
