import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel

/// The one writer of nodes' status: makes the pure step and commits it by compare-and-swap together with its events.
///
/// `NodeController` and the simulator both write through it.
public struct NodeWriter: Sendable {
    /// Names the events of this process.
    public let events = EventSequence()

    private let store: any ResourceStore
    private let machine: NodeMachine

    /// What a step came to.
    public struct Written: Sendable {
        /// The node after the step.
        public var node: Node
        /// The events that were committed with it.
        public var events: [NodeEvent]
        /// What has to be done for it now, in order; never `.record`.
        public var effects: [NodeEffect]
    }

    /// A writer to `store`.
    public init(store: any ResourceStore, machine: NodeMachine = NodeMachine()) {
        self.store = store
        self.machine = machine
    }

    /// Makes the step for `input` on the node `id` at `now`.
    ///
    /// Throws `InvalidTransition` when the state refuses the input, `UnknownNode`, or `StoreError`.
    public func write(_ input: NodeInput, to id: NodeID, now: Timestamp) async throws -> Written {
        for attempt in 0..<StoreContention.attemptCountMax {
            guard var stored = try await store.fetch(Node.self, id.raw) else { throw UnknownNode(id: id) }
            let before = stored.value
            let (node, effects) = try machine.step(before, input, now: now)
            stored.value = node
            var written = Written(node: node, events: [], effects: [])
            for effect in effects {
                if case .record(let type, let message) = effect {
                    written.events.append(events.event(node: id, type: type, message: message, now: now))
                } else {
                    written.effects.append(effect)
                }
            }
            guard node != before || !written.events.isEmpty else { return written }
            var transaction = Transaction(conditions: [stored.unchanged], operations: [try stored.put()])
            for event in written.events { transaction.operations.append(try Stored(new: event).put()) }
            do {
                _ = try await store.commit(transaction)
                return written
            } catch {
                guard case .conflict = error else { throw error }
            }
            await StoreContention.giveWay(after: attempt)
        }
        throw StoreError.conflict(Node.key(id.raw))
    }
}
