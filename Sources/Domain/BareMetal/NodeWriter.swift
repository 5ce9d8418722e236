import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel

/// The one writer of nodes' status: makes the pure step and commits it by compare-and-swap together with its events.
///
/// `NodeController` and the simulator both write through it.
public struct NodeWriter: Sendable {
    /// Names the events of this process.
    public let events: EventSequence

    private let store: any ResourceStore
    private let machine: NodeMachine

    /// What a step came to.
    public struct Written: Sendable {
        /// The node after the step.
        public var node: Node
        /// The events that were committed with it.
        public var events: [NodeEvent]
        /// What has to be done for it now, in order; never `.record` nor `.keep`.
        public var effects: [NodeEffect]
    }

    /// A writer to `store`.
    public init(
        store: any ResourceStore, machine: NodeMachine = NodeMachine(), events: EventSequence = EventSequence()
    ) {
        self.store = store
        self.events = events
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
            var facts: Transaction.Operation?
            for effect in effects {
                switch effect {
                case .record(let type, let message):
                    written.events.append(events.event(node: id, type: type, message: message, now: now))
                case .keep(let told): facts = try await changed(told, id, now)
                case .verifyBMC, .boot, .power: written.effects.append(effect)
                }
            }
            guard node != before || !written.events.isEmpty || facts != nil else { return written }
            var transaction = Transaction(conditions: [stored.unchanged], operations: [try stored.put()])
            if let facts { transaction.operations.append(facts) }
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

    /// Writes facts; nil when they are known. Nobody else writes them, and the node's own condition guards them.
    private func changed(
        _ told: RoleFacts, _ id: NodeID, _ now: Timestamp
    ) async throws(StoreError) -> Transaction.Operation? {
        let status = NodeFacts.Status(facts: told.fitting(NodeFacts.sizeMax), changed: now)
        guard var stored = try await store.fetch(NodeFacts.self, id.raw) else {
            let metadata = Metadata(name: id.raw, schemaVersion: NodeFacts.schemaVersion, created: now)
            return try Stored(
                new: NodeFacts(metadata: metadata, spec: NodeFacts.Spec(node: id), status: status)
            ).put()
        }
        guard stored.value.status.facts != status.facts else { return nil }
        stored.value.status = status
        return try stored.put()
    }
}
