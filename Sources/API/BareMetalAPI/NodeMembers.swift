import AgentProtocol
import BareMetal
import CatalogBareMetal
import Primitives
import ResourceModel

/// The drivers that there are.
enum DriverName {
    static let redfish = "redfish"
    static let ipmi = "ipmi"
    /// A machine whose BMC is not known is switched by hand.
    static let manual = "manual-management"
    static let fake = "fake-hardware"
    static let all = [fake, ipmi, manual, redfish]

    /// The driver of a machine with this BMC.
    static func of(_ bmc: BMC?) -> String {
        guard let bmc else { return manual }
        return bmc.spec.address.hasPrefix("ipmi:") ? ipmi : redfish
    }

    /// What a driver does each thing with.
    static func interfaces(of driver: String) -> [String: String] {
        let none = ["bios": "no-bios", "firmware": "no-firmware", "raid": "no-raid", "vendor": "no-vendor"]
        let own: [String: String] =
            switch driver {
            case redfish:
                [
                    "boot": "redfish-virtual-media", "management": "redfish", "power": "redfish", "deploy": "direct",
                    "inspect": "agent", "rescue": "agent", "console": "no-console", "network": "noop",
                    "storage": "noop",
                ]
            case ipmi:
                [
                    "boot": "ipxe", "management": "ipmitool", "power": "ipmitool", "deploy": "direct",
                    "inspect": "agent",
                    "rescue": "agent", "console": "ipmitool-socat", "network": "noop", "storage": "noop",
                ]
            case manual:
                [
                    "boot": "ipxe", "management": "noop", "power": "agent", "deploy": "direct", "inspect": "agent",
                    "rescue": "agent", "console": "no-console", "network": "noop", "storage": "noop",
                ]
            default:
                Dictionary(uniqueKeysWithValues: NodeField.interfaces.map { ($0, "fake") })
                    .merging(["network": "noop", "storage": "noop"]) { $1 }
            }
        return none.merging(own) { $1 }
    }
}

extension Node {
    /// Writes what the API says of a machine over the defaults in `members`.
    func addIronicMembers(_ kept: ClientMembers, _ bmc: BMC?, to members: inout [String: JSONValue]) {
        for (name, interface) in DriverName.interfaces(of: DriverName.of(bmc)) {
            members["\(name)_interface"] = .string(interface)
        }
        for (name, value) in kept.members { members[name] = value }
        members["name"] = .string(spec.name)
        members["properties"] = .object(hardware.merging(kept.members["properties"]?.object ?? [:]) { $1 })
        members["driver_info"] = .object(
            Self.address(of: bmc).merging(kept.members["driver_info"]?.object ?? [:]) { $1 })
        members["provision_state"] = .string(status.state.ironicName)
        members["target_provision_state"] = .optional(status.state.ironicTarget)
        members["provision_updated_at"] = .string(status.since.ironic)
        members["power_state"] = .optional(status.power?.state.ironicName)
        members["target_power_state"] = .optional(powerUnderWay?.ironicName)
        members["last_error"] = .optional(status.lastError)
        members["maintenance"] = .bool(spec.isInMaintenance)
        members["maintenance_reason"] = .optional(spec.maintenance?.reason)
        members["boot_mode"] = .optional(status.summary?.firmware)
        members["updated_at"] = .string(max(status.since, kept.updated ?? metadata.created).ironic)
    }

    /// The power order that has not been carried out yet; nil: there is none.
    var powerUnderWay: PowerRequest.Action? {
        guard let power = spec.power, power.number > status.powerSeen else { return nil }
        return power.action
    }

    /// What the inventory says, as the scheduling properties that clients know.
    var hardware: [String: JSONValue] {
        guard let summary = status.summary else { return [:] }
        let disk = summary.disks.map(\.size.bytes).max() ?? 0
        return [
            "cpus": .integer(Int64(summary.processors)), "memory_mb": .integer(Int64(summary.memory.bytes >> 20)),
            "local_gb": .integer(Int64(disk >> 30)), "cpu_arch": "x86_64", "vendor": .string(summary.model),
            "capabilities": .string("boot_mode:\(summary.firmware)"),
        ]
    }

    /// Where the BMC is, as the driver's clients know it; its password is nowhere in it.
    static func address(of bmc: BMC?) -> [String: JSONValue] {
        guard let bmc, let address = try? BMCAddress(bmc.spec.address, system: bmc.spec.system, user: bmc.spec.username)
        else { return [:] }
        switch address.scheme {
        case .ipmi:
            return [
                "ipmi_address": .string(address.host), "ipmi_port": .integer(Int64(address.port)),
                "ipmi_username": .string(bmc.spec.username),
            ]
        case .http, .https:
            var members: [String: JSONValue] = [
                "redfish_address": .string(bmc.spec.address), "redfish_username": .string(bmc.spec.username),
            ]
            if let system = bmc.spec.system { members["redfish_system_id"] = .string("/redfish/v1/Systems/\(system)") }
            return members
        }
    }
}

extension FakeNode {
    /// Writes what the API says of a node without hardware over the defaults in `members`.
    func addIronicMembers(to members: inout [String: JSONValue]) {
        for (name, interface) in DriverName.interfaces(of: DriverName.fake) {
            members["\(name)_interface"] = .string(interface)
        }
        for (name, value) in spec.members { members[name] = value }
        members["provision_state"] = .string(status.state.rawValue)
        members["provision_updated_at"] = .optional(status.since?.ironic)
        members["power_state"] = .optional(status.isOn.map { $0 ? "power on" : "power off" })
        members["inspection_started_at"] = .optional(status.inspected?.ironic)
        members["inspection_finished_at"] = .optional(status.inspected?.ironic)
        members["updated_at"] = .optional(spec.updated?.ironic)
    }
}

extension NodeState {
    /// The state as Ironic calls it.
    var ironicName: String {
        switch self {
        case .deploying(.bootingRamdisk): "wait call-back"
        case .cleaning(.bootingRamdisk): "clean wait"
        case .rescuing(.bootingRamdisk): "rescue wait"
        case .deleteFailed: "error"
        default: name
        }
    }

    /// The state that it is on its way to, as Ironic calls it; nil: it rests.
    var ironicTarget: String? {
        switch self {
        case .verifying, .inspecting: "manageable"
        case .deploying, .unrescuing, .servicing, .deployFailed: "active"
        case .cleaning, .cleanFailed: "available"
        case .rescuing, .rescueFailed: "rescue"
        case .deleting, .deleteFailed: "available"
        case .enroll, .manageable, .inspectFailed, .available, .active, .rescue, .serviceFailed: nil
        }
    }
}

extension PowerState {
    /// As Ironic calls it; nil: nobody knows.
    var ironicName: String? {
        switch self {
        case .on: "power on"
        case .off: "power off"
        case .unknown: nil
        }
    }
}

extension Node.PowerRequest.Action {
    /// As Ironic calls the state that it leads to.
    var ironicName: String {
        switch self {
        case .on: "power on"
        case .off: "power off"
        case .reset: "rebooting"
        }
    }
}
