import BareMetal
import CatalogBareMetal
import Primitives
import ReconcileRuntime
import ResourceModel
import Synchronization

/// All nodes ready to be listed, made anew only where they have changed.
final class NodeViews: Sendable {
    private struct State {
        var owner: String?
        var conductor: String?
        /// The newest change of anything that views are made of.
        var revision: Revision?
        /// All of them in order of their creation, and of their UUIDs where that is the same.
        var all: [NodeView] = []
        var byUUID: [String: NodeView] = [:]
    }

    private let state = Mutex(State())

    private static let kinds = [Node.kind, MachineMembers.kind, BMC.kind, FakeNode.kind]

    /// All nodes as `now` has them, in order of their creation.
    func all(_ now: CacheSnapshot, owner: String?, conductor: String?) -> [NodeView] {
        state.withLock { state in
            let revision = now.lastChange(of: Self.kinds)
            if let known = state.revision, known == revision, state.owner == owner, state.conductor == conductor {
                return state.all
            }
            let old = state.byUUID
            var views: [NodeView] = []
            views.reserveCapacity(state.all.count)
            func add(_ source: NodeSource, _ uuid: String, _ revision: Revision?) {
                let stamp = NodeView.stamp(source, revision: revision, owner: owner, conductor: conductor)
                if let known = old[uuid], known.stamp == stamp {
                    views.append(known)
                } else {
                    views.append(NodeView(source, revision: revision, owner: owner, conductor: conductor))
                }
            }
            for (node, revision) in now.page(IronicAPI.machinesByName, after: nil, limit: .max) {
                add(now.source(node), MachineUUID.uuid(of: node.metadata.name), revision)
            }
            now.forEach(FakeNode.self) { add(.fake($0), $0.metadata.name, nil) }
            views.sort { ($0.created, $0.uuid) < ($1.created, $1.uuid) }
            state = State(
                owner: owner, conductor: conductor, revision: revision, all: views,
                byUUID: Dictionary(views.map { ($0.uuid, $0) }) { first, _ in first })
            return views
        }
    }
}

extension CacheSnapshot {
    /// A machine with what belongs to it.
    func source(_ node: Node) -> NodeSource {
        .machine(node, get(MachineMembers.self, node.metadata.name), node.bmcName.flatMap { get(BMC.self, $0) })
    }

    /// The node of this UUID; nil: there is none.
    func node(uuid: String) -> NodeSource? {
        if let fake = get(FakeNode.self, uuid) { return .fake(fake) }
        for id in MachineUUID.identifiers(of: uuid) { if let node = get(Node.self, id) { return source(node) } }
        return nil
    }

    /// The nodes of this name.
    func nodes(named name: String) -> [NodeSource] {
        guard !name.isEmpty else { return [] }
        return all(IronicAPI.machinesByName, name).map(source)
            + all(IronicAPI.fakeNodesByName, name).map { .fake($0) }
    }
}

extension CacheSnapshot {
    /// Whether there is a node of this UUID.
    func hasNode(_ uuid: String) -> Bool { if case nil = node(uuid: uuid) { false } else { true } }
}
