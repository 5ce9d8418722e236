import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel

/// Which nodes shall have which addresses of which networks: a pure function.
///
/// An address once given stays with its node until the node or the network is gone, the network's range no longer has
/// it, or the site gives it to a node by name; those that are not in use now are taken back when a pool is empty.
public enum AddressPlan {
    /// One change.
    public enum Step: Sendable, Hashable {
        /// Give the node this address.
        case assign(AddressAssignment.Spec)
        /// Take it back.
        case release(AddressAssignment.Spec)
    }

    /// The changes from `assignments` to what `nodes` need; those whose pool is empty get nothing.
    public static func make(
        nodes: [Node], catalog: NetworkCatalog, assignments: [AddressAssignment.Spec]
    ) -> [Step] {
        var steps: [Step] = []
        let sorted = nodes.sorted { $0.metadata.name < $1.metadata.name }
        let known = Set(sorted.compactMap { try? $0.id })
        let names = Dictionary(
            sorted.compactMap { node in (try? node.id).map { ($0, node.spec.name) } }, uniquingKeysWith: { $1 })
        var needs: [String: [(NodeID, String)]] = [:]
        for node in sorted {
            guard let id = try? node.id else { continue }
            for network in needed(by: node, in: catalog) { needs[network, default: []].append((id, node.spec.name)) }
        }
        for (name, network) in catalog.networks.sorted(by: { $0.key < $1.key }) {
            var held = assignments.filter { $0.network == name }
            let named = Dictionary(network.hosts.map { ($1, $0) }) { first, _ in first }
            let bad = held.filter { held in
                !known.contains(held.node) || isWrong(held.address, of: names[held.node], in: network, named)
            }
            steps += bad.sorted { $0.address < $1.address }.map { .release($0) }
            held.removeAll { bad.contains($0) }
            give(needs[name] ?? [], name, network, held, &steps)
        }
        let gone = assignments.filter { catalog.networks[$0.network] == nil }
        return steps + gone.map { .release($0) }
    }

    /// The networks of which `node` needs an address from the pool.
    private static func needed(by node: Node, in catalog: NetworkCatalog) -> Set<String> {
        guard node.spec.approval != nil, let template = node.spec.network.flatMap({ catalog.templates[$0] }) else {
            return []
        }
        return Set(template.addresses.filter { $0.source == .pool }.map(\.network))
    }

    /// The networks of which `node` has no address yet and needs one, in order; those that the site lacks left out.
    static func lacks(_ node: Node, in catalog: NetworkCatalog) -> [String] {
        let held = (try? node.id).flatMap { catalog.assigned[$0] } ?? [:]
        return needed(by: node, in: catalog).filter { held[$0] == nil && catalog.networks[$0] != nil }.sorted()
    }

    /// Whether `node` has an address that is to be taken back.
    static func isWrong(_ node: Node, in catalog: NetworkCatalog) -> Bool {
        let held = (try? node.id).flatMap { catalog.assigned[$0] } ?? [:]
        return held.contains { name, address in
            guard let network = catalog.networks[name] else { return true }
            let named = network.hosts.first { $0.value == address }.map { [$0.value: $0.key] } ?? [:]
            return isWrong(address, of: node.spec.name, in: network, named)
        }
    }

    /// Whether the node called `owner` may not keep `address`; `named` tells which addresses are whose by name.
    private static func isWrong(
        _ address: IPv4Address, of owner: String?, in network: PlaneNetwork.Spec, _ named: [IPv4Address: String]
    ) -> Bool {
        let byName = named[address]
        let own = owner.flatMap { network.hosts[$0] }
        return !network.network.contains(address) || (byName != nil && byName != owner)
            || (own != nil && own != address)
    }

    private static func give(
        _ needs: [(id: NodeID, name: String)], _ name: String, _ network: PlaneNetwork.Spec,
        _ held: [AddressAssignment.Spec], _ steps: inout [Step]
    ) {
        let owners = Set(held.map(\.node))
        let wanting = needs.filter { !owners.contains($0.id) }
        guard !wanting.isEmpty else { return }
        var taken = Set(held.map(\.address)).union(network.hosts.values)
        if let gateway = network.gateway { taken.insert(gateway) }
        let needed = Set(needs.map(\.id))
        var idle = held.filter { !needed.contains($0.node) }.sorted { $0.address < $1.address }
        var next = network.poolStart?.value ?? 1
        let end = network.poolEnd?.value ?? 0
        for node in wanting {
            if let own = network.hosts[node.name] {
                steps.append(.assign(AddressAssignment.Spec(network: name, address: own, node: node.id)))
                continue
            }
            while next <= end, taken.contains(IPv4Address(next)) { next += 1 }
            if next <= end {
                steps.append(
                    .assign(AddressAssignment.Spec(network: name, address: IPv4Address(next), node: node.id)))
                taken.insert(IPv4Address(next))
            } else if !idle.isEmpty {
                // Given in the next round, once it has been taken back.
                steps.append(.release(idle.removeFirst()))
            }
        }
    }
}
