import AgentProtocol
import BareMetal
import CatalogBareMetal
import Fleet
import FleetContract
import Primitives
import Redfish
import ResourceModel

/// The value in `bytes`, nil when they hold none. Throws when its own encoding is another.
private func unchanged<Value: Codable & Equatable>(_ type: Value.Type, _ bytes: some Sequence<UInt8>) throws -> Value? {
    guard let value = try? AgentStream.decode(type, from: bytes) else { return nil }
    guard let encoded = try? AgentStream.encode(value) else {
        throw FuzzFailure(description: "a \(type) that can be encoded")
    }
    try require((try? AgentStream.decode(type, from: encoded)) == value, "a \(type) that its encoding does not change")
    return value
}

extension FuzzTarget {
    /// What an unknown machine posts of itself: taken apart as registration does.
    static let inventory = FuzzTarget("inventory", sizeMax: 16384) { bytes in
        guard let post = try unchanged(InventoryPost.self, bytes) else { return }
        let report = post.inventory
        let claim = IdentityFusion.claim(of: report)
        _ = IdentityFusion.judge(claim, among: [(Self.node, Self.known)])
        _ = IdentityFusion.fuse(claim, into: Self.known)
        try require((try? DNSLabel(Registrar.defaultName(claim))) != nil, "a default name that is a DNS label")
        let (decision, explanation) = RuleEvaluation.evaluate(rules: Self.rules, inventory: report)
        let name = NodeNaming.name(for: decision, inventory: report, otherwise: "node-0") { _ in false }
        try require((try? DNSLabel(name.name)) != nil, "a name that is a DNS label, not '\(name.name)'")
        _ = explanation
        _ = BillOfMaterials.differences(Self.bill, report)
        for other in [report, Self.plain] {
            let text = InventoryDifference.text(InventoryDifference.between(report, other))
            try require(text.unicodeScalars.count <= 4000, "a difference that fits into an event")
        }
    }

    /// The other bodies that machines send, chosen by the first byte.
    static let machineMessage = FuzzTarget("machine-message", sizeMax: 16384) { bytes in
        let body = bytes.dropFirst()
        switch (bytes.first ?? 0) % 4 {
        case 0:
            guard let progress = try unchanged(DiscoveryProgress.self, body) else { return }
            for state in Self.states {
                let node = Self.node(in: state)
                for order in [progress.order, DiscoveryOrders.number(of: node)] {
                    let input = NodeInput.progressed(order: order, progress.stage)
                    guard let next = try? NodeMachine().step(node, input, now: Self.now).node else { continue }
                    let size = try AgentStream.encode(next.status).count
                    try require(size <= 12 << 10, "a status that fits into a document, not \(size) bytes")
                }
            }
        case 1: _ = try unchanged(LogBatch.self, body)
        case 2: _ = try unchanged(EnrolmentRequest.self, body)
        default: _ = try unchanged(DiscoveryOrder.self, body)
        }
    }

    /// A message of the agents' stream, in either direction.
    static let agentMessage = FuzzTarget("agent-message", sizeMax: 16384) { bytes in
        _ = try unchanged(ConductorMessage.self, bytes)
        switch try unchanged(AgentMessage.self, bytes) {
        case .status(let report):
            for state in Self.states {
                let (node, _) = try NodeMachine().step(Self.node(in: state), .agentReported(report), now: Self.now)
                try require((node.status.agent?.conditions.count ?? 0) <= 32, "at most 32 conditions")
            }
            let facts = RoleFacts.merged(report.roles.compactMap(\.facts)).fitting(.kibibytes(12))
            try require(try AgentStream.encode(facts).count <= 12 << 10, "facts that fit into a document")
        case .metrics(let report):
            let offset = report.time.since(Self.now).milliseconds
            _ = try NodeMachine().step(Self.node(in: .active), .clockRead(offset), now: Self.now)
        case .hello(let hello):
            _ = try NodeMachine().step(
                Self.node(in: .active), .agentConnected(hello, Node.Stream(conductor: "c", number: 1)), now: Self.now)
        case .logs, .renew, .secrets, nil: break
        }
    }

    /// A site as the API takes it: judged, and unchanged by its own encoding.
    static let siteDocument = FuzzTarget("site-document", sizeMax: 8192) { bytes in
        guard let document = try unchanged(SiteDocument.self, bytes) else { return }
        _ = document.problems()
    }

    /// A BMC's answer, read as each of the resources that are asked for.
    static let redfish = FuzzTarget("redfish", sizeMax: 8192) { bytes in
        let response = RedfishResponse(
            status: 200, etag: nil, location: nil, retryAfter: String(decoding: bytes.prefix(8), as: UTF8.self),
            token: String(decoding: bytes.prefix(16), as: UTF8.self), body: bytes)
        if let message = response.errorMessage {
            try require(message.unicodeScalars.count <= 3000, "a short message")
        }
        _ = try? response.decode(ServiceRoot.self)
        _ = try? response.decode(ManagementController.self)
        _ = try? response.decode(Chassis.self)
        _ = try? response.decode(Sensor.self)
        _ = try? response.decode(ServiceTask.self)
        _ = try? response.decode(VirtualMedia.self)
        if let members = try? response.decode(ResourceCollection.self).members {
            try require(members.count <= ResourceCollection.memberCountMax, "a bounded collection")
        }
        let readings =
            ((try? response.decode(Thermal.self).readings) ?? [])
            + ((try? response.decode(PowerMetrics.self).readings) ?? [])
        try require(readings.count <= 1024 && readings.allSatisfy { $0.value.isFinite }, "bounded readings")
        guard let system = try? response.decode(ComputerSystem.self) else { return }
        _ = RedfishQuirks.of(system)
        for path in [system.path, system.reset?.target, system.virtualMedia].compactMap(\.self) {
            try require(path.text.hasPrefix("/") && !path.text.hasPrefix("//"), "a path on the BMC itself")
        }
    }

    // MARK: What the inputs meet

    private static let now = Timestamp(millisecondsSinceEpoch: 1_795_000_000_000)
    private static let node: NodeID = {
        var random = SeededRandom(seed: 1)
        return NodeID.random(using: &random)
    }()

    private static let known = MachineIdentity(
        smbiosUUID: "01234567-89ab-cdef-0123-456789abcdef", serial: "S1",
        macs: [MACAddress(bytes: [0x52, 0x54, 0, 0, 0, 1])])

    private static let states: [NodeState] = [
        .enroll, .inspecting, .available, .deploying(.writing), .deploying(.checking), .active, .cleaning(.wiping),
        .rescuing(.bootingRamdisk), .rescue, .unrescuing(.checking),
    ]

    private static func node(in state: NodeState) -> Node {
        var node = Node(
            metadata: Metadata(name: node.raw, schemaVersion: Node.schemaVersion, created: now),
            spec: Node.Spec(name: "n1"), status: Node.Status(state: state, since: now, identity: known))
        node.status.agent = Node.Agent(version: "1", bootID: "b", isConnected: true, since: now)
        return node
    }

    private static let rules: [Rule] = [
        rule("compute-{rack}-{nn}", [("system.vendor", .contains, "Q"), ("memory.bytes", .atLeast, "1")], rack: "r1"),
        rule("{system.serial}", [("disk.bus", .matches, "nv*"), ("nic.speed", .atMost, "100000")], rack: nil),
        rule("{boot.mac}-{nnn}", [("pci.device", .hasPrefix, "1af4")], rack: nil),
    ]

    private static func rule(
        _ name: String, _ facts: [(String, Rule.Fact.Comparison, String)], rack: String?
    ) -> Rule {
        Rule(
            metadata: Metadata(name: "r", schemaVersion: 1, created: now),
            spec: Rule.Spec(
                order: 1, match: facts.map { Rule.Fact(path: $0.0, comparison: $0.1, value: $0.2) }, name: name,
                role: .network, rack: rack))
    }

    private static let bill: SKU.Spec = {
        var bill = SKU.Spec()
        bill.cpu = SKU.CPU(model: "*", coresMin: 1)
        bill.memory = SKU.Memory(exact: .gibibytes(1))
        bill.disks = [SKU.DiskGroup(count: 2, sizeMin: .gibibytes(1), isRotational: false)]
        bill.nics = [SKU.NICGroup(count: 1, driver: "virtio*", speedMin: 1000)]
        bill.pciDevices = [SKU.PCIGroup(count: 1, device: "1af4:*")]
        bill.firmware = SKU.Firmware(mode: .uefi, vendor: "*", version: "[0-9]*", secureBoot: true)
        return bill
    }()

    private static let plain = InventoryReport(
        agentVersion: "1", collectedAt: now, kernelVersion: "6", system: .init(firmwareMode: .bios),
        cpu: .init(architecture: "x86_64", sockets: 1, cores: 1, threads: 1), memory: .init(total: .gibibytes(1)),
        disks: [], nics: [])
}
