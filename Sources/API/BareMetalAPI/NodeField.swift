import APISupport
import Primitives

/// The members of a node in the API, and since which version it has them.
enum NodeField {
    /// The minor versions that have brought members; the others are in every one.
    static let firstMinor: [String: Int] = [
        "driver_internal_info": 3, "name": 5, "inspection_finished_at": 6, "inspection_started_at": 6, "clean_step": 7,
        "raid_config": 12, "target_raid_config": 12, "states": 14, "network_interface": 20, "resource_class": 21,
        "portgroups": 24, "boot_interface": 31, "console_interface": 31, "deploy_interface": 31,
        "inspect_interface": 31,
        "management_interface": 31, "power_interface": 31, "raid_interface": 31, "vendor_interface": 31, "volume": 32,
        "storage_interface": 33, "traits": 37, "rescue_interface": 38, "bios_interface": 40, "fault": 42,
        "deploy_step": 44, "conductor_group": 46, "automated_clean": 47, "protected": 48, "protected_reason": 48,
        "conductor": 49, "owner": 50, "description": 51, "allocation_uuid": 52, "retired": 61, "retired_reason": 61,
        "lessee": 65, "network_data": 66, "boot_mode": 75, "secure_boot": 75, "shard": 82, "parent_node": 83,
        "firmware_interface": 86, "service_step": 87, "disable_power_off": 95, "instance_name": 104, "health": 109,
    ]

    /// The minor versions at which nodes change their form, in order; two versions between the same of them look alike.
    static let steps: [Int] = Set(firstMinor.values).union([2, 11]).sorted()

    /// The newest step that version 1.`minor` has reached; 0: none.
    static func step(_ minor: Int) -> Int { steps.last { $0 <= minor } ?? 0 }

    /// Whether version 1.`minor` has the member.
    static func isShown(_ name: String, in minor: Int) -> Bool { firstMinor[name].map { $0 <= minor } ?? true }

    /// What lists show.
    static let short: Set<String> = [
        "instance_uuid", "maintenance", "power_state", "provision_state", "uuid", "name",
    ]

    /// The interfaces of a driver.
    static let interfaces = [
        "bios", "boot", "console", "deploy", "firmware", "inspect", "management", "network", "power", "raid", "rescue",
        "storage", "vendor",
    ]

    /// What a client may change, with the schema of its value.
    static let changeable: [String: Schema] = {
        let text = Schema.string().orNull
        let object = Schema.object([:]).orNull
        let flag = Schema.either([.boolean, .string(), .null])
        var fields: [String: Schema] = [
            "automated_clean": flag, "chassis_uuid": text, "conductor_group": text,
            "description": Schema.string(max: 4096).orNull, "disable_power_off": flag, "driver": .string(),
            "driver_info": object, "extra": object, "instance_info": object,
            "instance_name": Schema.string(min: 1, max: 255).orNull, "instance_uuid": text, "lessee": text,
            "maintenance": flag, "name": text, "network_data": object, "owner": text,
            "parent_node": Schema.string(max: 36).orNull, "properties": object, "protected": flag,
            "protected_reason": text, "resource_class": Schema.string(max: 80).orNull, "retired": flag,
            "retired_reason": text, "shard": text,
        ]
        for name in interfaces { fields["\(name)_interface"] = text }
        return fields
    }()

    /// The members that are true or false and may be said in words.
    static let flags: Set<String> = [
        "automated_clean", "disable_power_off", "maintenance", "protected", "retired", "secure_boot",
    ]

    /// What a member is of which a client has said nothing.
    static let defaults: [String: JSONValue] = {
        var fields: [String: JSONValue] = [
            "allocation_uuid": nil, "automated_clean": nil, "boot_mode": nil, "chassis_uuid": nil, "clean_step": [:],
            "conductor_group": "", "console_enabled": false, "deploy_step": [:], "description": nil,
            "disable_power_off": false, "driver_info": [:], "driver_internal_info": [:], "extra": [:], "fault": nil,
            "health": nil, "inspection_finished_at": nil, "inspection_started_at": nil, "instance_info": [:],
            "instance_name": nil, "instance_uuid": nil, "last_error": nil, "lessee": nil, "maintenance": false,
            "maintenance_reason": nil, "name": nil, "network_data": [:], "owner": nil, "parent_node": nil,
            "power_state": nil, "properties": [:], "protected": false, "protected_reason": nil,
            "provision_updated_at": nil,
            "raid_config": [:], "reservation": nil, "resource_class": nil, "retired": false, "retired_reason": nil,
            "secure_boot": nil, "service_step": [:], "shard": nil, "target_power_state": nil,
            "target_provision_state": nil, "target_raid_config": [:], "updated_at": nil,
        ]
        for name in interfaces { fields["\(name)_interface"] = nil as JSONValue }
        return fields
    }()

    /// A truth that is said as JSON has it or in words; nil: it is none.
    static func flag(_ value: JSONValue) -> Bool? {
        switch value {
        case .bool(let flag): flag
        case .string(let text): flag(text)
        default: nil
        }
    }

    /// A truth in words; nil: it is none.
    static func flag(_ text: String) -> Bool? {
        switch text.lowercased() {
        case "1", "t", "true", "on", "y", "yes": true
        case "0", "f", "false", "off", "n", "no": false
        default: nil
        }
    }
}

extension Timestamp {
    /// As Ironic writes times: `2026-11-28T18:20:00.123000+00:00`.
    var ironic: String { "\(keystone.dropLast())+00:00" }
}
