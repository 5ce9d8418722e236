import FoundationEssentials
import Primitives

extension Rack {
    /// What is there of a rack.
    public struct Status: Sendable, Hashable, Codable {
        /// The rack's name.
        public var name: String
        /// Whether its namespaces exist.
        public var isUp: Bool
        /// What executes the machines, nil for a rack that is down.
        public var accelerator: Accelerator?
        /// The root of the Redfish service.
        public var bmc: String
        /// libvirtd, sushy and what else was started in the rack.
        public var processes: [ProcessStatus]
        /// The machines in the order of the rack file.
        public var machines: [MachineStatus]
    }

    /// A program of the rack.
    public struct ProcessStatus: Sendable, Hashable, Codable {
        /// Its name.
        public var name: String
        /// Its PID.
        public var pid: Int32
        /// Whether it has not ended.
        public var isRunning: Bool
    }

    /// A machine of the rack.
    public struct MachineStatus: Sendable, Hashable, Codable {
        /// Its name.
        public var name: String
        /// Its UUID.
        public var uuid: String
        /// `on`, `off`, `paused`, `crashed`; `unknown` when libvirtd does not answer.
        public var power: String
        /// The addresses of its NICs.
        public var macs: [MACAddress]
        /// The file with the output of its serial port.
        public var console: String
    }

    /// Looks at the rack without changing it; a rack that is down has machines whose power is `off`.
    public func status() async -> Status {
        let up = isUp
        let states = up ? try? await virsh("domstats --state") : ""
        let machines = file.machines.map { machine in
            MachineStatus(
                name: machine.name, uuid: machine.uuid,
                power: states.map { Self.power(of: machine.name, in: $0) } ?? "unknown",
                macs: machine.nics.map(\.mac), console: layout.console(machine.name))
        }
        return Status(
            name: file.name, isUp: up, accelerator: up ? RackRecord.load(layout)?.accelerator : nil, bmc: file.bmc.url,
            processes: processes.map { ProcessStatus(name: $0.name, pid: $0.pid, isRunning: $0.isRunning) },
            machines: machines)
    }

    /// Reads the answer of `virsh domstats --state`: `Domain: 'name'`, then `state.state=` with a virDomainState.
    static func power(of machine: String, in stats: String) -> String {
        var isWanted = false
        for line in stats.split(separator: "\n") {
            if line.hasPrefix("Domain:") {
                isWanted = line == "Domain: '\(machine)'"
            } else if isWanted, let value = line.split(separator: "state.state=").last, line.contains("state.state=") {
                return switch value.drop(while: { $0 == " " }) {
                case "1", "2", "4": "on"
                case "3": "paused"
                case "6": "crashed"
                default: "off"
                }
            }
        }
        return "off"
    }

    /// The file with the output of a machine's serial port, of all its boots; throws `RackError.unknownMachine`.
    public func consoleFile(machine name: String) throws(RackError) -> String {
        layout.console(try file.machine(named: name).name)
    }

    /// What a machine has written to its serial port so far; empty before it was first switched on.
    public func console(machine name: String) throws(RackError) -> String {
        String(decoding: FileManager.default.contents(atPath: try consoleFile(machine: name)) ?? Data(), as: UTF8.self)
    }

    /// Variables for a shell that works with the rack, in a fixed order.
    public func environment() throws(RackError) -> [(name: String, value: String)] {
        [
            ("MUSTER_RACK", file.name),
            ("MUSTER_RACK_STATE", stateDirectory),
            ("MUSTER_NETNS", file.namespace),
            ("MUSTER_NETNS_PATH", try networkNamespacePath),
            ("MUSTER_CONDUCTOR_ADDRESS", file.network.conductor.description),
            ("MUSTER_BMC_URL", file.bmc.url),
            ("MUSTER_BMC_IPMI", ipmiBMCs.map { "\($0.machine.name)=\($0.url)" }.joined(separator: " ")),
            ("MUSTER_BMC_USER", file.bmc.user),
            (Self.passwordVariable, file.bmc.password),
            ("MUSTER_API", "https://\(file.network.conductor):9443"),
            ("OS_CLIENT_CONFIG_FILE", "\(conductorDirectory)/clouds.yaml"),
            ("OS_CLOUD", "muster"),
            ("MUSTER_CA", "\(conductorDirectory)/ca.pem"),
        ]
    }
}
