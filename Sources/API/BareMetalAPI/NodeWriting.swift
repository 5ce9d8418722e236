import APISupport
import AgentProtocol
import CatalogBareMetal
import HTTPTypes
import Policy
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel

/// What a client gives of a node, checked and in the form that is kept.
struct GivenMembers {
    /// Checks names, versions and values; throws 400 and 406.
    static func checked(_ given: [String: JSONValue], minor: Int) throws -> [String: JSONValue] {
        var members: [String: JSONValue] = [:]
        for (name, value) in given.sorted(by: { $0.key < $1.key }) {
            guard let schema = NodeField.changeable[name] else {
                throw APIError.badRequest(
                    "Schema error for node: Additional properties are not allowed ('\(name.printable(limit: 80))' was unexpected)"
                )
            }
            guard NodeField.isShown(name, in: minor) else { throw APIError.notInVersion }
            if let fault = schema.fault(in: value, at: name) {
                throw APIError.badRequest("Schema error for node: \(fault.message)")
            }
            members[name] = try plain(name, value, minor: minor)
        }
        return members
    }

    private static func plain(_ name: String, _ value: JSONValue, minor: Int) throws -> JSONValue {
        if NodeField.flags.contains(name), value != .null {
            guard let flag = NodeField.flag(value) else {
                throw APIError.badRequest("Invalid value for \(name): it is neither true nor false.")
            }
            return .bool(flag)
        }
        switch name {
        case "instance_uuid", "chassis_uuid":
            guard let text = value.string else { return value }
            guard MachineUUID.isUUID(text.lowercased()) else {
                throw APIError.badRequest("Expected a UUID for \(name) but received \(text.printable(limit: 80)).")
            }
            return .string(text.lowercased())
        case "name":
            guard let text = value.string, !text.isEmpty else { return .null }
            guard isName(text) else {
                throw APIError.badRequest("Cannot create node with invalid name '\(text.printable(limit: 80))'")
            }
            return value
        default: return value
        }
    }

    /// Whether a node may be called so: RFC 3986's unreserved characters, and not a UUID.
    static func isName(_ text: String) -> Bool {
        let isMade = text.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
                || [0x2D, 0x2E, 0x5F, 0x7E].contains($0)
        }
        return isMade && (1...255).contains(text.utf8.count) && !MachineUUID.isUUID(text.lowercased())
    }

    /// Throws 400 for an interface that the driver does not have.
    static func checkInterfaces(_ members: [String: JSONValue], driver: String) throws {
        let own = DriverName.interfaces(of: driver)
        for kind in NodeField.interfaces {
            guard let name = members["\(kind)_interface"]?.string else { continue }
            let known = Set([own[kind], "no-\(kind)"] + (driver == DriverName.fake ? ["fake", "noop"] : [])).compactMap
            { $0 }
            guard known.contains(name) else {
                throw APIError.badRequest(
                    "Could not find the following interface in the '\(kind)' entrypoint for the driver \(driver): "
                        + "\(name.printable(limit: 80)). Valid interfaces are \(known.sorted()).")
            }
        }
    }
}

extension APICall where Backend == BareMetalBackend {
    // MARK: Making and deleting

    /// Makes a node without hardware.
    func createNode() async throws -> APIAnswer {
        var given = body.object ?? [:]
        let uuid = try givenUUID(&given, of: "node")
        let driver = given.removeValue(forKey: "driver")?.string ?? ""
        guard driver == DriverName.fake else { throw APIError.notByHand(driver) }
        var members = try GivenMembers.checked(given, minor: minor).filter { $0.value != .null }
        try GivenMembers.checkInterfaces(members, driver: driver)
        if !policy.isAllowed("baremetal:node:create", caller.credentials, PolicyTarget()) {
            let own = caller.credentials.projectID
            guard let own, members["owner"]?.string ?? own == own else {
                throw APIError.forbidden("Cannot create a node of another project than one's own.")
            }
            members["owner"] = .string(own)
        }
        let kept = ClientMembers(members: members)
        let made = FakeNode(
            metadata: Metadata(name: uuid, schemaVersion: FakeNode.schemaVersion, created: backend.clock.now),
            spec: kept,
            status: FakeNode.Status(state: minor < 11 ? .available : .enroll))
        try await change("baremetal:node:create", made.key) { now in
            guard !now.hasNode(uuid) else { throw APIError.conflict("A node with UUID \(uuid) already exists.") }
            var plan = BareMetalPlan()
            try take(kept.members, instead: [:], for: uuid, now, &plan)
            try plan.create(made)
            return (plan, ())
        }
        return .json(
            render(view(.fake(made), now)), headers: [.location: "\(base)/v1/nodes/\(uuid)"])
    }

    /// The UUID that a client gives, taken out of `given`, or a new one.
    func givenUUID(_ given: inout [String: JSONValue], of sort: String) throws -> String {
        guard let value = given.removeValue(forKey: "uuid"), value != .null else { return backend.newUUID() }
        guard let text = value.string?.lowercased(), MachineUUID.isUUID(text) else {
            throw APIError.badRequest("Expected a UUID for the \(sort).")
        }
        return text
    }

    /// Takes the words that `new` has and `old` has not, and gives up those of `old` that `new` has not.
    ///
    /// Throws 409 for a name or an instance that another node has, and 400 for a chassis that there is not.
    private func take(
        _ new: [String: JSONValue], instead old: [String: JSONValue], for uuid: String, _ now: CacheSnapshot,
        _ plan: inout BareMetalPlan
    ) throws {
        let (name, instance) = (new["name"]?.string, new["instance_uuid"]?.string)
        if name != old["name"]?.string {
            if let former = old["name"]?.string { plan.free(.name(former)) }
            if let name {
                guard now.nodes(named: name).isEmpty else {
                    throw APIError.conflict("A node with name \(name) already exists.")
                }
                try plan.take(.name(name), for: uuid, at: backend.clock.now)
            }
        }
        if instance != old["instance_uuid"]?.string {
            if let former = old["instance_uuid"]?.string { plan.free(.instance(former)) }
            if let instance {
                let all = backend.nodes(now)
                guard !all.contains(where: { $0.instanceUUID == instance && $0.uuid != uuid }) else {
                    throw APIError.conflict(
                        "Instance \(instance) is already associated with a node, it cannot be associated with this other node \(uuid)"
                    )
                }
                try plan.take(.instance(instance), for: uuid, at: backend.clock.now)
            }
        }
        if let chassis = new["chassis_uuid"]?.string, chassis != old["chassis_uuid"]?.string {
            guard now.get(Chassis.self, chassis) != nil else {
                throw APIError.badRequest("Chassis \(chassis) could not be found.")
            }
            plan.need(Chassis.key(chassis))
        }
    }

    /// Deletes a node without hardware, with its ports.
    func deleteNode() async throws -> APIAnswer {
        let found = try node(in: now)
        let mayAny = policy.isAllowed("baremetal:node:delete", caller.credentials, found.target)
        if !mayAny { try demand("baremetal:node:delete:self_owned_node", found.target) }
        guard case .fake(let fake) = found.source else {
            throw APIError.conflict(
                "Node \(found.uuid) is a machine; take it out of the inventory with 'muster node delete "
                    + "\(found.name ?? found.uuid)'.")
        }
        try await change("baremetal:node:delete", fake.key) { now in
            guard let stored = now.stored(FakeNode.self, found.uuid) else { throw APIError.missing("Node", found.uuid) }
            let kept = stored.value.spec.members
            if let instance = kept["instance_uuid"]?.string, kept["maintenance"]?.bool != true {
                throw APIError.conflict("Node \(found.uuid) is associated with instance \(instance).")
            }
            guard
                [.enroll, .manageable, .available].contains(stored.value.status.state)
                    || kept["maintenance"]?.bool == true
            else {
                throw APIError.conflict(
                    "Can not delete node \"\(found.uuid)\" while it is in provision state \"\(stored.value.status.state.rawValue)\"."
                )
            }
            var plan = BareMetalPlan()
            try take([:], instead: kept, for: found.uuid, now, &plan)
            try plan.delete(stored)
            for port in now.all(IronicAPI.portsByNode, found.uuid) {
                guard let stored = now.stored(NodePort.self, port.metadata.name) else { continue }
                try plan.delete(stored)
                plan.free(.address(port.spec.address))
            }
            return (plan, ())
        }
        return .empty
    }

    // MARK: Changing

    /// Changes a node by a JSON patch.
    func patchNode() async throws -> APIAnswer {
        let patch = try JSONPatch(body)
        let found = try node(in: now)
        for operation in patch.operations { try allow(operation, found) }
        switch found.source {
        case .fake(let fake): try await change(fake, found, patch)
        case .machine(let machine, _, _): try await change(machine, found, patch)
        }
        return .json(render(try node(found.uuid, in: now)))
    }

    /// Throws 400 for a member that clients do not change, 406 for one of a later version, 403 for what the caller may not.
    private func allow(_ operation: JSONPatch.Operation, _ found: NodeView) throws {
        guard let name = operation.path.parts.first, NodeField.changeable[name] != nil else {
            throw APIError.badRequest("'\(operation.path)' is an internal attribute and can not be updated")
        }
        guard NodeField.isShown(name, in: minor) else { throw APIError.notInVersion }
        try demand(UpdateRule.of(name), found.target)
    }

    private func change(_ fake: FakeNode, _ found: NodeView, _ patch: JSONPatch) async throws {
        try await change("baremetal:node:update", fake.key) { now in
            guard let old = now.stored(FakeNode.self, found.uuid) else { throw APIError.missing("Node", found.uuid) }
            var stored = old
            let current = view(.fake(old.value), now).members()
            var members = try patched(current, by: patch)
            guard members.removeValue(forKey: "driver")?.string == DriverName.fake else {
                throw APIError.badRequest("The driver of a node without hardware cannot be another one.")
            }
            try GivenMembers.checkInterfaces(members, driver: DriverName.fake)
            if members["maintenance"] == true {
                members["maintenance_reason"] = old.value.spec.members["maintenance_reason"]
            }
            members = members.withoutDefaults(of: DriverName.fake)
            stored.value.spec.members = members
            stored.value.spec.updated = backend.clock.now
            var plan = BareMetalPlan()
            try take(members, instead: old.value.spec.members, for: found.uuid, now, &plan)
            try plan.update(stored, was: old)
            return (plan, ())
        }
    }

    /// The members that clients may change after `patch`, checked.
    private func patched(_ current: [String: JSONValue], by patch: JSONPatch) throws -> [String: JSONValue] {
        guard let after = try patch.applied(to: .object(current)).object else {
            throw APIError.badRequest("The patch takes the whole node away.")
        }
        var given: [String: JSONValue] = [:]
        for name in NodeField.changeable.keys { given[name] = after[name] ?? NodeField.defaults[name] ?? nil }
        return try GivenMembers.checked(given, minor: Int.max)
    }

    private func change(_ machine: Node, _ found: NodeView, _ patch: JSONPatch) async throws {
        let id = machine.metadata.name
        try await change("baremetal:node:update", machine.key) { now in
            guard let node = now.stored(Node.self, id) else { throw APIError.missing("Node", found.uuid) }
            let source = now.source(node.value)
            guard case .machine(_, let kept, let bmc) = source else { throw APIError.missing("Node", found.uuid) }
            let current = view(source, now).members()
            var members = try patched(current, by: patch)
            for name in ["driver"] + NodeField.interfaces.map({ "\($0)_interface" })
            where members[name] != current[name] {
                throw APIError.badRequest(
                    "The driver and the interfaces of a machine come from its BMC and cannot be changed.")
            }
            members["driver"] = nil
            var plan = BareMetalPlan()
            try write(&members, to: node, now, &plan)
            for (name, derived) in [("properties", node.value.hardware), ("driver_info", Node.address(of: bmc))] {
                let given = members[name]?.object ?? [:]
                members[name] = .object(given.filter { derived[$0.key] != $0.value })
            }
            let kind = DriverName.of(bmc)
            // No owner is another thing than that nobody has said one.
            let owner = members["owner"].flatMap { $0 == current["owner"] ? kept?.spec.members["owner"] : $0 }
            members = members.withoutDefaults(of: kind)
            members["owner"] = owner
            if members["resource_class"]?.string == node.value.spec.role?.rawValue { members["resource_class"] = nil }
            try keep(members, of: id, instead: kept, now, &plan)
            return (plan, ())
        }
    }

    /// Writes what of `members` is the machine's own, and takes it out of them.
    private func write(
        _ members: inout [String: JSONValue], to old: Stored<Node>, _ now: CacheSnapshot, _ plan: inout BareMetalPlan
    ) throws {
        var node = old
        let name = members.removeValue(forKey: "name")?.string ?? ""
        if name != node.value.spec.name {
            let label = try DNSLabel(name, as: "node name").text
            guard now.nodes(named: label).isEmpty else {
                throw APIError.conflict("A node with name \(label) already exists.")
            }
            node.value.spec.name = label
        }
        let isInMaintenance = members.removeValue(forKey: "maintenance")?.bool ?? false
        if isInMaintenance != node.value.spec.isInMaintenance {
            node.value.spec.maintenance =
                isInMaintenance
                ? Node.Maintenance(reason: nil, by: caller.principal.description, since: backend.clock.now) : nil
        }
        if node.value.spec != old.value.spec { try plan.update(node, was: old) } else { plan.need(old.value.key) }
    }

    private func keep(
        _ members: [String: JSONValue], of id: String, instead kept: MachineMembers?, _ now: CacheSnapshot,
        _ plan: inout BareMetalPlan
    ) throws {
        let former = kept?.spec.members ?? [:]
        guard members != former else { return }
        try take(members, instead: former, for: MachineUUID.uuid(of: id), now, &plan)
        if let old = now.stored(MachineMembers.self, id) {
            var stored = old
            stored.value.spec.members = members
            stored.value.spec.updated = backend.clock.now
            try plan.update(stored, was: old)
        } else {
            let spec = ClientMembers(members: members, updated: backend.clock.now)
            let metadata = Metadata(name: id, schemaVersion: MachineMembers.schemaVersion, created: backend.clock.now)
            try plan.create(MachineMembers(metadata: metadata, spec: spec))
        }
    }

    /// Changes what clients keep with a node.
    func changeKept(_ verb: String, _ found: NodeView, _ edit: (inout ClientMembers) throws -> Void) async throws {
        switch found.source {
        case .fake(let fake):
            try await change(verb, fake.key) { now in
                guard let old = now.stored(FakeNode.self, found.uuid) else {
                    throw APIError.missing("Node", found.uuid)
                }
                var stored = old
                try edit(&stored.value.spec)
                var plan = BareMetalPlan()
                stored.value.spec.updated = backend.clock.now
                try plan.update(stored, was: old)
                return (plan, ())
            }
        case .machine(let machine, _, _):
            let id = machine.metadata.name
            try await change(verb, machine.key) { now in
                guard now.get(Node.self, id) != nil else { throw APIError.missing("Node", found.uuid) }
                var plan = BareMetalPlan()
                plan.need(machine.key)
                let old = now.stored(MachineMembers.self, id)
                let metadata = Metadata(
                    name: id, schemaVersion: MachineMembers.schemaVersion, created: backend.clock.now)
                var stored = old ?? Stored(new: MachineMembers(metadata: metadata, spec: ClientMembers()))
                try edit(&stored.value.spec)
                stored.value.spec.updated = backend.clock.now
                try plan.update(stored, was: old)
                return (plan, ())
            }
        }
    }
}

/// Which rule lets a caller change a member.
enum UpdateRule {
    static func of(_ member: String) -> String {
        switch member {
        case "extra", "instance_info": "baremetal:node:update_\(member)"
        case "driver_info", "properties", "chassis_uuid", "instance_uuid", "lessee", "owner", "network_data",
            "conductor_group", "name", "retired", "shard", "parent_node", "disable_power_off":
            "baremetal:node:update:\(member)"
        case "retired_reason": "baremetal:node:update:retired"
        case "automated_clean": "baremetal:node:disable_cleaning"
        case "driver": "baremetal:node:update:driver_interfaces"
        case let name where name.hasSuffix("_interface"): "baremetal:node:update:driver_interfaces"
        default: "baremetal:node:update"
        }
    }
}

extension [String: JSONValue] {
    /// Without those that say what is so anyway.
    fileprivate func withoutDefaults(of driver: String) -> [String: JSONValue] {
        let interfaces = DriverName.interfaces(of: driver)
        return filter { name, value in
            if name.hasSuffix("_interface"), value.string == interfaces[String(name.dropLast(10))] { return false }
            return value != .null && value != NodeField.defaults[name]
        }
    }
}

extension APIError {
    /// Only nodes without hardware are made by hand.
    fileprivate static func notByHand(_ driver: String) -> APIError {
        DriverName.all.contains(driver)
            ? .badRequest(
                "Machines enrol by booting over the network: Muster makes their nodes then, and finds the driver by the "
                    + "BMC. Only nodes of the driver \(DriverName.fake) are made here.")
            : .badRequest(
                "Could not find the following driver(s) or hardware type(s): \(driver.printable(limit: 80)).")
    }
}
