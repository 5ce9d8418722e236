import CatalogBareMetal
import Primitives
import ResourceModel

/// What a DHCP server hands out on one segment.
public struct DHCPSegment: Hashable, Sendable {
    /// The segment's name.
    public let name: String
    /// The network.
    public let network: IPv4Network
    /// The server's own address, as the segment's machines reach it.
    public let server: IPv4Address
    /// The addresses for machines, at most `poolCountMax`, no two ranges with a common address; none in proxy mode.
    public let pools: [ClosedRange<IPv4Address>]
    /// Addresses kept for certain machines, in the network but not necessarily in a pool.
    public let reservations: [MACAddress: IPv4Address]
    /// Host names kept for certain machines.
    public let hostnames: [MACAddress: String]
    /// The relays that speak for the segment, by the address in their requests.
    public let relays: Set<IPv4Address>
    /// The default gateway; nil: none is handed out.
    public let router: IPv4Address?
    /// DNS servers.
    public let dnsServers: [IPv4Address]
    /// NTP servers.
    public let ntpServers: [IPv4Address]
    /// The domain name.
    public let domain: String?
    /// The MTU; nil: none is handed out.
    public let mtu: UInt16?
    /// Routes beside the one to `router`.
    public let routes: [Segment.Route]
    /// How long a lease is good for.
    public let leaseTime: Duration
    /// The port of the boot HTTP server at `server`.
    public let httpPort: Int
    /// Whether UEFI firmware that does PXE is sent programs that are signed for Secure Boot.
    public var sendsSignedPrograms = false

    /// The addresses of the other conductors, which are nobody's to have and whose answers are as good as ours.
    public var fellows: Set<IPv4Address> = []

    /// The most addresses of all pools.
    public static let poolCountMax: UInt32 = 65_536

    /// Checks the fields against each other; throws `InvalidValue` that names the wrong one.
    public init(
        name: String, network: IPv4Network, server: IPv4Address, pools: [ClosedRange<IPv4Address>],
        reservations: [MACAddress: IPv4Address] = [:], hostnames: [MACAddress: String] = [:],
        relays: Set<IPv4Address> = [], router: IPv4Address? = nil, dnsServers: [IPv4Address] = [],
        ntpServers: [IPv4Address] = [], domain: String? = nil, mtu: UInt16? = nil, routes: [Segment.Route] = [],
        leaseTime: Duration = .seconds(3600), httpPort: Int
    ) throws(InvalidValue) {
        func check(_ holds: Bool, _ what: String, _ value: some CustomStringConvertible, _ expected: String)
            throws(InvalidValue)
        {
            guard holds else { throw InvalidValue("\(what) of segment \(name)", "\(value)", expected: expected) }
        }
        do { try Lease.key(Lease.name(segment: name, address: .broadcast)).validate() } catch {
            throw InvalidValue("segment name", name, expected: "printable ASCII without '/' and blanks")
        }
        func isHost(_ address: IPv4Address) -> Bool {
            network.contains(address) && address != network.address && address != network.broadcast
        }
        try check((8...30).contains(network.prefixLength), "network", network, "a prefix length of 8 to 30")
        try check(
            isHost(server) || !network.contains(server) && !relays.isEmpty, "server address", server,
            "a host address of \(network), or with relays one of another network")
        var count: UInt32 = 0
        for (index, pool) in pools.enumerated() {
            let text = "\(pool.lowerBound)-\(pool.upperBound)"
            try check(isHost(pool.lowerBound) && isHost(pool.upperBound), "pool", text, "host addresses of \(network)")
            let isApart = !pools.prefix(index).contains { $0.overlaps(pool) }
            try check(isApart, "pool", text, "no address of another pool")
            count += pool.upperBound.value - pool.lowerBound.value + 1
            try check(count <= Self.poolCountMax, "pools", text, "at most \(Self.poolCountMax) addresses")
        }
        for (mac, address) in reservations {
            let isGood = isHost(address) && address != server && address != router && !mac.isGroup
            try check(isGood, "reservation for \(mac)", address, "a free host address of \(network)")
        }
        try check(
            Set(reservations.values).count == reservations.count, "reservations", reservations.count,
            "each address only once")
        for name in hostnames.values { _ = try DNSLabel(name, as: "host name") }
        if let router { try check(isHost(router), "router", router, "a host address of \(network)") }
        for route in routes { try check(isHost(route.via), "route", route.via, "a host address of \(network)") }
        try check(dnsServers.count <= 8 && ntpServers.count <= 8, "DNS or NTP servers", dnsServers.count, "at most 8")
        try check(routes.count <= 8, "routes", routes.count, "at most 8")
        if let domain {
            let isGood = domain.utf8.count <= 128 && domain.utf8.allSatisfy { (0x21...0x7E).contains($0) }
            try check(isGood, "domain", domain, "at most 128 printable ASCII characters")
        }
        try check(
            (60...604_800).contains(leaseTime.components.seconds), "lease time", leaseTime, "60 seconds to 7 days")
        try check((1...65535).contains(httpPort), "HTTP port", httpPort, "1 to 65535")
        self.name = name
        self.network = network
        self.server = server
        self.pools = pools
        self.reservations = reservations
        self.hostnames = hostnames
        self.relays = relays
        self.router = router
        self.dnsServers = dnsServers
        self.ntpServers = ntpServers
        self.domain = domain
        self.mtu = mtu
        self.routes = routes
        self.leaseTime = leaseTime
        self.httpPort = httpPort
    }

    /// The segment of the catalog; throws `InvalidValue` when its fields do not fit each other.
    ///
    /// Where the site names no NTP server, the conductor itself is handed out. `server` is the conductor's own address where
    /// the site names another conductor's.
    public init(_ segment: Segment, server: IPv4Address? = nil, httpPort: Int) throws(InvalidValue) {
        let spec = segment.spec
        let server = server ?? spec.server
        for pool in spec.pools where pool.start > pool.end {
            throw InvalidValue(
                "pool of segment \(segment.metadata.name)", "\(pool.start)-\(pool.end)",
                expected: "a first address not after the last")
        }
        let named = spec.reservations.filter { $0.hostname != nil }
        try self.init(
            name: segment.metadata.name, network: spec.network, server: server,
            pools: spec.pools.map { $0.start...$0.end },
            reservations: Dictionary(spec.reservations.map { ($0.mac, $0.address) }) { first, _ in first },
            hostnames: Dictionary(named.map { ($0.mac, $0.hostname ?? "") }) { first, _ in first },
            relays: Set(spec.relays), router: spec.router, dnsServers: spec.dnsServers,
            ntpServers: spec.ntpServers.isEmpty ? [server] : spec.ntpServers, domain: spec.domain, mtu: spec.mtu,
            routes: spec.routes, leaseTime: .seconds(Int64(spec.leaseTimeSeconds)), httpPort: httpPort)
        sendsSignedPrograms = spec.secureBoot ?? false
    }

    /// How many addresses all pools have.
    public var poolCount: UInt32 { pools.reduce(0) { $0 + $1.upperBound.value - $1.lowerBound.value + 1 } }

    /// Whether a pool has `address`.
    public func pooled(_ address: IPv4Address) -> Bool { pools.contains { $0.contains(address) } }

    /// The address at `index` of all pools together, which must be below `poolCount`.
    public func pooled(at index: UInt32) -> IPv4Address {
        var left = index
        for pool in pools {
            let count = pool.upperBound.value - pool.lowerBound.value + 1
            if left < count { return IPv4Address(pool.lowerBound.value + left) }
            left -= count
        }
        preconditionFailure("the pools of segment \(name) have \(poolCount) addresses, not more than \(index)")
    }
}
