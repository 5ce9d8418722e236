import AgentProtocol
import BareMetal
import CatalogBareMetal
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import Synchronization
import Testing

/// The conductor of a `SimulatedRack`: the real registrar and writer of nodes over a store in memory, the catalog as
/// a cache that may lag, and after each effect the look whether everything that must always hold does.
final class SimulatedConductor: EffectPerformer {
    private struct State {
        /// The catalog as the cache has it: it may lag behind the store.
        var nodes: [Node] = []
        /// The nodes as of `revision`, so that they are read anew only after a change.
        var stored: (revision: Revision, nodes: [Node]) = (.zero, [])
        var run = 1
        var violations: [String] = []
        var lag: SeededRandom
    }

    private let store: MemoryStore
    private let clock: any WallClock
    private let machineCount: Int
    private let writer: NodeWriter
    private let state: Mutex<State>
    private let random: RandomSource

    init(machineCount: Int, store: MemoryStore, clock: any WallClock, seed: UInt64) {
        self.machineCount = machineCount
        self.store = store
        self.clock = clock
        writer = NodeWriter(store: store)
        random = .seeded(seed ^ 0xC0FFEE)
        state = Mutex(State(lag: SeededRandom(seed: seed ^ 0x1A6)))
    }

    /// What must never be and was.
    var violations: [String] { state.withLock { $0.violations } }

    func nodes() async throws -> [Node] {
        let revision = try await store.currentRevision()
        if let known = state.withLock({ $0.stored.revision == revision ? $0.stored.nodes : nil }) { return known }
        let nodes = try await store.fetchAll(Node.self).map(\.value)
        state.withLock { $0.stored = (revision, nodes) }
        return nodes
    }

    // MARK: Effects

    func perform(_ effect: SimulatedRack.Effect) async -> [SimulatedRack.Event] {
        do {
            try await refresh(mayLag: true)
            let events = try await carryOut(effect)
            try await inspect(after: effect)
            return events
        } catch {
            violate("\(effect): \(error)")
            return []
        }
    }

    private func carryOut(_ effect: SimulatedRack.Effect) async throws -> [SimulatedRack.Event] {
        switch effect {
        case .askBoot(let index, let epoch):
            let node = node(ofMachine: index)
            return [.mayBoot(index, epoch: epoch, fromDisk: node?.bootsItsDisk == true)]
        case .register(let index, let epoch, let answers):
            return try await register(index, epoch, answers: answers)
        case .askOrder(let index, let epoch, let session):
            return try await order(index, epoch, session)
        case .report(let index, let epoch, let session, let order, let stage):
            return try await report(index, epoch, session, order, stage)
        case .enrol(let index, let epoch, let node, let stream):
            return try await enrol(index, epoch, node, stream)
        case .disconnect(let node, let stream):
            return try await submit(.agentDisconnected(self.stream(stream)), to: node)
        case .tell(let input, let node):
            return try await submit(input, to: node)
        case .tick: return try await tick()
        case .operate: return try await operate()
        case .restart(let run):
            state.withLock { $0.run = run }
            var events: [SimulatedRack.Event] = []
            for node in try await nodes() { events += try await submit(.resumed(conductor: "run-\(run)"), to: node.id) }
            return events
        }
    }

    private func register(_ index: Int, _ epoch: Int, answers: Bool) async throws -> [SimulatedRack.Event] {
        let effects = Mutex<[SimulatedRack.Event]>([])
        let registrar = registrar { input, id in
            let (node, events) = try await self.write(input, to: id)
            effects.withLock { $0 += events }
            return node
        }
        let reply: InventoryReply?
        do {
            reply = try await registrar.register(
                InventoryPost(bootID: "boot-\(index)-\(epoch)", inventory: Self.inventory(index)))
        } catch RegistrationError.busy {
            reply = nil
        }
        guard answers else { return effects.withLock { $0 } }
        return effects.withLock { $0 } + [.registered(index, epoch: epoch, session: reply?.session)]
    }

    private func order(_ index: Int, _ epoch: Int, _ session: String) async throws -> [SimulatedRack.Event] {
        try await refresh(mayLag: false)
        guard let node = registrar({ _, _ in throw CancellationError() }).node(withSession: session) else {
            return [.ordered(index, epoch: epoch, .noSession)]
        }
        switch DiscoveryOrders.wanted(of: node) {
        case .wait: return [.ordered(index, epoch: epoch, .wait)]
        case .standBy:
            return [.ordered(index, epoch: epoch, .standBy(number: DiscoveryOrders.number(of: node)))]
        case .rescue:
            if node.status.session?.isTrusted != true || Self.machine(of: node) != index {
                violate("machine \(index) is opened as \(node.spec.name) without right")
            }
            return [.ordered(index, epoch: epoch, .rescue(number: DiscoveryOrders.number(of: node)))]
        case .clean:
            violate("machine \(index) is ordered to empty disks, which nobody has asked for")
            return [.ordered(index, epoch: epoch, .wait)]
        case .deploy:
            let isRightful = node.spec.approval != nil && node.status.session?.isTrusted == true
            if !isRightful || Self.machine(of: node) != index {
                violate("machine \(index) is ordered to write as \(node.spec.name) without right")
            }
            var events: [SimulatedRack.Event] = []
            if node.status.image == nil { events += try await submit(.imageChosen(Self.digest), to: node.id) }
            return events
                + [.ordered(index, epoch: epoch, .deploy(try node.id, number: DiscoveryOrders.number(of: node)))]
        }
    }

    private func report(
        _ index: Int, _ epoch: Int, _ session: String, _ order: UInt64, _ stage: DiscoveryProgress.Stage
    ) async throws -> [SimulatedRack.Event] {
        try await refresh(mayLag: false)
        guard let node = registrar({ _, _ in throw CancellationError() }).node(withSession: session) else {
            return [.reported(index, epoch: epoch, isTaken: false)]
        }
        do {
            let (_, events) = try await write(.progressed(order: order, stage), to: node.id)
            return events + [.reported(index, epoch: epoch, isTaken: true)]
        } catch is InvalidTransition {
            return [.reported(index, epoch: epoch, isTaken: false)]
        }
    }

    /// The installed agent enrols where it has to, opens its stream and reports its role.
    private func enrol(
        _ index: Int, _ epoch: Int, _ node: NodeID, _ stream: UInt64
    ) async throws -> [SimulatedRack.Event] {
        var events: [SimulatedRack.Event] = []
        do {
            switch try await store.fetch(Node.self, node.raw)?.value.status.state {
            case .active, .rescuing, .rescue, .rescueFailed, .unrescuing: break
            default:
                events += try await write(.agentEnrolled, to: node).events
            }
        } catch is InvalidTransition {
            return [.enrolled(index, epoch: epoch, isDone: false)]
        }
        events += try await write(.agentConnected(Walk.hello, self.stream(stream)), to: node).events
        events += try await write(.agentReported(Walk.report(ready: true)), to: node).events
        return events + [.enrolled(index, epoch: epoch, isDone: true)]
    }

    /// What the controller does each second: deadlines, and specifications that the status has not followed.
    private func tick() async throws -> [SimulatedRack.Event] {
        var events: [SimulatedRack.Event] = []
        for node in state.withLock({ $0.nodes }) {
            if NodeMachine.needsAttention(node) { events += try await submit(.specified, to: node.id) }
            if let deadline = node.status.wait?.deadline, deadline <= clock.now {
                events += try await submit(.tick, to: node.id)
            }
        }
        return events
    }

    /// An operator lets in what waits for it, deploys again what has failed, and rescues each machine once.
    private func operate() async throws -> [SimulatedRack.Event] {
        for node in try await nodes() {
            let now = clock.now
            let begins = node.status.state == .active && node.spec.rescue == nil
            guard begins || node.status.state == .rescue || node.status.state == .rescueFailed else { continue }
            try await store.update(Node.self, node.metadata.name) { stored in
                guard var stored, stored.value.status.state == node.status.state else { return nil }
                stored.value.spec.rescue = Node.RescueRequest(
                    number: (stored.value.spec.rescue?.number ?? 0) + 1, by: "operator", at: now,
                    passwordEnds: begins ? now.advanced(by: .seconds(3600)) : nil)
                return stored
            }
        }
        for node in try await nodes() where node.status.wait?.owner == .operator {
            let now = clock.now
            try await store.update(Node.self, node.metadata.name) { stored in
                guard var stored else { return nil }
                stored.value.spec.role = .network
                stored.value.spec.approval = Node.Approval(
                    by: "operator", at: now, number: (stored.value.spec.approval?.number ?? 0) + 1,
                    session: stored.value.status.session?.tokenHash)
                if stored.value.status.state == .deployFailed {
                    stored.value.spec.deployment = stored.value.spec.wantedDeployment.next
                }
                return stored
            }
        }
        return []
    }

    // MARK: Writing

    private func submit(_ input: NodeInput, to id: NodeID) async throws -> [SimulatedRack.Event] {
        do { return try await write(input, to: id).events } catch is InvalidTransition { return [] }
    }

    private func write(_ input: NodeInput, to id: NodeID) async throws -> (node: Node, events: [SimulatedRack.Event]) {
        let written = try await writer.write(input, to: id, now: clock.now)
        let run = state.withLock { $0.run }
        let machine = Self.machine(of: written.node)
        return (written.node, written.effects.map { .orderedBMC($0, machine, node: id, run: run) })
    }

    private func stream(_ number: UInt64) -> Node.Stream {
        Node.Stream(conductor: "run-\(state.withLock { $0.run })", number: number)
    }

    private func registrar(_ submit: @escaping @Sendable (NodeInput, NodeID) async throws -> Node) -> Registrar {
        Registrar(
            store: store, submit: submit, events: writer.events,
            catalog: Registrar.Catalog(
                nodes: { self.state.withLock { $0.nodes } },
                node: { id in self.state.withLock { $0.nodes.first { $0.metadata.name == id.raw } } }, rules: { [] },
                bmcs: { [] }),
            saveInventory: { _ in Self.digest }, clock: clock, random: random)
    }

    // MARK: Looking

    private func refresh(mayLag: Bool) async throws {
        let nodes = try await nodes()
        state.withLock { state in
            if mayLag, Int.random(in: 0..<4, using: &state.lag) == 0 { return }
            state.nodes = nodes
        }
    }

    private func node(ofMachine index: Int) -> Node? {
        state.withLock { $0.nodes.first { Self.machine(of: $0) == index } }
    }

    private func violate(_ what: String) { state.withLock { $0.violations.append("\(clock.now): \(what)") } }

    private func inspect(after effect: SimulatedRack.Effect) async throws {
        let nodes = try await nodes()
        if Set(nodes.map { Self.machine(of: $0) }).count != nodes.count || nodes.count > machineCount {
            violate("one machine is two nodes after \(effect)")
        }
        if Set(nodes.map(\.spec.name)).count != nodes.count { violate("two nodes have one name after \(effect)") }
        for node in nodes {
            let status = node.status
            guard let wait = status.wait else {
                if ![.active, .manageable].contains(status.state) {
                    violate("\(node.spec.name) waits in \(status.state) for nothing after \(effect)")
                }
                continue
            }
            // Deadlines are looked at every thirty seconds, and the cache may lag some looks in a row.
            if wait.deadline.advanced(by: .seconds(600)) < clock.now {
                violate("\(node.spec.name) is \(status.state) past its deadline after \(effect)")
            }
            if wait.cause.isEmpty || wait.next.isEmpty { violate("\(node.spec.name) does not say why it waits") }
        }
    }

    private static let digest = Digest(bytes: [UInt8](repeating: 7, count: 32))

    private static func machine(of node: Node) -> Int { Int(node.status.identity.serial?.dropFirst(2) ?? "") ?? -1 }

    private static func inventory(_ index: Int) -> InventoryReport {
        InventoryReport(
            agentVersion: "0.1.0", collectedAt: Timestamp(millisecondsSinceEpoch: 0), kernelVersion: "6.1.0",
            system: .init(
                serial: "SN\(index)", uuid: "00000000-0000-4000-8000-00000000000\(index)", firmwareMode: .bios),
            cpu: .init(architecture: "x86_64", sockets: 1, cores: 4, threads: 8), memory: .init(total: .gibibytes(8)),
            disks: [.init(name: "vda", path: "/dev/vda", serial: "D-\(index)", size: .gibibytes(100))],
            nics: [
                .init(name: "eth0", mac: MACAddress(bytes: [2, 0, 0, 0, 0, UInt8(index)]), hasLink: true, mtu: 1500)
            ])
    }
}
