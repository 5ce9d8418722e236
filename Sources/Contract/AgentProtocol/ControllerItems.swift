import Primitives

/// What a view asks of a controller; an item that does not hold together is refused by the agent, with the reason.
public protocol ControllerItem: Codable, Sendable, Hashable {
    /// The item's kind in the view.
    static var kind: String { get }
    /// The item's key in the view.
    static var key: String { get }
    /// Throws `InvalidValue` for what can stand in no configuration.
    func validate() throws(InvalidValue)
}

/// `controller.proxy`: HAProxy before the conductors. Key `proxy`.
public struct ProxyItem: ControllerItem {
    public static let kind = "controller.proxy"
    public static let key = "proxy"
    /// The port when the site names none.
    public static let portDefault: UInt16 = 9443
    /// The most conductors.
    public static let conductorCountMax = 16
    /// The most ports beside the API's.
    public static let passCountMax = 4
    /// The port that it listens on, on every address of the node.
    public var port: UInt16
    /// The conductors' API, each `address:port`, sorted.
    public var conductors: [String]
    /// Ports beside the API's that are passed on; nil: none.
    public var passes: [Pass]?
    /// The port of 127.0.0.1 where `GET /ready` answers 200 while a conductor is up, and 503 otherwise; nil: none.
    public var readinessPort: UInt16?

    /// A port whose connections are passed through as they are: agents' streams, registration, boot files.
    public struct Pass: Codable, Sendable, Hashable {
        /// What it is for, a DNS label, for example `agents`; its name in HAProxy's statistics.
        public var name: String
        /// The port that HAProxy listens on.
        public var port: UInt16
        /// Where connections go, each `address:port`, sorted; those that accept connections are used.
        public var servers: [String]

        /// A port.
        public init(name: String, port: UInt16, servers: [String]) {
            self.name = name
            self.port = port
            self.servers = servers
        }
    }

    /// A proxy.
    public init(port: UInt16, conductors: [String], passes: [Pass]? = nil, readinessPort: UInt16? = nil) {
        self.port = port
        self.conductors = conductors
        self.passes = passes
        self.readinessPort = readinessPort
    }

    public func validate() throws(InvalidValue) {
        let passes = passes ?? []
        guard passes.count <= Self.passCountMax else {
            throw InvalidValue("proxy's passes", "\(passes.count)", expected: "at most \(Self.passCountMax)")
        }
        let ports = [port] + passes.map(\.port) + (readinessPort.map { [$0] } ?? [])
        guard ports.allSatisfy({ $0 > 0 }), Set(ports).count == ports.count else {
            throw InvalidValue("proxy's ports", "\(ports)", expected: "ports over 0, each once")
        }
        try Self.check(conductors, of: "conductors")
        // The first two are the back end's and the front end's of the API, the third is the readiness check's.
        guard Set(passes.map(\.name) + ["api", "conductors", "ready"]).count == passes.count + 3 else {
            throw InvalidValue("proxy's passes", "\(passes.map(\.name))", expected: "names of their own")
        }
        for pass in passes {
            _ = try DNSLabel(pass.name, as: "name of a pass")
            try Self.check(pass.servers, of: pass.name)
        }
    }

    private static func check(_ servers: [String], of what: String) throws(InvalidValue) {
        guard (1...conductorCountMax).contains(servers.count), Set(servers).count == servers.count else {
            throw InvalidValue("servers of \(what)", "\(servers)", expected: "1 to \(conductorCountMax), each once")
        }
        for server in servers { _ = try SocketAddress(server) }
    }
}

/// `controller.etcd`: this node's member of the store. Key `etcd`.
public struct EtcdMemberItem: ControllerItem {
    public static let kind = "controller.etcd"
    public static let key = "etcd"
    /// The most members of a cluster: seven voters and one that joins.
    public static let memberCountMax = 8
    /// The ports that a member listens on, when nothing else is said.
    public enum Port {
        public static let client: UInt16 = 2379
        public static let peer: UInt16 = 2380
        public static let metrics: UInt16 = 2381
    }

    /// The member's name: the node's.
    public var name: String
    /// The address that it listens on and is reached at, of the node's own.
    public var address: IPv4Address
    /// Tells one membership of a node from its next: data of another one is kept aside and never used. A DNS label.
    public var incarnation: String
    /// The members at the moment at which this one joins, itself among them; later ones are learnt from the cluster.
    public var cluster: [Peer]
    /// Whether it founds the cluster or joins it.
    public var founding: Founding
    /// Names the cluster, so that members of two clusters never mix; a DNS label.
    public var token: String
    /// Keys and certificates; nil: none, for tests only.
    public var certificate: CertificateReference?
    /// The port for clients, on `address`.
    public var clientPort: UInt16
    /// The port of 127.0.0.1 for health and figures, plain HTTP.
    public var metricsPort: UInt16
    /// Transactions between two snapshots.
    public var snapshotCount: Int
    /// The most that the store may hold; then it takes no more writes.
    public var quota: ByteCount
    /// Milliseconds between two heartbeats of the leader, 10 to 1000.
    public var heartbeatMilliseconds: Int
    /// Milliseconds without a heartbeat until another leader is elected, five heartbeats or more, 50000 at most.
    public var electionMilliseconds: Int

    /// How a member comes to its cluster (etcd's `initial-cluster-state`).
    public enum Founding: String, Codable, Sendable, Hashable, CaseIterable {
        /// It is one of those that found the cluster.
        case new
        /// It was added to a cluster that there is.
        case existing
    }

    /// A member as its peers reach it.
    public struct Peer: Codable, Sendable, Hashable {
        /// The member's name.
        public var name: String
        /// Where its peers reach it.
        public var address: SocketAddress

        /// A member.
        public init(name: String, address: SocketAddress) {
            self.name = name
            self.address = address
        }
    }

    /// A member; its own port for peers is in `cluster`.
    public init(
        name: String, address: IPv4Address, incarnation: String, cluster: [Peer], founding: Founding, token: String,
        certificate: CertificateReference?, clientPort: UInt16 = Port.client, metricsPort: UInt16 = Port.metrics,
        snapshotCount: Int = 100_000, quota: ByteCount = .gibibytes(8), heartbeatMilliseconds: Int = 100,
        electionMilliseconds: Int = 1000
    ) {
        self.name = name
        self.address = address
        self.incarnation = incarnation
        self.cluster = cluster
        self.founding = founding
        self.token = token
        self.certificate = certificate
        self.clientPort = clientPort
        self.metricsPort = metricsPort
        self.snapshotCount = snapshotCount
        self.quota = quota
        self.heartbeatMilliseconds = heartbeatMilliseconds
        self.electionMilliseconds = electionMilliseconds
    }

    /// Where this member's peers reach it; nil: it is not among the members.
    public var peerAddress: SocketAddress? { cluster.first { $0.name == name }?.address }

    public func validate() throws(InvalidValue) {
        for (what, text) in [("member's name", name), ("incarnation", incarnation), ("cluster's token", token)] {
            _ = try DNSLabel(text, as: what)
        }
        for peer in cluster { _ = try DNSLabel(peer.name, as: "name of a peer") }
        guard (1...Self.memberCountMax).contains(cluster.count), Set(cluster.map(\.name)).count == cluster.count,
            Set(cluster.map(\.address)).count == cluster.count
        else {
            throw InvalidValue(
                "etcd cluster", "\(cluster.map { "\($0.name)=\($0.address)" })",
                expected: "1 to \(Self.memberCountMax) members with a name and an address of their own")
        }
        guard let own = peerAddress, own.host == address else {
            throw InvalidValue("etcd cluster", name, expected: "this member among the others, at \(address)")
        }
        try certificate?.validate()
        guard clientPort > 0, metricsPort > 0, Set([clientPort, metricsPort, own.port]).count == 3 else {
            throw InvalidValue(
                "ports of etcd", "\([clientPort, own.port, metricsPort])", expected: "three different ones over 0")
        }
        guard (10...1000).contains(heartbeatMilliseconds),
            (5 * heartbeatMilliseconds...50_000).contains(electionMilliseconds)
        else {
            throw InvalidValue(
                "times of etcd", "heartbeat \(heartbeatMilliseconds) ms, election \(electionMilliseconds) ms",
                expected: "a heartbeat of 10 to 1000 ms, and an election time of 5 heartbeats to 50000 ms")
        }
        guard (1000...1_000_000).contains(snapshotCount), quota >= .mebibytes(16), quota <= .gibibytes(64) else {
            throw InvalidValue(
                "limits of etcd", "snapshots every \(snapshotCount), \(quota)",
                expected: "snapshots every 1000 to 1000000 transactions, and 16 MiB to 64 GiB")
        }
    }
}

/// An IPv4 address with a port, in text `10.0.0.1:2380`.
public struct SocketAddress: Hashable, Sendable, Codable, Comparable, CustomStringConvertible {
    /// The address.
    public var host: IPv4Address
    /// The port, over 0.
    public var port: UInt16

    /// An address of parts.
    public init(host: IPv4Address, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Reads `address:port`; throws `InvalidValue`.
    public init(_ text: some StringProtocol) throws(InvalidValue) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let host = try? IPv4Address(parts[0]), let port = UInt16(parts[1]), port > 0 else {
            throw InvalidValue("address and port", String(text), expected: "for example 10.0.0.1:9443")
        }
        self.init(host: host, port: port)
    }

    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        do { try self.init(text) } catch {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: error.publicMessage))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    public static func < (left: SocketAddress, right: SocketAddress) -> Bool {
        left.host != right.host ? left.host < right.host : left.port < right.port
    }

    public var description: String { "\(host):\(port)" }
}

/// A key with its certificate and the authority that its peers are checked against, which lie on the node: three files
/// `ca.pem`, `cert.pem` and `key.pem` in a folder of the agent's. The view holds their name only.
public struct CertificateReference: Codable, Sendable, Hashable {
    /// The folder's name, a DNS label.
    public var name: String

    /// The files called `name`.
    public init(name: String) { self.name = name }

    /// Those for the store, which `ControllerSecretsItem` is about.
    public static let store = CertificateReference(name: "store")

    func validate() throws(InvalidValue) { _ = try DNSLabel(name, as: "name of a certificate") }
}
