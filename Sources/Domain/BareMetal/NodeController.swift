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

/// The only writer of nodes' status: takes inputs, makes the pure step, commits it by compare-and-swap with its
/// events, then has the effects carried out and feeds their answers back.
///
/// An effect that a crash swallows is asked for again: at start every node gets `NodeInput.resumed`.
public struct NodeController: Service {
    private let store: any ResourceStore
    private let nodes: @Sendable () -> [Node]
    private let changes: @Sendable () -> AsyncStream<Void>
    private let power: any MachinePower
    private let clock: any WallClock
    private let machine: NodeMachine
    private let logger: Logger
    private let effects: AsyncStream<PendingEffect>
    private let effectQueue: AsyncStream<PendingEffect>.Continuation
    private let sequence = EventSequence()

    struct PendingEffect: Sendable {
        var node: Node
        var effect: NodeEffect
    }

    /// The most effects that wait to be carried out.
    public static let effectQueueMax = 20_000
    /// The most effects carried out at once: BMCs are slow, and many are asked.
    static let effectConcurrencyMax = 64

    /// A controller.
    /// - Parameters:
    ///   - nodes: all nodes as the cache has them now.
    ///   - changes: fires after nodes have changed; may coalesce.
    public init(
        store: any ResourceStore, nodes: @escaping @Sendable () -> [Node],
        changes: @escaping @Sendable () -> AsyncStream<Void>, power: any MachinePower, clock: any WallClock,
        machine: NodeMachine = NodeMachine(), logger: Logger
    ) {
        self.store = store
        self.nodes = nodes
        self.changes = changes
        self.power = power
        self.clock = clock
        self.machine = machine
        self.logger = logger
        (effects, effectQueue) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(Self.effectQueueMax))
    }

    /// Makes the step for `input` and commits it; the effects are carried out later.
    ///
    /// Throws `InvalidTransition` when the state refuses the input, `UnknownNode`, or `StoreError`.
    @discardableResult
    public func submit(_ input: NodeInput, to id: NodeID) async throws -> Node {
        for _ in 0..<16 {
            guard var stored = try await store.fetch(Node.self, id.raw) else { throw UnknownNode(id: id) }
            let now = clock.now
            let before = stored.value
            let (node, effects) = try machine.step(before, input, now: now)
            stored.value = node
            let events = effects.compactMap { effect -> NodeEvent? in
                guard case .record(let type, let message) = effect else { return nil }
                return sequence.event(node: id, type: type, message: message, now: now)
            }
            guard node != before || !events.isEmpty else {
                enqueue(effects, for: node)
                return node
            }
            var transaction = Transaction(conditions: [stored.unchanged], operations: [try stored.put()])
            for event in events { transaction.operations.append(try Stored(new: event).put()) }
            do {
                _ = try await store.commit(transaction)
            } catch {
                guard case .conflict = error else { throw error }
                continue
            }
            for event in events {
                logger.info("\(node.spec.name): \(event.spec.message)", metadata: ["event": "\(event.spec.type)"])
            }
            enqueue(effects, for: node)
            return node
        }
        throw StoreError.conflict(Node.key(id.raw))
    }

    private func enqueue(_ effects: [NodeEffect], for node: Node) {
        for effect in effects {
            if case .record = effect { continue }
            if case .dropped = effectQueue.yield(PendingEffect(node: node, effect: effect)) {
                logger.error(
                    "the queue of BMC orders is full; \(node.spec.name)'s order is asked for again at its deadline")
            }
        }
    }

    /// Carries effects out, follows specifications and watches deadlines until it is cancelled.
    public func run() async throws {
        await withDiscardingTaskGroup { group in
            group.addTask { await carryOutEffects() }
            group.addTask { await followChanges() }
            group.addTask { await watchDeadlines() }
            await gracefulShutdownOrCancellation()
            group.cancelAll()
        }
    }

    private func gracefulShutdownOrCancellation() async {
        try? await gracefulShutdown()
    }

    private func followChanges() async {
        for node in nodes() { await attempt(.resumed, on: node) }
        var busy: Set<String> = []
        for await _ in changes() {
            for node in nodes() where NodeMachine.needsAttention(node) {
                let mark = "\(node.metadata.name)/\(node.metadata.generation)/\(node.status.state)"
                guard busy.insert(mark).inserted || node.status.state != .active else { continue }
                await attempt(.specified, on: node)
            }
            if busy.count > 50_000 { busy.removeAll() }
        }
    }

    private func watchDeadlines() async {
        while !Task.isCancelled {
            let now = clock.now
            for node in nodes() {
                if let deadline = node.status.wait?.deadline, deadline <= now { await attempt(.tick, on: node) }
            }
            try? await Task.sleep(for: .seconds(1))
        }
    }

    private func attempt(_ input: NodeInput, on node: Node) async {
        do {
            try await submit(input, to: try node.id)
        } catch {
            logger.error("\(node.spec.name): \(input) was not taken: \(error)")
        }
    }

    private func carryOutEffects() async {
        await withDiscardingTaskGroup { group in
            let gate = Gate(limit: Self.effectConcurrencyMax)
            for await pending in effects {
                await gate.enter()
                group.addTask {
                    await carryOut(pending)
                    gate.leave()
                }
            }
        }
    }

    private func carryOut(_ pending: PendingEffect) async {
        let node = pending.node
        let answer: NodeInput
        switch pending.effect {
        case .verifyBMC:
            do { answer = .bmcVerified(hasBMC: try await power.verify(node)) } catch {
                answer = .bmcFailed(text(error))
            }
        case .boot(let order):
            do {
                try await power.boot(node, order)
                answer = .bootOrdered(order)
            } catch {
                answer = .bmcFailed(text(error))
            }
        case .power(let number, let action):
            do {
                try await power.power(node, action)
                answer = .powerDone(number: number, failure: nil)
            } catch {
                answer = .powerDone(number: number, failure: text(error))
            }
        case .record:
            return
        }
        await attempt(answer, on: node)
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
final class EventSequence: Sendable {
    private let counter = Atomic<UInt64>(0)

    func event(node: NodeID, type: String, message: String, now: Timestamp) -> NodeEvent {
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

/// Lets at most `limit` tasks in at once; the others wait in turn.
final class Gate: Sendable {
    private struct State {
        var free: Int
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state: Mutex<State>

    init(limit: Int) { state = Mutex(State(free: limit)) }

    func enter() async {
        await withCheckedContinuation { continuation in
            let mayEnter = state.withLock { state in
                guard state.free == 0 else {
                    state.free -= 1
                    return true
                }
                state.waiting.append(continuation)
                return false
            }
            if mayEnter { continuation.resume() }
        }
    }

    func leave() {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
            state.free += 1
            return nil
        }
        next?.resume()
    }
}
