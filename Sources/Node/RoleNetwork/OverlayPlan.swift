import AgentProtocol
import LinuxSystem
import Primitives

/// What the kernel has of what this role looks after.
struct ObservedNetwork: Hashable, Sendable {
    /// All interfaces.
    var links: [Link] = []
    /// Tunnel ends by VXLAN device name, sorted.
    var floodPeers: [String: [IPv4Address]] = [:]
    /// The rules of the role's table; nil when there is no such table.
    var table: NftablesTable.Observed?

    func link(named name: String) -> Link? { links.first { $0.name == name } }
}

/// One change to the kernel.
enum OverlayStep: Hashable, Sendable {
    case delete(String)
    case createBridge(String, mtu: UInt32)
    case createVXLAN(String, Link.VXLAN, mtu: UInt32)
    case adopt(String)
    case setMTU(String, UInt32)
    case setMaster(String, bridge: String)
    case setUp(String)
    case addPeer(String, IPv4Address)
    case removePeer(String, IPv4Address)
}

/// Why an overlay cannot be made.
struct OverlayConflict: UserFacingError, Hashable {
    let publicMessage: String
}

/// Finds the steps from what is to what is wanted; pure.
enum OverlayPlan {
    /// The group of interfaces that this role makes, and so may take away again.
    static let group: UInt32 = 0x4D55
    /// What a tunnel puts around an inner packet: Ethernet, VXLAN, UDP and IPv4 headers (RFC 7348, section 5).
    static let tunnelOverhead = 50
    /// The table that this role owns.
    static let tableFamily = "inet"
    static let tableName = "muster_network"

    /// The steps for `item`, in order; empty when it is so already. `local` is the tunnel's own address.
    static func steps(
        for item: OverlayItem, local: IPv4Address, from observed: ObservedNetwork
    ) throws(OverlayConflict) -> [OverlayStep] {
        try check(item)
        var steps = try bridgeSteps(item, observed)
        let wanted = Link.VXLAN(id: item.vni, local: local)
        var current = observed.link(named: item.device)
        if let found = current {
            guard found.kind == "vxlan" else { throw conflict(item.device, found, "a VXLAN device") }
            if found.vxlan != wanted {
                steps.append(.delete(item.device))
                current = nil
            }
        }
        if let found = current {
            if found.group != group { steps.append(.adopt(item.device)) }
            if found.mtu != item.mtu { steps.append(.setMTU(item.device, item.mtu)) }
        } else {
            steps.append(.createVXLAN(item.device, wanted, mtu: item.mtu))
        }
        let bridge = observed.link(named: item.bridge)
        if current?.master == nil || current?.master != bridge?.index {
            steps.append(.setMaster(item.device, bridge: item.bridge))
        }
        if current?.isUp != true { steps.append(.setUp(item.device)) }
        let ends = current == nil ? [] : Set(observed.floodPeers[item.device] ?? [])
        let peers = Set(item.peers).subtracting([local])
        steps += ends.subtracting(peers).sorted().map { .removePeer(item.device, $0) }
        steps += peers.subtracting(ends).sorted().map { .addPeer(item.device, $0) }
        return steps
    }

    private static func bridgeSteps(
        _ item: OverlayItem, _ observed: ObservedNetwork
    ) throws(OverlayConflict) -> [OverlayStep] {
        guard let found = observed.link(named: item.bridge) else {
            return [.createBridge(item.bridge, mtu: item.mtu), .setUp(item.bridge)]
        }
        guard found.kind == "bridge" else { throw conflict(item.bridge, found, "a bridge") }
        var steps: [OverlayStep] = []
        if found.group != group { steps.append(.adopt(item.bridge)) }
        if found.mtu != item.mtu { steps.append(.setMTU(item.bridge, item.mtu)) }
        if !found.isUp { steps.append(.setUp(item.bridge)) }
        return steps
    }

    /// Interfaces of this role that no item names any more: devices first, then bridges.
    static func leftovers(_ items: [OverlayItem], from observed: ObservedNetwork) -> [OverlayStep] {
        let named = Set(items.flatMap { [$0.bridge, $0.device] })
        let gone = observed.links.filter { $0.group == group && !named.contains($0.name) }
        return (gone.filter { $0.kind == "vxlan" } + gone.filter { $0.kind == "bridge" }).map { .delete($0.name) }
    }

    /// The table for `items`: tunnel traffic is not tracked, and none comes but from their tunnel ends and `others`.
    static func table(for items: [OverlayItem], and others: [IPv4Address] = []) -> NftablesTable {
        let peers = Set(items.flatMap(\.peers) + others).sorted().map(\.description).joined(separator: ", ")
        let guarded = peers.isEmpty ? "udp dport 4789 drop" : "udp dport 4789 ip saddr != { \(peers) } drop"
        return NftablesTable(
            family: tableFamily, name: tableName,
            chains: [
                NftablesTable.Chain(
                    name: "untracked_in", hook: "type filter hook prerouting priority raw; policy accept;",
                    rules: ["udp dport 4789 notrack"]),
                NftablesTable.Chain(
                    name: "untracked_out", hook: "type filter hook output priority raw; policy accept;",
                    rules: ["udp dport 4789 notrack"]),
                NftablesTable.Chain(
                    name: "tunnel_ends", hook: "type filter hook input priority 0; policy accept;", rules: [guarded]),
            ])
    }

    private static func check(_ item: OverlayItem) throws(OverlayConflict) {
        for name in [item.bridge, item.device] {
            let isName =
                (1...15).contains(name.utf8.count) && name != "." && name != ".."
                && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") }
            guard isName else {
                throw OverlayConflict(publicMessage: "'\(name.printable(limit: 40))' cannot name an interface.")
            }
        }
        guard item.bridge != item.device, (1...0xFF_FFFF).contains(item.vni), (576...65_535).contains(item.mtu) else {
            throw OverlayConflict(
                publicMessage: "Overlay \(item.vni) has equal names, or a number or an MTU that is not possible.")
        }
    }

    private static func conflict(_ name: String, _ found: Link, _ wanted: String) -> OverlayConflict {
        let kind = found.kind ?? "hardware interface"
        return OverlayConflict(
            publicMessage: "'\(name)' is a \(kind), not \(wanted). Rename it, or give the overlay another name.")
    }
}
