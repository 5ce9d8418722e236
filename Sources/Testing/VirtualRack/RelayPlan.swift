import Primitives

/// The router between a segment and its conductor: a network namespace with a leg on either side, and a DHCP relay.
struct RelayPlan: Hashable, Sendable {
    private let subnet: IPv4Network
    private let relay: RackFile.Relay
    private let conductor: IPv4Address

    /// Nil when the rack has none.
    init?(_ rack: RackFile) {
        guard let relay = rack.network.relay else { return nil }
        self.relay = relay
        subnet = rack.network.subnet
        conductor = rack.network.conductor
    }

    /// The conductor's link to the router, and the bridge's port towards it.
    static let uplink = "uplink0"
    static let port = "relay0"
    /// Interfaces that a rack with a relay has, and that a bridge is not called by.
    static let names = [uplink, port, "up0", "down0"]

    /// Commands that make both cables; `script` takes their other ends to the router.
    static func links(bridge: String) -> [[String]] {
        [
            ["ip", "link", "add", uplink, "type", "veth", "peer", "name", "up0"],
            ["ip", "link", "add", port, "type", "veth", "peer", "name", "down0"],
            ["ip", "link", "set", port, "master", bridge, "up"],
        ]
    }

    /// What the router runs, from its links on; the namespace is the rack's own and goes with it.
    var script: String {
        """
        set -e
        router() { ip netns exec router "$@"; }
        if ! ip netns exec router true 2>/dev/null; then
            ip netns add router
            ip link set up0 netns router
            ip link set down0 netns router
            router ip address add \(relay.uplinkAddress)/\(relay.uplink.prefixLength) dev up0
            router ip address add \(relay.address)/\(subnet.prefixLength) dev down0
            for link in lo up0 down0; do router ip link set $link up; done
            router sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
        fi
        exec ip netns exec router dhcrelay -4 -d -a -pf /run/relay.pid -id down0 -iu up0 \(conductor)

        """
    }
}
