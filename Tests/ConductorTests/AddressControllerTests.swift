import AgentProtocol
import CatalogBareMetal
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import Synchronization
import TestSupport
import Testing

@testable import BareMetal
@testable import ConductorServer

/// Addresses of nodes in the catalog that a conductor has.
@Suite struct AddressControllerTests {
    private static let time = Timestamp(millisecondsSinceEpoch: 0)

    private static func metadata(_ name: String) -> Metadata { Metadata(name: name, schemaVersion: 1, created: time) }

    private static func id(_ number: Int) throws -> NodeID {
        let digits = String(number)
        return try NodeID("00000000-0000-4000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits)
    }

    private static func node(_ number: Int, network: String? = "plain") throws -> Node {
        var spec = Node.Spec(name: "n\(number)")
        spec.network = network
        spec.approval = Node.Approval(by: "admin", at: time, number: 1)
        return Node(
            metadata: Metadata(name: try id(number).raw, schemaVersion: Node.schemaVersion, created: time), spec: spec,
            status: Node.Status(state: .active, since: time, identity: MachineIdentity()))
    }

    private static func network(last: UInt32, hosts: [String: IPv4Address] = [:]) throws -> PlaneNetwork {
        let first = try IPv4Address("10.88.0.1")
        return PlaneNetwork(
            metadata: metadata("fabric"),
            spec: .init(
                plane: .underlay, network: try IPv4Network("10.88.0.0/20"), poolStart: first,
                poolEnd: IPv4Address(first.value + last - 1), hosts: hosts, gateway: IPv4Address(first.value + 1)))
    }

    private static let template = NodeNetwork(
        metadata: metadata("plain"),
        spec: .init(
            interfaces: [.init(name: "card", match: .name("eth0"))],
            addresses: [.init(on: "card", network: "fabric", source: .pool)]))

    /// A controller over a catalog that follows its store, and what was asked of both.
    private struct Scene: Sendable {
        let store = CountedStore(MemoryStore())
        let catalog: LiveCatalog
        let controller: AddressController
        /// How often it was asked whether somebody has an address.
        let questions = CallCounter()

        init() {
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            let cache = ResourceCache(
                store: store.base, kinds: LiveCatalog.kinds, indexes: LiveCatalog.indexes, logger: logger)
            let catalog = LiveCatalog(cache: cache)
            self.catalog = catalog
            var reads = catalog.addresses
            let (isAssigned, questions) = (reads.isAssigned, questions)
            reads.isAssigned = {
                questions.count()
                return isAssigned($0, $1)
            }
            controller = AddressController(
                store: store, catalog: reads, changes: { catalog.addressChanges() }, clock: ManualWallClock(time),
                logger: logger)
        }

        func put(_ operations: [Transaction.Operation]) async throws {
            let revision = try await store.base.commit(Transaction(operations: operations))
            try await catalog.cache.wait(for: revision)
        }

        var held: [String] {
            catalog.cache.all(AddressAssignment.self).map {
                "\(Int($0.spec.node.raw.suffix(12)) ?? 0) \($0.spec.address)"
            }
            .sorted()
        }

        static func run(_ body: @escaping @Sendable (Scene) async throws -> Void) async throws {
            let scene = Scene()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await scene.catalog.cache.run() }
                defer { group.cancelAll() }
                try await withDeadline { try await body(scene) }
            }
        }
    }

    @Test func `a node that lacks an address costs one commit, no read, and no look at those of others`() async throws {
        try await Scene.run { scene in
            try await scene.put([
                try Stored(new: Self.network(last: 2000)).put(), try Stored(new: Self.template).put(),
            ])
            for number in 1...300 {
                try await scene.put([try Stored(new: Self.node(number)).put()])
                try await scene.controller.settle(Self.id(number))
                try await scene.controller.settle(Self.id(number))
            }
            #expect(scene.store.reads.value == 0)
            #expect(scene.store.commits.value == 300)
            #expect(scene.questions.value < 2 * 300 + 1, "the one given last and the next")
            #expect(scene.held.count == 300)
            #expect(scene.held.contains("1 10.88.0.1") && scene.held.contains("2 10.88.0.3"), "the gateway is nobody's")
            #expect(scene.held.contains("300 10.88.1.45"))
            // What happens to nodes that have all they need is looked at without a read or a commit.
            try await scene.controller.follow(.some(Set(try (1...300).map { try Self.id($0) })))
            #expect(scene.store.reads.value == 0 && scene.store.commits.value == 300)
        }
    }

    @Test func `an address that was taken back is given again, to a node that waits for it at once`() async throws {
        try await Scene.run { scene in
            try await scene.put([try Stored(new: Self.network(last: 3)).put(), try Stored(new: Self.template).put()])
            for number in 1...3 {
                try await scene.put([try Stored(new: Self.node(number)).put()])
                try await scene.controller.follow(.some([Self.id(number)]))
            }
            #expect(scene.held == ["1 10.88.0.1", "2 10.88.0.3"], "the third waits")
            try await scene.put([.delete(Node.key(Self.id(1).raw))])
            try await scene.controller.follow(.some([Self.id(1)]))
            #expect(scene.held == ["2 10.88.0.3", "3 10.88.0.1"])
        }
    }

    @Test func `what a frozen store refuses is assigned once it takes writes again`() async throws {
        let memory = MemoryStore()
        let gate = GatedStore(memory, why: "the site moves")
        let loud = LogLines(from: .warning)
        let cache = ResourceCache(
            store: gate, kinds: LiveCatalog.kinds, indexes: LiveCatalog.indexes, logger: loud.logger)
        let catalog = LiveCatalog(cache: cache)
        let controller = AddressController(
            store: gate, catalog: catalog.addresses, changes: { catalog.addressChanges() },
            clock: ManualWallClock(Self.time), logger: loud.logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await cache.run() }
            group.addTask { try await controller.run() }
            defer { group.cancelAll() }
            try await withDeadline {
                await gate.move(to: .readOnly)
                let revision = try await memory.commit(
                    Transaction(operations: [
                        try Stored(new: Self.network(last: 9)).put(), try Stored(new: Self.template).put(),
                        try Stored(new: Self.node(1)).put(),
                    ]))
                try await cache.wait(for: revision)
                try await Task.sleep(for: .milliseconds(300))
                #expect(cache.all(AddressAssignment.self).isEmpty)
                await gate.move(to: .open)
                try await waitUntil(.seconds(5)) { !cache.all(AddressAssignment.self).isEmpty }
            }
        }
        #expect(loud.all.isEmpty, "\(loud.all)")
    }

    @Test(arguments: 0..<6 as Range<UInt64>)
    func `what follows from changes is what a look at everything comes to`(seed: UInt64) async throws {
        try await Scene.run { scene in
            var random = SeededRandom(seed: seed)
            try await scene.put([try Stored(new: Self.network(last: 8)).put(), try Stored(new: Self.template).put()])
            var changes = scene.catalog.addressChanges().makeAsyncIterator()
            for _ in 0..<80 {
                let number = Int.random(in: 1...10, using: &random)
                let operation: Transaction.Operation =
                    switch Int.random(in: 0..<10, using: &random) {
                    case 0, 1: .delete(Node.key(try Self.id(number).raw))
                    case 2: try Stored(new: Self.node(number, network: nil)).put()
                    case 3:
                        try Stored(
                            new: Self.network(
                                last: .random(in: 4...12, using: &random),
                                hosts: Bool.random(using: &random)
                                    ? ["n\(number)": IPv4Address(0x0A58_0000 + .random(in: 3...12, using: &random))]
                                    : [:])
                        ).put()
                    default: try Stored(new: Self.node(number)).put()
                    }
                // Deleting what is not there changes nothing that would be told.
                if case .delete(let key) = operation, scene.catalog.cache.get(Node.self, key.name) == nil { continue }
                try await scene.put([operation])
                guard let change = await changes.next() else { return }
                try await scene.controller.follow(change)
                let held = scene.catalog.cache.all(AddressAssignment.self).map(\.spec)
                #expect(Set(held.map(\.node)).count == held.count, "no node has two")
                let steps = AddressPlan.make(
                    nodes: scene.catalog.nodes(), catalog: scene.catalog.networks(), assignments: held)
                #expect(steps.isEmpty, "\(steps)")
                if !steps.isEmpty { return }
            }
        }
    }
}

/// Counts calls.
private final class CallCounter: Sendable {
    private let calls = Mutex(0)
    var value: Int { calls.withLock { $0 } }
    func count() { calls.withLock { $0 += 1 } }
}

/// A store that counts what is asked of it.
private final class CountedStore: ResourceStore {
    let base: MemoryStore
    let reads = CallCounter()
    let commits = CallCounter()

    init(_ base: MemoryStore) { self.base = base }

    func currentRevision() async throws(StoreError) -> Revision { try await base.currentRevision() }

    func get(_ key: ResourceKey) async throws(StoreError) -> Document? {
        reads.count()
        return try await base.get(key)
    }

    func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
        reads.count()
        return try await base.list(kind: kind, after: after, limit: limit)
    }

    func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
        commits.count()
        return try await base.commit(transaction)
    }

    func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
        await base.watch(after: revision)
    }

    func compact(through revision: Revision) async throws(StoreError) { try await base.compact(through: revision) }
    func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID {
        try await base.grantLease(timeToLive: timeToLive)
    }
    func renewLease(_ lease: LeaseID) async throws(StoreError) { try await base.renewLease(lease) }
    func revokeLease(_ lease: LeaseID) async throws(StoreError) { try await base.revokeLease(lease) }
}
