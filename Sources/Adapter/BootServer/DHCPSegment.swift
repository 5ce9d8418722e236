import CatalogBareMetal
import Primitives
import ResourceModel

/// What a DHCP server hands out on one segment.
public struct DHCPSegment: Hashable, Sendable {
    /// The segment's name.
    public let name: String
    /// The network.
    public let network: IPv4Network
    /// The server's own address on it.
    public let server: IPv4Address
    /// The addresses for machines, at most `poolCountMax`.
    public let pool: ClosedRange<IPv4Address>
    /// Addresses kept for certain machines, in the network but not necessarily in the pool.
    public let reservations: [MACAddress: IPv4Address]
    /// The default gateway; nil: none is handed out.
    public let router: IPv4Address?
    /// DNS servers.
    public let dnsServers: [IPv4Address]
    /// NTP servers.
    public let ntpServers: [IPv4Address]
    /// The domain name.
    public let domain: String?
    /// How long a lease is good for.
    public let leaseTime: Duration
    /// The port of the boot HTTP server at `server`.
    public let httpPort: Int

    /// The most addresses of a pool.
    public static let poolCountMax: UInt32 = 65_536

    /// Checks the fields against each other; throws `InvalidValue` that names the wrong one.
    public init(
        name: String, network: IPv4Network, server: IPv4Address, pool: ClosedRange<IPv4Address>,
        reservations: [MACAddress: IPv4Address] = [:], router: IPv4Address? = nil, dnsServers: [IPv4Address] = [],
        ntpServers: [IPv4Address] = [], domain: String? = nil, leaseTime: Duration = .seconds(3600), httpPort: Int
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
        let poolText = "\(pool.lowerBound)-\(pool.upperBound)"
        let poolCount = pool.upperBound.value - pool.lowerBound.value
        try check((8...30).contains(network.prefixLength), "network", network, "a prefix length of 8 to 30")
        try check(isHost(server), "server address", server, "a host address of \(network)")
        try check(isHost(pool.lowerBound) && isHost(pool.upperBound), "pool", poolText, "host addresses of \(network)")
        try check(poolCount < Self.poolCountMax, "pool", poolText, "at most \(Self.poolCountMax) addresses")
        for (mac, address) in reservations {
            let isGood = isHost(address) && address != server && address != router && !mac.isGroup
            try check(isGood, "reservation for \(mac)", address, "a free host address of \(network)")
        }
        try check(
            Set(reservations.values).count == reservations.count, "reservations", reservations.count,
            "each address only once")
        if let router { try check(isHost(router), "router", router, "a host address of \(network)") }
        try check(dnsServers.count <= 8 && ntpServers.count <= 8, "DNS or NTP servers", dnsServers.count, "at most 8")
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
        self.pool = pool
        self.reservations = reservations
        self.router = router
        self.dnsServers = dnsServers
        self.ntpServers = ntpServers
        self.domain = domain
        self.leaseTime = leaseTime
        self.httpPort = httpPort
    }

    /// The segment of the catalog; throws `InvalidValue` when its fields do not fit each other.
    public init(
        _ segment: Segment, reservations: [MACAddress: IPv4Address] = [:], httpPort: Int
    ) throws(InvalidValue) {
        let spec = segment.spec
        guard spec.poolStart <= spec.poolEnd else {
            throw InvalidValue(
                "pool of segment \(segment.metadata.name)", "\(spec.poolStart)-\(spec.poolEnd)",
                expected: "a first address not after the last")
        }
        try self.init(
            name: segment.metadata.name, network: spec.network, server: spec.server,
            pool: spec.poolStart...spec.poolEnd, reservations: reservations, router: spec.router,
            dnsServers: spec.dnsServers, domain: spec.domain, leaseTime: .seconds(Int64(spec.leaseTimeSeconds)),
            httpPort: httpPort)
    }
}
