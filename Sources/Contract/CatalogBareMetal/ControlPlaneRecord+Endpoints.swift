import AgentProtocol
import Primitives

extension ControlPlaneRecord {
    /// Where clients reach the API, best first: the shared address, or else every published controller.
    public var endpoints: [String] {
        guard let vip = spec.vip else { return controllerEndpoints }
        return ["https://\(vip.address):\(spec.proxied.api)"]
    }

    /// Where every published controller answers by itself, whoever has the shared address.
    public var controllerEndpoints: [String] {
        status.assignments.filter { status.published.contains($0.controller) }
            .map { "https://\($0.address):\(spec.proxied.api)" }
    }

    /// One port of the conductors that agents and machines are told of, each with its own address, as `host:port`, sorted.
    /// While the site is being moved to them they do not answer yet.
    public func told(_ port: KeyPath<ConductorItem.Ports, UInt16>) -> [String] {
        status.assignments.filter { $0.runsConductor && status.published.contains($0.controller) }
            .map { "\($0.address):\(spec.ports[keyPath: port])" }.sorted()
    }

    /// The store's members as clients reach them, that of `controller` first and the others sorted; those that only begin or
    /// end are among them.
    public func storeMembers(nearest controller: String) -> [SocketAddress] {
        let members = status.assignments.filter { $0.member != nil }
        func clients(_ isMeant: (Assignment) -> Bool) -> [SocketAddress] {
            members.filter(isMeant).map { SocketAddress(host: $0.address, port: EtcdMemberItem.Port.client) }.sorted()
        }
        return clients { $0.controller == controller } + clients { $0.controller != controller }
    }
}
