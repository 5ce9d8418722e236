import APISupport
import CatalogBareMetal
import HTTPTypes
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension IronicAPI {
    static let portRoutes: [BareMetalRoute] = [
        BareMetalRoute(.get, "/v1/ports", .rule("baremetal:port:list"), "Lists ports.", response: portPage) {
            try $0.listPorts(isDetailed: false)
        },
        BareMetalRoute(
            .get, "/v1/ports/detail", .rule("baremetal:port:list"), "Lists ports with all that is known of them.",
            response: portPage
        ) { try $0.listPorts(isDetailed: true) },
        BareMetalRoute(
            .get, "/v1/nodes/{node_ident}/ports", .rule("baremetal:port:list"), "Lists a node's ports.",
            response: portPage
        ) { try $0.listPorts(isDetailed: false, node: try $0.node(in: $0.now).uuid) },
        BareMetalRoute(
            .get, "/v1/nodes/{node_ident}/ports/detail", .rule("baremetal:port:list"),
            "Lists a node's ports with all that is known of them.", response: portPage
        ) { try $0.listPorts(isDetailed: true, node: try $0.node(in: $0.now).uuid) },
        BareMetalRoute(
            .get, "/v1/ports/{port_id}", .rule("baremetal:port:get"), "Shows a port.", response: portElement,
            target: { try $0.port().target }
        ) { call in
            let fields = try call.fields(known: PortView.known, firstMinor: PortView.firstMinor)
            return .json(try call.port().render(call.minor, base: call.base, fields: fields))
        },
        BareMetalRoute(
            .post, "/v1/ports", .rule("baremetal:node:list"), "Makes a port.",
            request: .object(["address": .string()], required: ["address"]), response: portElement
        ) { try await $0.createPort() },
        BareMetalRoute(
            .patch, "/v1/ports/{port_id}", .rule("baremetal:port:update"), "Changes a port by a JSON patch.",
            request: .array(of: .object([:])), response: portElement, target: { try $0.port().target }
        ) { try await $0.patchPort() },
        BareMetalRoute(
            .delete, "/v1/ports/{port_id}", .rule("baremetal:port:delete"), "Deletes a port.",
            target: { try $0.port().target }
        ) { try await $0.deletePort() },
    ]
}

/// A port as the API has it: one that a client made, or a card that a machine's inventory has.
struct PortView {
    let uuid: String
    let node: String
    let address: MACAddress
    let members: [String: JSONValue]
    let created: Timestamp
    let updated: Timestamp?
    /// Its node, as rules see it.
    let target: PolicyTarget

    /// A port that a client made.
    init(_ port: NodePort, of node: NodeView) {
        uuid = port.metadata.name
        self.node = node.uuid
        address = port.spec.address
        members = port.spec.members
        created = port.metadata.created
        updated = port.spec.updated
        target = node.target
    }

    /// A card of a machine.
    init(_ address: MACAddress, of node: NodeView) {
        uuid = Self.uuid(of: address, node: node.uuid)
        self.node = node.uuid
        self.address = address
        members = [:]
        created = node.created
        updated = nil
        target = node.target
    }

    /// The UUID of a machine's card: the beginning of the node's, and the address.
    static func uuid(of address: MACAddress, node: String) -> String { node.prefix(24) + Hex.encode(address.bytes) }

    /// The address that is in the UUID of a machine's card.
    static func address(in uuid: String) -> MACAddress? {
        Hex.decode(uuid.suffix(12)).flatMap { $0.count == 6 ? MACAddress(bytes: $0) : nil }
    }

    /// The minor versions that have brought members.
    static let firstMinor: [String: Int] = [
        "internal_info": 18, "local_link_connection": 19, "pxe_enabled": 19, "portgroup_uuid": 24,
        "physical_network": 34,
        "is_smartnic": 53, "name": 88, "description": 97, "vendor": 100, "category": 101,
        "available_for_dynamic_portgroup": 111,
    ]

    /// What a member is of which a client has said nothing.
    static let defaults: [String: JSONValue] = [
        "extra": [:], "internal_info": [:], "local_link_connection": [:], "pxe_enabled": true, "portgroup_uuid": nil,
        "physical_network": nil, "is_smartnic": false, "name": nil, "description": nil, "vendor": nil, "category": nil,
        "available_for_dynamic_portgroup": true,
    ]

    /// All members' names.
    static let known = Set(defaults.keys).union(["uuid", "address", "node_uuid", "created_at", "updated_at", "links"])

    /// What a client may give and change, with the schema of its value.
    static let changeable: [String: Schema] = [
        "address": .string(), "extra": Schema.object([:]).orNull, "is_smartnic": Schema.boolean.orNull,
        "local_link_connection": Schema.object([:]).orNull, "physical_network": Schema.string(max: 64).orNull,
        "pxe_enabled": Schema.boolean.orNull, "name": Schema.string().orNull,
        "description": Schema.string(max: 255).orNull, "vendor": Schema.string(max: 32).orNull,
        "category": Schema.string(max: 80).orNull, "available_for_dynamic_portgroup": .boolean,
    ]

    /// All members of the newest version, without links.
    var all: [String: JSONValue] {
        Self.defaults.merging(members) { $1 }.merging([
            "uuid": .string(uuid), "address": .string(address.description), "node_uuid": .string(node),
            "created_at": .string(created.ironic), "updated_at": .optional(updated?.ironic),
        ]) { $1 }
    }

    /// The port as version 1.`minor` has it.
    func render(_ minor: Int, base: String, fields: Set<String>? = nil) -> JSONValue {
        var shown = all.filter { name, _ in
            Self.firstMinor[name].map { $0 <= minor } ?? true && fields?.contains(name) ?? true
        }
        if fields?.contains("links") ?? true { shown["links"] = .array(IronicAPI.links(base, "ports", uuid)) }
        return .object(shown)
    }
}

extension APICall where Backend == BareMetalBackend {
    /// The port that the path names, since version 1.88 by its name too; throws 400 for what is no UUID, and 404, also for
    /// the port of a node that the caller may not see.
    func port() throws -> PortView {
        let wanted = parameter("port_id")
        let found = try port(wanted)
        guard policy.isAllowed("baremetal:node:get", caller.credentials, found.target) else {
            throw APIError.missing("Port", wanted)
        }
        return found
    }

    private func port(_ wanted: String) throws -> PortView {
        let uuid = wanted.lowercased()
        let now = now
        guard MachineUUID.isUUID(uuid) else {
            guard minor >= 88 else {
                throw APIError.badRequest("Expected a UUID but received \(wanted.printable(limit: 80)).")
            }
            let named = now.all(NodePort.self).first { $0.spec.members["name"]?.string == wanted }
            guard let named, let source = now.node(uuid: named.spec.node) else {
                throw APIError.missing("Port", wanted)
            }
            return PortView(named, of: view(source, now))
        }
        if let port = now.get(NodePort.self, uuid), let source = now.node(uuid: port.spec.node) {
            return PortView(port, of: view(source, now))
        }
        if let address = PortView.address(in: uuid) {
            for machine in now.all(IronicAPI.machinesByMAC, address.description) {
                let port = PortView(address, of: view(now.source(machine), now))
                if port.uuid == uuid { return port }
            }
        }
        throw APIError.missing("Port", wanted)
    }

    func listPorts(isDetailed given: Bool, node: String? = nil) throws -> APIAnswer {
        let isDetailed = try given || (query["detail"].map { try Self.flag($0, "detail") } ?? false)
        let fields = try fields(known: PortView.known, firstMinor: PortView.firstMinor)
        let now = backend.cache.snapshot()
        let wanted = try (query["node"] ?? query["node_uuid"]).map { try self.node($0, in: now).uuid }
        let address = try query["address"].map { (text) throws(InvalidValue) in try MACAddress(text) }
        let seesAll = policy.isAllowed("baremetal:port:list_all", caller.credentials, PolicyTarget())
        var ports: [PortView] = []
        for view in backend.nodes(now) {
            guard node ?? view.uuid == view.uuid, wanted ?? view.uuid == view.uuid,
                seesAll || policy.isAllowed("baremetal:port:get", caller.credentials, view.target)
            else { continue }
            ports += self.ports(of: view, now).filter { address ?? $0.address == $0.address }
        }
        if query["sort_dir"] == "desc" { ports.reverse() }
        let (page, next) = try page(ports[...], path: isDetailed ? "ports/detail" : "ports", id: \.uuid)
        let shown = fields ?? (isDetailed ? nil : ["uuid", "address", "links"])
        return .list("ports", page.map { $0.render(minor, base: base, fields: shown).text }, next)
    }

    private static func flag(_ text: String, _ name: String) throws -> Bool {
        guard let flag = NodeField.flag(text) else { throw APIError.badRequest("Invalid value for \(name).") }
        return flag
    }

    /// The ports of a node: its cards, and those that clients made.
    private func ports(of view: NodeView, _ now: CacheSnapshot) -> [PortView] {
        let made = now.all(IronicAPI.portsByNode, view.uuid).map { PortView($0, of: view) }
        guard case .machine(let machine, _, _) = view.source else { return made }
        return machine.status.identity.macs.sorted().map { PortView($0, of: view) } + made
    }

    // MARK: Writing

    fileprivate func createPort() async throws -> APIAnswer {
        var given = body.object ?? [:]
        let uuid = try givenUUID(&given, of: "port")
        guard let ident = (given.removeValue(forKey: "node_uuid") ?? given.removeValue(forKey: "node_ident"))?.string
        else {
            throw APIError.badRequest("Schema error for port: 'node_uuid' is a required property")
        }
        let node: NodeView
        do { node = try self.node(ident, in: now) } catch let error as APIError where error.status == .notFound {
            throw APIError.badRequest(error.message)
        }
        try demand("baremetal:port:create", node.target)
        let (address, members) = try checked(given, minor: minor)
        let made = NodePort(
            metadata: Metadata(name: uuid, schemaVersion: NodePort.schemaVersion, created: backend.clock.now),
            spec: NodePort.Spec(node: node.uuid, address: address, members: members))
        try await change("baremetal:port:create", made.key) { now in
            guard now.get(NodePort.self, uuid) == nil else {
                throw APIError.conflict("A port with UUID \(uuid) already exists.")
            }
            guard let source = now.node(uuid: node.uuid) else {
                throw APIError.badRequest("Node \(node.uuid) could not be found.")
            }
            var plan = BareMetalPlan()
            plan.need(source.key)
            try take(address, for: uuid, now, &plan)
            try plan.create(made)
            return (plan, ())
        }
        return .json(
            PortView(made, of: node).render(minor, base: base), headers: [.location: "\(base)/v1/ports/\(uuid)"])
    }

    private func take(_ address: MACAddress, for uuid: String, _ now: CacheSnapshot, _ plan: inout BareMetalPlan) throws
    {
        guard !now.contains(IronicAPI.portsByAddress, address.description),
            !now.contains(IronicAPI.machinesByMAC, address.description)
        else { throw APIError.conflict("A port with MAC address \(address) already exists.") }
        try plan.take(.address(address), for: uuid, at: backend.clock.now)
    }

    /// What a client gives of a port: its address, and what is kept beside it. Throws 400 and 406.
    private func checked(
        _ given: [String: JSONValue], minor: Int
    ) throws -> (address: MACAddress, members: [String: JSONValue]) {
        var members: [String: JSONValue] = [:]
        for (name, value) in given.sorted(by: { $0.key < $1.key }) {
            guard let schema = PortView.changeable[name] else {
                throw APIError.badRequest("Schema error for port: '\(name.printable(limit: 80))' was unexpected")
            }
            guard PortView.firstMinor[name].map({ $0 <= minor }) ?? true else { throw APIError.notInVersion }
            if let fault = schema.fault(in: value, at: name) {
                throw APIError.badRequest("Schema error for port: \(fault.message)")
            }
            if value != .null, value != PortView.defaults[name] { members[name] = value }
        }
        let text = members.removeValue(forKey: "address")?.string ?? ""
        return (try MACAddress(text), members)
    }

    /// The stored port that the path names; throws 404, and 400 for a machine's card.
    private func madePort(in now: CacheSnapshot) throws -> Stored<NodePort> {
        guard let stored = now.stored(NodePort.self, try port().uuid) else {
            throw APIError.badRequest("The port is a card of a machine; it is there for as long as the machine has it.")
        }
        return stored
    }

    fileprivate func patchPort() async throws -> APIAnswer {
        let patch = try JSONPatch(body)
        for operation in patch.operations {
            guard let name = operation.path.parts.first, PortView.changeable[name] != nil else {
                throw APIError.badRequest("'\(operation.path)' is an internal attribute and can not be updated")
            }
            guard PortView.firstMinor[name].map({ $0 <= minor }) ?? true else { throw APIError.notInVersion }
        }
        let found = try port()
        try await change("baremetal:port:update", NodePort.key(found.uuid)) { now in
            let old = try madePort(in: now)
            var stored = old
            let current = try port().all
            guard let after = try patch.applied(to: .object(current)).object else {
                throw APIError.badRequest("The patch takes the whole port away.")
            }
            let (address, members) = try checked(after.filter { PortView.changeable[$0.key] != nil }, minor: Int.max)
            var plan = BareMetalPlan()
            if address != old.value.spec.address {
                plan.free(.address(old.value.spec.address))
                try take(address, for: found.uuid, now, &plan)
            }
            stored.value.spec.address = address
            stored.value.spec.members = members
            stored.value.spec.updated = backend.clock.now
            try plan.update(stored, was: old)
            return (plan, ())
        }
        return .json(try port().render(minor, base: base))
    }

    fileprivate func deletePort() async throws -> APIAnswer {
        let found = try port()
        try await change("baremetal:port:delete", NodePort.key(found.uuid)) { now in
            let stored = try madePort(in: now)
            var plan = BareMetalPlan()
            plan.free(.address(stored.value.spec.address))
            try plan.delete(stored)
            return (plan, ())
        }
        return .empty
    }
}

extension NodeSource {
    /// The document that it is.
    var key: ResourceKey {
        switch self {
        case .machine(let node, _, _): node.key
        case .fake(let node): node.key
        }
    }
}
