import AgentProtocol
import CatalogBareMetal
import Logging
import Primitives
import ResourceModel
import ServiceLifecycle
import Synchronization

/// Carries out what a node's life asks of its BMC.
public protocol MachinePower: Sendable {
    /// Whether the node's BMC answers with its credentials; false when the node has no BMC.
    func verify(_ node: Node) async throws -> Bool
    /// Sets the boot order and resets the power, or switches it on.
    func boot(_ node: Node, _ order: BootOrder) async throws
    /// Carries out an operator's order.
    func power(_ node: Node, _ action: Node.PowerRequest.Action) async throws
}

/// Which nodes have changed.
public enum NodeChanges: Sendable, Hashable {
    /// Any may have.
    case all
    /// These.
    case some(Set<NodeID>)
}

/// Takes what happens to nodes, writes it through `NodeWriter`, then has the effects carried out and feeds their
/// answers back.
///
/// Any conductor takes inputs, by a controller that only commits. One conductor leads, and its controller carries out what
/// is owed by what is committed (`NodeMachine.owed`), whoever committed it: a conductor that dies after its commit has
/// swallowed nothing. What a leader swallows is asked for again by the next: it feeds each node `NodeInput.resumed`.
public struct NodeController: Service {
    private let writer: NodeWriter
    private let nodes: @Sendable () -> [Node]
    private let node: @Sendable (NodeID) -> Node?
    private let late: @Sendable (Timestamp) -> [Node]
    private let changes: @Sendable () -> AsyncStream<NodeChanges>
    private let power: any MachinePower
    private let clock: any WallClock
    private let runs: @Sendable () -> Set<String>
    private let logger: Logger
    private let pause: @Sendable (Duration) async throws -> Void
    /// What is to be carried out; `run` takes it out, and so does the simulator, which has no `run`.
    let effects: AsyncStream<PendingEffect>
    private let effectQueue: AsyncStream<PendingEffect>.Continuation

    private let orders = Orders()
    private let duty: Duty

    /// What a controller does beside committing steps.
    public enum Duty: Sendable, Hashable {
        /// Carries out what follows from them, and looks after all nodes.
        case leads
        /// Nothing: the controller of the conductor that leads does.
        case takesInputs
    }

    /// Which orders need not be queued once more.
    private final class Orders: Sendable {
        private struct State {
            var powerOrders: Set<String> = []
            /// The newest effect of each node that was queued, by what it can be told from the next.
            var newest: [String: String] = [:]
        }

        private let state = Mutex(State())

        /// False when it is under way already, or, for what is read off the node again and again, was done.
        func begin(_ pending: PendingEffect) -> Bool {
            state.withLock { state in
                if let order = pending.powerOrder { return state.powerOrders.insert(order).inserted }
                return state.newest.updateValue(pending.mark, forKey: pending.node.metadata.name) != pending.mark
            }
        }

        /// Forgets nodes that have been deleted.
        func forget(but nodes: [Node]) {
            state.withLock { state in
                guard state.newest.count > nodes.count else { return }
                let names = Set(nodes.map(\.metadata.name))
                state.newest = state.newest.filter { names.contains($0.key) }
            }
        }

        /// It may be asked for again.
        func end(_ pending: PendingEffect, isDone: Bool) {
            state.withLock { state in
                if let order = pending.powerOrder { state.powerOrders.remove(order) }
                if !isDone { state.newest[pending.node.metadata.name] = nil }
            }
        }
    }

    struct PendingEffect: Sendable {
        var node: Node
        var effect: NodeEffect

        /// Names a power order; nil for other effects.
        var powerOrder: String? {
            guard case .power(let number, _) = effect else { return nil }
            return "\(node.metadata.name)/\(number)"
        }

        /// Tells the effect from the next one of the same kind: each wait has a deadline of its own.
        var mark: String {
            "\(effect) \(node.status.state) \(node.status.wait?.deadline.millisecondsSinceEpoch ?? 0)"
        }
    }

    /// Seconds between two looks for what changes have not brought about.
    static let secondLookInterval = 30

    /// The most effects that wait to be carried out.
    public static let effectQueueMax = 20_000
    /// Nodes resumed at once, so that their commits share waits for the disk.
    static let resumeConcurrencyMax = 64
    /// The most effects carried out at once: BMCs are slow, and many are asked.
    static let effectConcurrencyMax = 64

    /// A controller.
    /// - Parameters:
    ///   - nodes: all nodes as the cache has them now.
    ///   - node: one of them.
    ///   - late: those whose deadline has come at a time.
    ///   - changes: begins with `.all` once the nodes are known, then tells which have changed; may coalesce.
    ///   - duty: what it does beside committing steps.
    ///   - runs: the runs of conductors that are there, this one included; see `Node.Stream`.
    ///   - pause: waits until the store may take writes again.
    public init(
        writer: NodeWriter, nodes: @escaping @Sendable () -> [Node], node: @escaping @Sendable (NodeID) -> Node?,
        late: @escaping @Sendable (Timestamp) -> [Node],
        changes: @escaping @Sendable () -> AsyncStream<NodeChanges>, power: any MachinePower, clock: any WallClock,
        runs: @escaping @Sendable () -> Set<String>, duty: Duty = .leads, logger: Logger,
        pause: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
    ) {
        self.pause = pause
        self.writer = writer
        self.nodes = nodes
        self.node = node
        self.late = late
        self.changes = changes
        self.power = power
        self.clock = clock
        self.runs = runs
        self.duty = duty
        self.logger = logger
        (effects, effectQueue) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(Self.effectQueueMax))
    }

    /// Makes the step for `input` and commits it; the effects are carried out later.
    ///
    /// Throws `InvalidTransition` when the state refuses the input, `UnknownNode`, or `StoreError`.
    @discardableResult
    public func submit(_ input: NodeInput, to id: NodeID) async throws -> Node {
        let written = try await writer.write(input, to: id, now: clock.now)
        for event in written.events {
            logger.info("\(written.node.spec.name): \(event.spec.message)", metadata: ["event": "\(event.spec.type)"])
        }
        if duty == .leads { enqueue(written.effects, for: written.node) }
        return written.node
    }

    private func enqueue(_ effects: [NodeEffect], for node: Node) {
        for effect in effects {
            let pending = PendingEffect(node: node, effect: effect)
            // An order is asked for until it is done; it must not be carried out as often.
            guard orders.begin(pending) else { continue }
            if case .dropped = effectQueue.yield(pending) {
                orders.end(pending, isDone: false)
                logger.error("the queue of BMC orders is full; \(node.spec.name)'s order is asked for again later")
            }
        }
    }

    /// Carries effects out, follows specifications and watches deadlines until it is cancelled.
    public func run() async throws {
        await withDiscardingTaskGroup { group in
            group.addTask { await carryOutEffects() }
            group.addTask { await follow() }
            await gracefulShutdownOrCancellation()
            group.cancelAll()
        }
    }

    private func gracefulShutdownOrCancellation() async {
        try? await gracefulShutdown()
    }

    /// Resumes all nodes once they are known, and only then looks at changes and deadlines.
    private func follow() async {
        var changes = changes().makeAsyncIterator()
        guard await changes.next() != nil else { return }
        await resume()
        await withDiscardingTaskGroup { group in
            group.addTask { await watchDeadlines() }
            var change: NodeChanges? = .all
            while let news = change {
                await followSpecifications(news)
                change = await changes.next()
            }
            group.cancelAll()
        }
    }

    /// Resumes many nodes beside each other, so that a large fleet is not resumed one wait for the disk after the other.
    func resume() async {
        await withDiscardingTaskGroup { group in
            let gate = AsyncSemaphore(limit: Self.resumeConcurrencyMax)
            let runs = runs()
            for node in nodes() where !Task.isCancelled {
                await gate.enter()
                group.addTask {
                    await tell(.resumed(runs: runs), to: node)
                    gate.leave()
                }
            }
        }
    }

    /// Tells the nodes whose stream's conductor has gone, or is there after all, which runs of conductors there are.
    public func followConductors() async {
        await withDiscardingTaskGroup { group in
            let gate = AsyncSemaphore(limit: Self.resumeConcurrencyMax)
            let runs = runs()
            for node in nodes() where !Task.isCancelled && NodeMachine.hangs(node, onOthersThan: runs) {
                await gate.enter()
                group.addTask {
                    await tell(.conductorsChanged(runs: runs), to: node)
                    gate.leave()
                }
            }
        }
    }

    /// Follows what is asked for and has not been followed yet.
    func followSpecifications(_ changes: NodeChanges) async {
        switch changes {
        case .all:
            let all = nodes()
            orders.forget(but: all)
            for node in all { await attend(to: node) }
        case .some(let ids): for id in ids { if let node = node(id) { await attend(to: node) } }
        }
    }

    /// Also does what the steps of other controllers have left to do.
    private func attend(to node: Node) async {
        if let effect = NodeMachine.owed(node) { enqueue([effect], for: node) }
        if NodeMachine.needsAttention(node) { await attempt(.specified, on: node) }
    }

    /// Looks at deadlines each second, and now and then for specifications that a failure of the store kept back.
    private func watchDeadlines() async {
        for second in 1... {
            await followDeadlines()
            if second % Self.secondLookInterval == 0 { await followSpecifications(.all) }
            do { try await Task.sleep(for: .seconds(1)) } catch { return }
        }
    }

    /// One look at all deadlines.
    func followDeadlines() async {
        for node in late(clock.now) { await attempt(.tick, on: node) }
    }

    private func attempt(_ input: NodeInput, on node: Node) async {
        do {
            try await submit(input, to: try node.id)
        } catch {
            logger.log(level: error.logLevel(.error), "\(node.spec.name): \(input) was not taken: \(error)")
        }
    }

    /// Like `attempt`, and again each second while the store takes no writes: nothing brings this input a second time.
    private func tell(_ input: NodeInput, to node: Node) async {
        while !Task.isCancelled {
            do {
                try await submit(input, to: try node.id)
                return
            } catch let error as StoreError where error.mayPass {
                logger.log(level: error.logLevel(.error), "\(node.spec.name): \(input) waits for the store: \(error)")
                do { try await pause(.seconds(1)) } catch { return }
            } catch {
                logger.error("\(node.spec.name): \(input) was not taken: \(error)")
                return
            }
        }
    }

    private func carryOutEffects() async {
        await withDiscardingTaskGroup { group in
            let gate = AsyncSemaphore(limit: Self.effectConcurrencyMax)
            for await pending in effects {
                await gate.enter()
                group.addTask {
                    await carryOut(pending)
                    gate.leave()
                }
            }
        }
    }

    /// Does what is to be done, and tells the node what came of it.
    func carryOut(_ pending: PendingEffect) async {
        defer { orders.end(pending, isDone: true) }
        guard let answer = await pending.effect.carriedOut(by: power, for: pending.node) else { return }
        await tell(answer, to: pending.node)
    }
}

extension NodeEffect {
    /// Does it by `power` and gives the input that tells what came of it; nil for a record.
    func carriedOut(by power: any MachinePower, for node: Node) async -> NodeInput? {
        switch self {
        case .verifyBMC:
            do { return .bmcVerified(hasBMC: try await power.verify(node)) } catch { return .bmcFailed(text(error)) }
        case .boot(let order):
            do {
                try await power.boot(node, order)
                return .bootOrdered(order)
            } catch let error as MachineWithoutBMC {
                return .bootLeftToOperator(order, error.publicMessage)
            } catch { return .bmcFailed(text(error)) }
        case .power(let number, let action):
            do {
                try await power.power(node, action)
                return .powerDone(number: number, failure: nil)
            } catch { return .powerDone(number: number, failure: text(error)) }
        case .record, .keep:
            return nil
        }
    }

    private func text(_ error: any Error) -> String {
        (error as? any UserFacingError)?.publicMessage ?? "\(error)".printable(limit: 300)
    }
}

/// There is no node with this identifier.
public struct UnknownNode: UserFacingError, Hashable {
    /// The identifier asked for.
    public let id: NodeID

    /// An error about `id`.
    public init(id: NodeID) { self.id = id }

    public var publicMessage: String { "There is no node \(id). 'muster node list' shows those there are." }
}

/// Names events so that they sort by time, also within one millisecond.
public final class EventSequence: Sendable {
    private let counter: Atomic<UInt64>

    /// Names that begin with number `first`: two sequences beside each other begin far apart.
    public init(first: UInt64 = 0) { counter = Atomic(first) }

    /// A new event of `node`; a long message is cut.
    public func event(node: NodeID, type: String, message: String, now: Timestamp) -> NodeEvent {
        let number = counter.wrappingAdd(1, ordering: .relaxed).newValue
        let time = padded(String(max(0, now.millisecondsSinceEpoch)), to: 14)
        let name = "\(node).\(time)-\(padded(String(number % 1_000_000), to: 6))"
        return NodeEvent(
            metadata: Metadata(name: name, schemaVersion: NodeEvent.schemaVersion, created: now),
            spec: NodeEvent.Spec(node: node, time: now, type: type, message: message.printable(limit: 600)))
    }

    private func padded(_ text: String, to length: Int) -> String {
        String(repeating: "0", count: max(0, length - text.count)) + text
    }
}
