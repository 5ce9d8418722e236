import Primitives

extension Rack {
    /// Where a conductor that serves this rack keeps its state.
    public var conductorDirectory: String { "\(stateDirectory)/conductor" }

    /// The variable that holds the BMCs' password for `muster site apply`.
    public static let passwordVariable = "MUSTER_BMC_PASSWORD"

    /// The site file that describes this rack to a conductor: its segment, a BMC for each machine, and a rule that
    /// names each machine by its serial number, with its first disk as root disk. No machine is approved by it.
    public func siteFile(sshKeyFiles: [String] = []) -> String {
        let network = file.network
        let taken = [network.conductor, file.bmc.address, network.relay?.address].compactMap(\.self)
        let pool = pool(of: network.subnet, around: taken.filter(network.subnet.contains))
        var lines = [
            "# The site of the virtual rack '\(file.name)', made from its rack file.",
            "site:", "  name: \(file.name)",
        ]
        if !sshKeyFiles.isEmpty { lines += ["  sshKeyFiles:"] + sshKeyFiles.map { "    - \(Self.quoted($0))" } }
        lines += [
            "  overlay: { vni: 4242, mtu: 1400 }",
            "segments:",
            "  - name: provisioning",
        ]
        lines +=
            network.relay.map { ["    relays: [\($0.address)]", "    router: \($0.address)"] }
            ?? ["    interface: \(network.bridge)"]
        lines += [
            "    network: \(network.subnet)",
            "    server: \(network.conductor)", "    pool: { start: \(pool.first), end: \(pool.last) }",
        ]
        if file.machines.contains(where: { $0.firmware == .uefiSecure }) { lines.append("    secureBoot: true") }
        lines.append("bmcs:")
        for machine in file.machines {
            lines += ["  - name: \(machine.name)-bmc", "    address: \(bmcAddress(of: machine))"]
            if machine.bmc == .redfish { lines.append("    system: \(machine.uuid)") }
            lines += [
                "    username: \(Self.quoted(file.bmc.user))", "    passwordEnv: \(Self.passwordVariable)",
                "    powersOnForDiscovery: true",
                "    console: tcp://\(file.bmc.address):\(file.terminalPort(of: machine))", "    recordsConsole: true",
            ]
        }
        if file.machines.contains(where: { $0.tpm == .present }) {
            lines += [
                "tpm:", "  authorities:",
                "    - { name: rack, certificateFile: \(Self.quoted("\(layout.tpmMaker)/issuercert.pem")) }",
            ]
        }
        lines.append("rules:")
        for machine in file.machines {
            lines += [
                "  - name: \(machine.name)", "    match: { system.serial: \(Self.quoted(machine.serial)) }",
                "    gives:", "      name: \(machine.name)", "      bmc: \(machine.name)-bmc",
            ]
            if let disk = machine.disks.first {
                lines.append("      rootDisk: { serial: \(Self.quoted(disk.serial)) }")
            }
        }
        return lines.map { $0 + "\n" }.joined()
    }

    /// The longest run of host addresses that none of `taken` lies in.
    private func pool(of network: IPv4Network, around taken: [IPv4Address]) -> (first: IPv4Address, last: IPv4Address) {
        let bounds = ([network.address, network.broadcast] + taken).map(\.value).sorted()
        let gaps = zip(bounds, bounds.dropFirst()).map { ($0 + 1, $1 - 1) }.filter { $0.0 <= $0.1 }
        let widest = gaps.max { $0.1 - $0.0 < $1.1 - $1.0 } ?? (network.address.value, network.address.value)
        // A rack has few machines; a short pool is easier to read in lists.
        return (IPv4Address(widest.0), IPv4Address(min(widest.1, widest.0 + 199)))
    }

    private static func quoted(_ text: String) -> String {
        "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") + "'"
    }
}
