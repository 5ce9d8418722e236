import AgentProtocol
import CatalogBareMetal
import Primitives

/// What a controller's view says of the control plane; pure.
enum ControllerViews {
    /// The port of 127.0.0.1 where a proxy tells whether it has a conductor.
    static let readinessPort: UInt16 = 9444

    /// The items of `node`, by key; those of a node that has no part in the control plane are none.
    static func items(
        of node: Node, in plane: ControlPlaneRecord, site: Site.Spec?, networks: [IPv4Network]
    ) -> [String: any ControllerItem] {
        let name = node.spec.name
        guard let own = plane.status.assignments.first(where: { $0.controller == name }) else { return [:] }
        let published = plane.status.assignments.filter { plane.status.published.contains($0.controller) }
            .sorted { $0.controller < $1.controller }
        var items: [String: any ControllerItem] = [:]
        if let member = own.member, let token = plane.status.token {
            items[EtcdMemberItem.key] = EtcdMemberItem(
                name: name, address: own.address, incarnation: member.incarnation, cluster: member.cluster,
                founding: member.founding, token: token, certificate: .store)
        }
        if own.runsConductor { items[ConductorItem.key] = conductor(own, plane) }
        guard published.contains(own) else { return items }
        let others = published.filter { $0 != own }.map(\.address)
        items[ProxyItem.key] = proxy(published, plane)
        items[TimeItem.key] = TimeItem(
            servers: Array((site?.ntpServers ?? []).prefix(TimeItem.serverCountMax)), peers: others,
            networks: Array(networks.prefix(TimeItem.networkCountMax)))
        if let vip = plane.spec.vip {
            let rank = published.firstIndex(of: own) ?? 0
            items[VIPItem.key] = VIPItem(
                address: vip.address, prefixLength: vip.prefixLength, local: own.address, peers: others,
                routerID: vip.routerID, priority: 200 - 10 * rank, readinessPort: readinessPort)
        }
        return items
    }

    private static func conductor(
        _ own: ControlPlaneRecord.Assignment, _ plane: ControlPlaneRecord
    ) -> ConductorItem {
        ConductorItem(
            name: own.controller, address: own.address, store: plane.storeMembers(nearest: own.controller),
            certificate: .store,
            ports: plane.spec.ports, endpoint: plane.spec.vip.map { "https://\($0.address):\(plane.spec.proxied.api)" },
            names: plane.spec.vip.map { [$0.address.description] } ?? [])
    }

    private static func proxy(
        _ published: [ControlPlaneRecord.Assignment], _ plane: ControlPlaneRecord
    ) -> ProxyItem {
        let (own, proxied) = (plane.spec.ports, plane.spec.proxied)
        func servers(_ port: UInt16) -> [String] { published.map { "\($0.address):\(port)" }.sorted() }
        func pass(_ name: String, _ port: KeyPath<ConductorItem.Ports, UInt16>) -> ProxyItem.Pass {
            ProxyItem.Pass(name: name, port: proxied[keyPath: port], servers: servers(own[keyPath: port]))
        }
        return ProxyItem(
            port: proxied.api, conductors: servers(own.api),
            passes: [pass("agents", \.agents), pass("provisioning", \.provisioning), pass("boot", \.boot)],
            readinessPort: readinessPort)
    }
}
