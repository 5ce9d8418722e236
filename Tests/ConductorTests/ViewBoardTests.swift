import AgentProtocol
import BareMetal
import CatalogBareMetal
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@testable import ConductorServer

/// Views are made anew only for nodes that a change concerns; that has to come to the same as making all of them anew.
@Suite struct ViewBoardTests {
    private static let time = Timestamp(millisecondsSinceEpoch: 0)
    private static let count = 12

    private static func id(_ number: Int) -> String { "00000000-0000-4000-8000-0000000000\(10 + number)" }

    private static func node(_ number: Int, _ random: inout SeededRandom) throws -> Node {
        let states: [NodeState] = [.active, .available, .deploying(.checking)]
        var node = Node(
            metadata: Metadata(name: id(number), schemaVersion: Node.schemaVersion, created: time),
            spec: Node.Spec(name: "n\(number)"),
            status: Node.Status(
                state: states.randomElement(using: &random)!, since: time,
                identity: MachineIdentity(macs: [MACAddress(bytes: [2, 0, 0, 0, 0, UInt8(number)])])))
        node.spec.role = [Role.compute, .network, .storage, .controller].randomElement(using: &random)
        if Bool.random(using: &random) { node.spec.network = "bonded" }
        if Int.random(in: 0..<4, using: &random) > 0 {
            let address = try IPv4Address("10.0.\(Int.random(in: 0..<2, using: &random)).\(number + 1)")
            node.status.agent = Node.Agent(
                version: "1", bootID: "b", isConnected: true, since: time, addresses: [address])
        }
        return node
    }

    private static var template: NodeNetwork {
        NodeNetwork(
            metadata: Metadata(name: "bonded", schemaVersion: 1, created: time),
            spec: NodeNetwork.Spec(
                interfaces: [.init(name: "card", match: .name("eth0"))],
                addresses: [.init(on: "card", network: "fabric", source: .pool)]))
    }

    private static func change(_ random: inout SeededRandom) throws -> Transaction.Operation {
        let number = Int.random(in: 0..<count, using: &random)
        switch Int.random(in: 0..<16, using: &random) {
        case 0: return .delete(Node.key(id(number)))
        case 1:
            let spec = Site.Spec(
                name: "lab", sshKeys: [], metricsIntervalSeconds: Int.random(in: 5..<20, using: &random),
                overlay: Bool.random(using: &random) ? Site.Spec.Overlay(vni: 7, mtu: 1400) : nil)
            return try Stored(
                new: Site(metadata: Metadata(name: Site.name, schemaVersion: 1, created: time), spec: spec)
            ).put()
        case 2, 3:
            let address = IPv4Address(0x0A58_0000 + UInt32(number))
            let assignment = AddressAssignment(
                metadata: Metadata(name: "fabric-\(address)", schemaVersion: 1, created: time),
                spec: AddressAssignment.Spec(
                    network: "fabric", address: address,
                    node: try NodeID(id(Int.random(in: 0..<count, using: &random)))))
            return Bool.random(using: &random) ? try Stored(new: assignment).put() : .delete(assignment.key)
        case 4:
            let plane: Plane = Bool.random(using: &random) ? .underlay : .storage
            return try Stored(
                new: PlaneNetwork(
                    metadata: Metadata(name: "fabric", schemaVersion: 1, created: time),
                    spec: PlaneNetwork.Spec(plane: plane, network: try IPv4Network("10.0.1.0/24")))
            ).put()
        case 5...7:
            let lease = lease(
                number, to: Int.random(in: 0..<count, using: &random), of: segments.randomElement(using: &random)!)
            return Int.random(in: 0..<3, using: &random) > 0 ? try Stored(new: lease).put() : .delete(lease.key)
        case 8:
            return try Stored(
                new: segment(segments.randomElement(using: &random)!, server: .random(in: 1...3, using: &random))
            ).put()
        default: return try Stored(new: node(number, &random)).put()
        }
    }

    private static let segments = ["left", "right"]

    private static func segment(_ name: String, server: UInt8) throws -> Segment {
        Segment(
            metadata: Metadata(name: name, schemaVersion: Segment.schemaVersion, created: time),
            spec: Segment.Spec(
                interface: nil, network: try IPv4Network("10.9.0.0/24"),
                server: IPv4Address(bytes: [10, 9, 0, server]), pools: []))
    }

    /// The lease of the address with this number in `segment`, for the machine with that number.
    private static func lease(_ number: Int, to machine: Int, of segment: String) -> Lease {
        let address = IPv4Address(bytes: [10, 9, 0, UInt8(100 + number)])
        return Lease(
            metadata: Metadata(
                name: Lease.name(segment: segment, address: address), schemaVersion: Lease.schemaVersion, created: time),
            spec: Lease.Spec(
                segment: segment, address: address, mac: MACAddress(bytes: [2, 0, 0, 0, 0, UInt8(machine)])),
            status: Lease.Status(
                phase: .bound, expires: time, lastSeen: time.advanced(by: .seconds(Int64(number * 20 + machine)))))
    }

    @Test(arguments: 0..<8 as Range<UInt64>)
    func `what changes concern is all that changes`(seed: UInt64) async throws {
        let store = MemoryStore()
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let cache = ResourceCache(
            store: store, kinds: LiveCatalog.kinds, indexes: LiveCatalog.indexes, logger: logger)
        try await withThrowingTaskGroup { group in
            group.addTask { try await cache.run() }
            defer { group.cancelAll() }
            try await withDeadline {
                _ = try await store.commit(Transaction(operations: [try Stored(new: Self.template).put()]))
                try await cache.barrier()
                let board = ViewBoard(cache)
                var random = SeededRandom(seed: seed)
                var views: [String: [String: NodeView.Item]] = [:]
                for _ in 0..<120 {
                    var operations: [ResourceKey: Transaction.Operation] = [:]
                    for _ in 0..<Int.random(in: 1...3, using: &random) {
                        let operation = try Self.change(&random)
                        operations[operation.key] = operation
                    }
                    let revision = try await store.commit(Transaction(operations: Array(operations.values)))
                    try await cache.wait(for: revision)
                    let news = board.advance()
                    for node in news.ground.now.all(Node.self) where news.nodes.concerns(node) {
                        views[node.metadata.name] = Self.view(node, news.ground)
                    }
                    let fresh = Self.fresh(cache.snapshot())
                    for node in fresh.now.all(Node.self) {
                        #expect(views[node.metadata.name] == Self.view(node, fresh), "\(node.spec.name) at \(revision)")
                    }
                }
            }
        }
    }

    @Test func `a lease concerns the controller node whose it is, and of a large fleet nobody else`() async throws {
        let store = MemoryStore()
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let cache = ResourceCache(
            store: store, kinds: LiveCatalog.kinds, indexes: LiveCatalog.indexes, logger: logger)
        var random = SeededRandom(seed: 1)
        var operations = try (0..<90).map { number in
            var node = try Self.node(number, &random)
            node.spec.role = number == 7 ? .controller : .network
            return try Stored(new: node).put()
        }
        operations.append(try Stored(new: Self.segment("left", server: 1)).put())
        _ = try await store.commit(Transaction(operations: operations))
        try await cache.load()
        let board = ViewBoard(cache)
        _ = board.advance()
        func concerned(by lease: Lease) async throws -> ViewBoard.Concerned {
            _ = try await store.commit(Transaction(operations: [try Stored(new: lease).put()]))
            try await cache.load()
            return board.advance().nodes
        }
        #expect(try await concerned(by: Self.lease(1, to: 8, of: "left")) == .some([]))
        #expect(try await concerned(by: Self.lease(2, to: 7, of: "left")) == .some([Self.id(7)]))
        #expect(try await concerned(by: Self.lease(2, to: 8, of: "left")) == .some([Self.id(7)]), "it has lost it")
        _ = try await store.commit(Transaction(operations: [try Stored(new: Self.segment("left", server: 2)).put()]))
        try await cache.load()
        #expect(board.advance().nodes == .roles([.controller], and: []))
    }

    private static func fresh(_ now: CacheSnapshot) -> ViewGround {
        var ground = ViewGround(now: now)
        _ = ground.advance(to: now, CacheChange(keys: [], revision: now.revision, isEverything: true))
        return ground
    }

    private static func view(_ node: Node, _ ground: ViewGround) -> [String: NodeView.Item] {
        let server = node.spec.role == .controller ? LiveCatalog.segment(of: node, in: ground.now)?.spec.server : nil
        return NodeViewProjection.view(
            of: node, site: ground.now.get(Site.self, Site.name)?.spec, networks: ground.networks, ends: ground.ends,
            conductors: server.map { ["\($0):9443"] } ?? [], revision: Revision(1)
        ).items
    }
}
