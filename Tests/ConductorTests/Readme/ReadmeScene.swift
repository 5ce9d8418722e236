import AgentProtocol
import BlobStore
import CatalogBareMetal
import Foundation
import Primitives
import ResourceModel
import StoreSQLite
import TestSupport
import Testing

/// A site with machines in several states, for the commands of the README.
struct ReadmeScene {
    private let scene: ConductorScene
    /// What stands in the table's lines for paths.
    let paths: [String: String]

    private static let serial = "BND.2X.00017"

    /// Runs `body` beside a conductor that serves the machines' site.
    static func with(_ body: (ReadmeScene) async throws -> Void) async throws {
        try await ConductorScene.with("readme") { conductor in
            let scene = ReadmeScene(conductor)
            try scene.files()
            try await scene.seed()
            // The segment of the site file has an end here, and the address of its BMC, where nobody listens.
            try await conductor.ip("link add segment-c type veth peer name far")
            try await conductor.ip("address add 10.66.0.1/24 dev segment-c")
            try await conductor.ip("address add 10.66.0.2/32 dev lo")
            try await conductor.ip("link set segment-c up")
            try await conductor.ip("link set far up")
            let line = try #require(ReadmeCommand.all.first { $0.text.hasPrefix("muster-conductor") }).text
                .replacing("/var/lib/muster", with: conductor.state)
            try await conductor.start(line)
            let applied = try await conductor.type("muster site apply \(conductor.path("site.yaml"))")
            try #require(applied.status == 0, "\(applied.output)")
            try await body(scene)
        }
    }

    private init(_ scene: ConductorScene) {
        self.scene = scene
        paths = [
            "@state": scene.state, "@site": scene.path("site.yaml"), "@image": scene.path("node-network.raw"),
            "@inventory": scene.path("inventory.json"), "@out": scene.path("boot"),
        ]
    }

    /// Types `line` beside the conductor.
    func type(_ line: String) async throws -> Shell.Answer { try await scene.type(line) }

    /// What a user has in files.
    private func files() throws {
        try FileManager.default.createDirectory(
            atPath: scene.path("state/logs/\(Self.id(1).raw)"), withIntermediateDirectories: true)
        try scene.program("ssh", "#!/bin/sh\necho \"$@\"\n")
        try scene.write(
            "site.yaml",
            try String(contentsOfFile: "\(Shell.package)/Inventory/example-rack/site-bond.yaml", encoding: .utf8))
        var random = SeededRandom(seed: 7)
        let image = (0..<(3 << 17)).flatMap { _ in withUnsafeBytes(of: random.next()) { Array($0) } }
        try Data(image).write(to: URL(filePath: scene.path("node-network.raw")))
        try Data(try Self.inventory()).write(to: URL(filePath: scene.path("inventory.json")))
        for (source, text) in [
            ("compute-agent", "info the hypervisor is there"), ("discovery-agent", "info the ramdisk is up"),
            ("console", "a kernel speaks"),
        ] {
            try scene.write("state/logs/\(Self.id(1).raw)/\(source).1.log", "\(SystemWallClock().now) \(text)\n")
        }
    }

    private static func inventory() throws -> [UInt8] {
        let text = String(
            decoding: try JSONEncoder().encode(FleetScene.inventory(now: SystemWallClock().now)), as: UTF8.self)
        return Array(text.replacing("7BQ2X83", with: serial).utf8)
    }

    private static func id(_ number: UInt8) -> NodeID {
        guard let id = try? NodeID("00000000-0000-4000-8000-0000000000" + Hex.encode([number])) else {
            preconditionFailure("a number makes an identifier")
        }
        return id
    }

    // MARK: The store

    private func seed() async throws {
        let state = scene.state
        chmod(state, 0o700)
        let clock = SystemWallClock()
        let store = try await SQLiteStore.open(path: "\(state)/store.sqlite", clock: clock)
        let inventory = try FileBlobStore(directory: "\(state)/blobs", clock: clock).put(try Self.inventory())
        for resource in machines(now: clock.now, inventory: inventory) {
            _ = try await store.commit(Transaction(operations: [try Stored(new: resource).put()]))
        }
        for operation in try others(now: clock.now) {
            _ = try await store.commit(Transaction(operations: [operation]))
        }
        try await store.close()
    }

    private func machines(now: Timestamp, inventory: Digest) -> [Node] {
        let active: [(String, Role)] = [
            ("compute-1", .compute), ("network-1", .network), ("network-2", .network), ("storage-1", .storage),
        ]
        var nodes = active.enumerated().map { index, machine in
            node(machine.0, UInt8(index + 1), now, inventory) { node in
                node.spec.role = machine.1
                node.status.state = .active
                node.status.deployed = Generation(1)
                node.status.attempted = Generation(1)
            }
        }
        nodes[0].spec.bmc = "elm-bmc-2"
        nodes.append(node("spare-1", 5, now, inventory) { $0.status.state = .available })
        for number in UInt8(1)...3 {
            nodes.append(
                node("stranger-\(number)", 5 + number, now, inventory) { node in
                    node.spec.approval = nil
                    node.spec.role = number == 2 ? .network : nil
                    node.status.state = .enroll
                    node.status.wait = Node.Wait(
                        cause: "nobody has let this machine in", owner: .operator,
                        deadline: now.advanced(by: .seconds(600_000)),
                        next: "muster node approve stranger-\(number) --role ROLE")
                })
        }
        return nodes
    }

    private func node(
        _ name: String, _ number: UInt8, _ now: Timestamp, _ inventory: Digest, _ change: (inout Node) -> Void
    ) -> Node {
        let id = Self.id(number)
        let mac = MACAddress(bytes: [0x52, 0x54, 0, 0, 9, number])
        var node = Node(
            metadata: Metadata(name: id.raw, schemaVersion: Node.schemaVersion, created: now),
            spec: Node.Spec(name: name),
            status: Node.Status(state: .enroll, since: now, identity: MachineIdentity(macs: [mac])))
        node.spec.deployment = Generation(1)
        node.spec.approval = Node.Approval(by: "operator:admin", at: now, number: 1)
        node.status.approvalSeen = 1
        node.status.inventory = inventory
        node.status.summary = InventorySummary(
            model: "Dell Inc. PowerEdge R650", processors: 64, memory: .gibibytes(256),
            disks: [.init(serial: "S6XNNE0T3101", size: .gibibytes(447))], firmware: "uefi")
        change(&node)
        return node
    }

    /// What is not a machine: its events, addresses, and a machine that claims to be another.
    private func others(now: Timestamp) throws -> [Transaction.Operation] {
        let (id, mac) = (Self.id(1), MACAddress(bytes: [0x52, 0x54, 0, 0, 9, 1]))
        var operations: [Transaction.Operation] = []
        func add<R: Resource>(_ resource: R) throws { operations.append(try Stored(new: resource).put()) }
        func metadata(_ name: String) -> Metadata { Metadata(name: name, schemaVersion: 1, created: now) }
        for (index, (ago, type, message)) in FleetScene.story.prefix(5).enumerated() {
            try add(
                NodeEvent(
                    metadata: metadata("\(id).\(1_000 + index)"),
                    spec: .init(node: id, time: now.advanced(by: .seconds(-ago)), type: type, message: message)))
        }
        let address = try IPv4Address("10.66.0.61")
        try add(
            Lease(
                metadata: metadata(Lease.name(segment: "provisioning", address: address)),
                spec: .init(segment: "provisioning", address: address, mac: mac),
                status: .init(phase: .bound, expires: now.advanced(by: .seconds(3600)), lastSeen: now)))
        try add(
            SegmentEvent(
                metadata: metadata("provisioning.1000"),
                spec: .init(
                    segment: "provisioning", time: now, type: "AddressInUse",
                    message: "10.66.0.77 is used by a machine that it was not given to")))
        try add(
            IdentityConflict(
                metadata: metadata("claim-1"),
                spec: .init(
                    claim: MachineIdentity(macs: [mac]), nodes: [id], reason: "it has the MAC address of compute-1"),
                status: .init(lastSeen: now, count: 1)))
        return operations
    }
}
