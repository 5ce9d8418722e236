import Primitives

/// `controller.vip`: the address that clients know, held by one controller at a time (VRRP version 3, RFC 5798,
/// unicast). Key `vip`.
public struct VIPItem: ControllerItem {
    public static let kind = "controller.vip"
    public static let key = "vip"
    /// The most peers.
    public static let peerCountMax = 7

    /// The address, with the length of its network's prefix.
    public var address: IPv4Address
    /// 1 to 32.
    public var prefixLength: Int
    /// This node's own address in that network; the interface is the one that has it.
    public var local: IPv4Address
    /// The own addresses of the others.
    public var peers: [IPv4Address]
    /// VRRP's virtual router identifier, 1 to 255, one of its own in that network.
    public var routerID: Int
    /// 1 to 254; of those that could take the address, the one with the highest does.
    public var priority: Int
    /// Hundredths of a second between two advertisements, 5 to 1000; after three the address is taken.
    public var intervalCentiseconds: Int
    /// The port of 127.0.0.1 where `GET /ready` has to answer 200 (`ProxyItem.readinessPort`); nil: nothing is asked.
    public var readinessPort: UInt16?

    /// A shared address.
    public init(
        address: IPv4Address, prefixLength: Int, local: IPv4Address, peers: [IPv4Address], routerID: Int = 51,
        priority: Int = 100, intervalCentiseconds: Int = 20, readinessPort: UInt16? = nil
    ) {
        self.address = address
        self.prefixLength = prefixLength
        self.local = local
        self.peers = peers
        self.routerID = routerID
        self.priority = priority
        self.intervalCentiseconds = intervalCentiseconds
        self.readinessPort = readinessPort
    }

    public func validate() throws(InvalidValue) {
        let all = [address, local] + peers
        guard peers.count <= Self.peerCountMax, Set(all).count == all.count else {
            throw InvalidValue(
                "shared address", "\(address), own address \(local), peers \(peers)",
                expected: "different addresses, and at most \(Self.peerCountMax) peers")
        }
        guard (1...32).contains(prefixLength), (1...255).contains(routerID), (1...254).contains(priority),
            (5...1000).contains(intervalCentiseconds), readinessPort != 0
        else {
            throw InvalidValue(
                "shared address",
                "prefix \(prefixLength), router \(routerID), priority \(priority), interval "
                    + "\(intervalCentiseconds)",
                expected: "a prefix of 1 to 32, a router of 1 to 255, a priority of 1 to 254, an interval of 5 to 1000")
        }
    }
}

/// `controller.time`: the site's clock. Controllers follow the site's time servers and each other, and serve time to
/// nodes; without any server they agree among themselves (chrony's `local orphan`). Key `time`.
public struct TimeItem: ControllerItem {
    public static let kind = "controller.time"
    public static let key = "time"
    /// The most servers, and the most peers.
    public static let serverCountMax = 8
    /// The most networks.
    public static let networkCountMax = 32

    /// The servers that are followed, by address or name.
    public var servers: [String]
    /// The other controllers.
    public var peers: [IPv4Address]
    /// Who may ask for the time.
    public var networks: [IPv4Network]

    /// A clock.
    public init(servers: [String], peers: [IPv4Address], networks: [IPv4Network]) {
        self.servers = servers
        self.peers = peers
        self.networks = networks
    }

    public func validate() throws(InvalidValue) {
        guard servers.count <= Self.serverCountMax, peers.count <= Self.serverCountMax,
            networks.count <= Self.networkCountMax, Set(servers).count == servers.count, Set(peers).count == peers.count
        else {
            throw InvalidValue(
                "time servers", "\(servers.count) servers, \(peers.count) peers, \(networks.count) networks",
                expected: "at most \(Self.serverCountMax) servers and peers, each once, and \(Self.networkCountMax) "
                    + "networks")
        }
        for server in servers {
            guard (1...253).contains(server.utf8.count) else {
                throw InvalidValue("time server", server, expected: "an address or a name")
            }
            for label in server.split(separator: ".", omittingEmptySubsequences: false) {
                _ = try DNSLabel(label, as: "time server")
            }
        }
    }
}

/// `controller.conductor`: this node's conductor. Key `conductor`.
public struct ConductorItem: ControllerItem {
    public static let kind = "controller.conductor"
    public static let key = "conductor"
    /// The most members of the store that are named.
    public static let storeCountMax = 8

    /// The conductor's name: the node's.
    public var name: String
    /// The node's own address, at which its API listens; the proxy has the shared one.
    public var address: IPv4Address
    /// The store's members, each `address:port`, the own machine's first; a conductor that runs learns of others by itself.
    public var store: [SocketAddress]
    /// Keys and certificates for the store; nil: none, for tests only.
    public var certificate: CertificateReference?
    /// The ports.
    public var ports: Ports
    /// Where clients reach the API, for example `https://10.0.0.100:9443`; nil: the conductor's own.
    public var endpoint: String?
    /// Further names of the server's certificate, the shared address among them.
    public var names: [String]

    /// The conductor's ports, all different.
    public struct Ports: Codable, Sendable, Hashable {
        public var api: UInt16
        public var boot: UInt16
        public var provisioning: UInt16
        public var agents: UInt16

        /// Ports; as a conductor has them when nothing else is said.
        public init(api: UInt16 = 9443, boot: UInt16 = 8080, provisioning: UInt16 = 8443, agents: UInt16 = 7443) {
            self.api = api
            self.boot = boot
            self.provisioning = provisioning
            self.agents = agents
        }

        /// All of them.
        public var all: [UInt16] { [api, boot, provisioning, agents] }
    }

    /// A conductor.
    public init(
        name: String, address: IPv4Address, store: [SocketAddress], certificate: CertificateReference?,
        ports: Ports = Ports(), endpoint: String? = nil, names: [String] = []
    ) {
        self.name = name
        self.address = address
        self.store = store
        self.certificate = certificate
        self.ports = ports
        self.endpoint = endpoint
        self.names = names
    }

    public func validate() throws(InvalidValue) {
        _ = try DNSLabel(name, as: "conductor's name")
        guard (1...Self.storeCountMax).contains(store.count), Set(store).count == store.count else {
            throw InvalidValue(
                "conductor's store", "\(store)", expected: "1 to \(Self.storeCountMax) members, each once")
        }
        try certificate?.validate()
        let all = ports.all
        guard all.allSatisfy({ $0 > 0 }), Set(all).count == all.count else {
            throw InvalidValue("conductor's ports", "\(all)", expected: "four different ones over 0")
        }
        guard names.count <= 16, ([endpoint ?? "https://a"] + names).allSatisfy(Self.isWord) else {
            throw InvalidValue(
                "conductor's names", "\(names), \(endpoint ?? "none")",
                expected: "at most 16 names, and a URL, of printable characters without blanks, quotes and '%'")
        }
    }

    /// Whether it can stand in a unit's environment as it is, and is no option.
    private static func isWord(_ text: String) -> Bool {
        (1...200).contains(text.utf8.count) && !text.hasPrefix("-")
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: ".-_:/[]*".utf8.contains(byte)
                }
            }
    }
}
