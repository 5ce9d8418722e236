import APISupport
import AgentProtocol
import BareMetal
import CatalogBareMetal
import HTTPTypes
import Policy
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel

extension IronicAPI {
    private static let states = "/v1/nodes/{node_ident}/states"
    private static let maintenance = "/v1/nodes/{node_ident}/maintenance"

    static let stateRoutes: [BareMetalRoute] = [
        BareMetalRoute(
            .get, states, .rule("baremetal:node:get_states"), "Shows a node's states.", response: nodeStates,
            target: { try $0.nodeTarget() }
        ) { call in
            .json(try call.node(in: call.now).render(call.minor, base: call.base, fields: NodeField.states))
        },
        BareMetalRoute(
            .put, "\(states)/power", .rule("baremetal:node:set_power_state"), "Switches a node.",
            request: .object(["target": .string(), "timeout": .any], required: ["target"]), status: .accepted,
            target: { try $0.nodeTarget() }
        ) { try await $0.setPower() },
        BareMetalRoute(
            .put, "\(states)/provision", .rule("baremetal:node:set_provision_state"), "Takes a node to another state.",
            request: .object(["target": .string()], required: ["target"]), status: .accepted,
            target: { try $0.nodeTarget() }
        ) { try await $0.setProvisionState() },
        BareMetalRoute(
            .put, maintenance, .rule("baremetal:node:set_maintenance"), "Begins a node's maintenance.",
            request: .object(["reason": Schema.string().orNull]), status: .accepted, target: { try $0.nodeTarget() }
        ) { call in
            try await call.setMaintenance(true, reason: call.body["reason"]?.string)
            return .empty
        },
        BareMetalRoute(
            .delete, maintenance, .rule("baremetal:node:clear_maintenance"), "Ends a node's maintenance.",
            status: .accepted, target: { try $0.nodeTarget() }
        ) { call in
            try await call.setMaintenance(false, reason: nil)
            return .empty
        },
    ]
}

extension NodeField {
    /// What is shown of a node's states.
    static let states: Set<String> = [
        "boot_mode", "console_enabled", "last_error", "power_state", "provision_state", "provision_updated_at",
        "raid_config", "secure_boot", "target_power_state", "target_provision_state", "target_raid_config",
    ]
}

/// What a client wants of a node's power.
enum PowerTarget: String, CaseIterable {
    case on = "power on"
    case off = "power off"
    case reboot = "rebooting"
    case softOff = "soft power off"
    case softReboot = "soft rebooting"

    /// Whether the machine's system is asked, and not its BMC told.
    var isSoft: Bool { self == .softOff || self == .softReboot }

    /// Whether the power is on afterwards.
    var isOn: Bool { self != .off && self != .softOff }
}

extension APICall where Backend == BareMetalBackend {
    // MARK: Power

    func setPower() async throws -> APIAnswer {
        let text = body["target"]?.string ?? ""
        let found = try node(in: now)
        guard let target = PowerTarget(rawValue: text) else {
            throw APIError.invalidState(text, found.uuid, found.members()["power_state"]?.string ?? "None")
        }
        if target.isSoft || (body["timeout"] ?? nil) != nil, minor < 27 { throw APIError.notInVersion }
        if found.kept.members["disable_power_off"]?.bool == true, target != .on {
            throw APIError.badRequest("Node \(found.uuid) is not to be switched off: its disable_power_off is set.")
        }
        switch found.source {
        case .fake(let fake):
            try await change("baremetal:node:set_power_state", fake.key) { now in
                guard let old = now.stored(FakeNode.self, found.uuid) else {
                    throw APIError.missing("Node", found.uuid)
                }
                var stored = old
                stored.value.status.isOn = target.isOn
                var plan = BareMetalPlan()
                try plan.update(stored, was: old)
                return (plan, ())
            }
        case .machine(let machine, _, let bmc):
            guard bmc != nil else {
                throw APIError.badRequest(
                    "Driver \(found.driver) does not support power (disabled or not implemented).")
            }
            guard let action = target.action else {
                throw APIError.badRequest(
                    "Driver \(found.driver) does not support \(text) (disabled or not implemented).")
            }
            try await order("baremetal:node:set_power_state", machine) { node in
                node.spec.power = Node.PowerRequest(
                    number: max(node.spec.power?.number ?? 0, node.status.powerSeen) + 1, action: action)
            }
        }
        return .empty
    }

    // MARK: Provisioning

    func setProvisionState() async throws -> APIAnswer {
        let text = body["target"]?.string ?? ""
        let found = try node(in: now)
        guard let verb = ProvisionVerb(rawValue: text), minor >= verb.firstMinor else {
            if ProvisionVerb(rawValue: text) != nil { throw APIError.notInVersion }
            throw APIError.invalidState(text, found.uuid, found.provisionState)
        }
        try checkArguments(of: verb)
        switch found.source {
        case .fake(let fake): try await provision(fake, verb)
        case .machine(let machine, _, _): try await provision(machine, verb, found)
        }
        return APIAnswer(headers: [.location: "\(base)/v1/nodes/\(found.uuid)/states"])
    }

    private func checkArguments(of verb: ProvisionVerb) throws {
        if verb == .rescue, (body["rescue_password"]?.string ?? "").isEmpty {
            throw APIError.badRequest(
                "A non-empty \"rescue_password\" is required when setting target provision state to rescue")
        }
        if verb == .clean, body["clean_steps"]?.array == nil, body["runbook"]?.string == nil {
            throw APIError.badRequest("\"clean_steps\" is required when setting target provision state to clean")
        }
        if verb == .service, body["service_steps"]?.array == nil, body["runbook"]?.string == nil {
            throw APIError.badRequest("\"service_steps\" is required when setting target provision state to service")
        }
    }

    private func provision(_ fake: FakeNode, _ verb: ProvisionVerb) async throws {
        let uuid = fake.metadata.name
        try await change("baremetal:node:set_provision_state", fake.key) { now in
            guard let old = now.stored(FakeNode.self, uuid) else { throw APIError.missing("Node", uuid) }
            var stored = old
            if old.value.spec.members["maintenance"]?.bool == true, verb.wantsNoMaintenance {
                throw APIError.inMaintenance(verb.rawValue, uuid)
            }
            if old.value.spec.members["protected"]?.bool == true, [.deleted, .rebuild].contains(verb.plain) {
                throw APIError.forbidden("Node \(uuid) is protected and can not be undeployed, rebuilt or deleted")
            }
            guard let next = FakeNodeMachine.after(verb, old.value.status, now: backend.clock.now) else {
                throw APIError.invalidState(verb.rawValue, uuid, old.value.status.state.rawValue)
            }
            stored.value.status = next
            var plan = BareMetalPlan()
            if verb.plain == .deleted {
                if let instance = stored.value.spec.members.removeValue(forKey: "instance_uuid")?.string {
                    plan.free(.instance(instance))
                }
                stored.value.spec.members["instance_info"] = nil
                stored.value.spec.members["instance_name"] = nil
            }
            try plan.update(stored, was: old)
            return (plan, ())
        }
    }

    private func provision(_ machine: Node, _ verb: ProvisionVerb, _ found: NodeView) async throws {
        let isDeployment = verb.plain == .active || verb == .rebuild
        guard isDeployment else { throw APIError.invalidState(verb.rawValue, found.uuid, found.provisionState) }
        try await order("baremetal:node:set_provision_state", machine) { node in
            guard !node.spec.isInMaintenance else { throw APIError.inMaintenance(verb.rawValue, found.uuid) }
            guard node.spec.approval != nil, node.status.state.isDeployable(by: verb) else {
                throw APIError.invalidState(verb.rawValue, found.uuid, node.status.state.ironicName)
            }
            guard let role = node.spec.role, hasImage(for: node, role) else {
                throw APIError.badRequest(
                    "Failed to validate deploy or power info for node \(found.uuid): it has no role or there is no image for it; "
                        + "'muster node why \(node.spec.name)' tells more.")
            }
            node.spec.deployment = max(node.spec.deployment, node.status.attempted).next
        }
    }

    private func hasImage(for node: Node, _ role: Role) -> Bool {
        let images = backend.cache.all(NodeImage.self)
        return images.contains { image in
            node.spec.image.map { $0 == image.metadata.name } ?? true && image.spec.role == role
        }
    }

    /// Changes a machine's specification, which the node controller follows.
    private func order(_ verb: String, _ machine: Node, _ edit: (inout Node) throws -> Void) async throws {
        let id = machine.metadata.name
        try await change(verb, machine.key) { now in
            guard let old = now.stored(Node.self, id) else { throw APIError.missing("Node", id) }
            var stored = old
            try edit(&stored.value)
            var plan = BareMetalPlan()
            if stored.value.spec != old.value.spec { try plan.update(stored, was: old) }
            return (plan, ())
        }
    }

    // MARK: Maintenance

    func setMaintenance(_ isInMaintenance: Bool, reason: String?) async throws {
        let found = try node(in: now)
        let verb = isInMaintenance ? "baremetal:node:set_maintenance" : "baremetal:node:clear_maintenance"
        switch found.source {
        case .fake:
            try await changeKept(verb, found) { kept in
                kept.members["maintenance"] = isInMaintenance ? true : nil
                kept.members["maintenance_reason"] = isInMaintenance ? reason.map { .string($0) } : nil
            }
        case .machine(let machine, _, _):
            let by = caller.principal.description
            let short = reason?.printable(limit: Node.Maintenance.reasonLengthMax)
            try await order(verb, machine) { node in
                let since = node.spec.maintenance?.since ?? backend.clock.now
                node.spec.maintenance =
                    isInMaintenance ? Node.Maintenance(reason: short, by: by, since: since) : nil
            }
        }
    }
}

extension PowerTarget {
    /// What the BMC is told; nil: it cannot ask the system.
    fileprivate var action: Node.PowerRequest.Action? {
        switch self {
        case .on: .on
        case .off: .off
        case .reboot: .reset
        case .softOff, .softReboot: nil
        }
    }
}

extension ProvisionVerb {
    /// The minor version that has it.
    fileprivate var firstMinor: Int {
        switch self {
        case .manage, .provide: 4
        case .inspect: 6
        case .abort: 13
        case .clean: 15
        case .adopt: 17
        case .rescue, .unrescue: 38
        case .deploy, .undeploy: 73
        case .unhold: 85
        case .service: 87
        case .active, .rebuild, .deleted: 1
        }
    }

    /// Whether it is refused in maintenance.
    fileprivate var wantsNoMaintenance: Bool {
        switch plain {
        case .active, .rebuild, .rescue, .service: true
        default: false
        }
    }
}

extension NodeState {
    /// Whether an image may be written in this state, at the first time or anew.
    fileprivate func isDeployable(by verb: ProvisionVerb) -> Bool {
        switch self {
        case .available, .deployFailed: verb.plain == .active || verb == .rebuild && self == .deployFailed
        case .active, .rescueFailed: verb == .rebuild
        default: false
        }
    }
}
