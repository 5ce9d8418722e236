import AgentProtocol
import BareMetal
import CatalogBareMetal
import CatalogIdentity
import Primitives
import ReconcileRuntime
import ResourceModel
import Synchronization

/// What views are made of beside the node itself, as of one revision.
struct ViewGround: Sendable {
    /// The catalog.
    var now: CacheSnapshot
    /// What it says of nodes' networks.
    var networks = NetworkCatalog()
    /// Where the tunnels end.
    var ends = TunnelEnds()
    /// What all nodes are told of the site's authorities, encoded once for as long as it is the same.
    private(set) var trust: JSONValue?
    /// Where all nodes find conductors, encoded once; nil: at the segments' servers, as one conductor needs no list.
    private(set) var agentPorts: JSONValue?
    /// The API's addresses of the conductors that are known.
    private(set) var apis: [String] = []
    /// The nodes that are controllers: where they reach the conductors hangs on their leases and the segments of these.
    private var controllers: Set<String> = []

    /// Nothing is known of what is beside the nodes.
    init(now: CacheSnapshot) { self.now = now }

    /// What a change of concerns all nodes.
    private static let commonKinds = [
        Site.kind, SiteAuthority.kind, PlaneNetwork.kind, NodeNetwork.kind, ConductorEndpoint.kind,
        ControlPlaneRecord.kind,
    ]

    /// Takes the next snapshot, in which `change` has happened; which nodes' views may be others by that.
    mutating func advance(to next: CacheSnapshot, _ change: CacheChange) -> ViewBoard.Concerned {
        let before = now
        now = next
        let kinds = Set(change.keys.map(\.kind))
        guard !change.isEverything, kinds.isDisjoint(with: Self.commonKinds) else {
            networks = LiveCatalog.networks(in: next)
            ends = TunnelEnds(of: next.all(Node.self), in: networks)
            controllers = []
            next.forEach(Node.self) { note($0.metadata.name, $0) }
            trust = next.get(SiteAuthority.self, SiteAuthority.name).flatMap {
                try? NodeView.Item.body(of: TrustItem($0))
            }
            apis = LiveCatalog.told(\.api, \.api, in: next)
            let agents = LiveCatalog.told(\.agents, \.agents, in: next)
            agentPorts = agents.isEmpty ? nil : try? NodeView.Item.body(of: ConductorsItem(agents: agents))
            return .all
        }
        var concerned: Set<String> = []
        var nodes: [(name: String, node: Node?)] = []
        for key in change.keys {
            switch key.kind {
            case Node.kind:
                concerned.insert(key.name)
                nodes.append((key.name, next.get(Node.self, key.name)))
                note(key.name, nodes.last?.node)
            case AddressAssignment.kind:
                let owners = [before, next].compactMap { $0.get(AddressAssignment.self, key.name)?.spec.node }
                for owner in Set(owners) {
                    networks.assign(next.all(LiveCatalog.assignmentsByNode, owner.raw), to: owner)
                    concerned.insert(owner.raw)
                }
            case NodeCertificates.kind: concerned.insert(key.name)
            case Lease.kind: concerned.formUnion(controllers(withLease: key.name, before))
            default: break
            }
        }
        var roles: Set<Role> = kinds.contains(Segment.kind) ? [.controller] : []
        if ends.update(nodes, in: networks) { roles.formUnion([.network, .compute]) }
        return roles.isEmpty ? .some(concerned) : .roles(roles, and: concerned)
    }

    private mutating func note(_ name: String, _ node: Node?) {
        if node?.spec.role == .controller { controllers.insert(name) } else { controllers.remove(name) }
    }

    /// The controller nodes whose lease this is, or was. Leases of other machines come and go by the thousand.
    private func controllers(withLease name: String, _ before: CacheSnapshot) -> Set<String> {
        guard !controllers.isEmpty else { return [] }
        let macs = Set([before, now].compactMap { $0.get(Lease.self, name)?.spec.mac })
        return controllers.filter { now.get(Node.self, $0)?.status.identity.macs.isDisjoint(with: macs) == false }
    }
}

/// Keeps what views are made of, from one change of the catalog to the next, so that a change costs what it concerns.
final class ViewBoard: Sendable {
    /// Which nodes' views a change may have made others.
    enum Concerned: Sendable, Hashable {
        case all
        /// All nodes of these roles, and these.
        case roles(Set<Role>, and: Set<String>)
        /// These, by identifier.
        case some(Set<String>)

        /// Whether it may concern `node`.
        func concerns(_ node: Node) -> Bool {
            switch self {
            case .all: true
            case .roles(let roles, let names):
                names.contains(node.metadata.name) || node.spec.role.map(roles.contains) ?? false
            case .some(let names): names.contains(node.metadata.name)
            }
        }
    }

    /// What has to be published.
    struct News: Sendable {
        var ground: ViewGround
        var nodes: Concerned
    }

    private let follower: CacheFollower
    private let state: Mutex<ViewGround>

    init(_ cache: ResourceCache) {
        follower = cache.follower()
        state = Mutex(ViewGround(now: cache.snapshot()))
    }

    /// The newest ground.
    var ground: ViewGround { state.withLock { $0 } }

    /// One element whenever `advance` will find something.
    func news() -> AsyncStream<Void> { follower.news() }

    /// Takes in what has changed in the catalog; whoever calls it publishes what is returned.
    func advance() -> News {
        state.withLock { ground in
            guard let (next, change) = follower.look() else { return News(ground: ground, nodes: .some([])) }
            guard let change else {
                // Other kinds than those of the cache may have raised its revision.
                ground.now = next
                return News(ground: ground, nodes: .some([]))
            }
            let nodes = ground.advance(to: next, change)
            return News(ground: ground, nodes: nodes)
        }
    }
}
