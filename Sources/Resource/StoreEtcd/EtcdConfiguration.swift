import FoundationEssentials
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Primitives
import ResourceModel

/// The files of a client's certificate, all PEM; they are read again when they change.
public struct EtcdTLS: Sendable, Hashable {
    /// The certificates of the authorities that members are believed by.
    public var authority: String
    /// The client's certificate, with those between it and the authority.
    public var certificate: String
    /// The client's key.
    public var key: String

    /// The paths of the three files.
    public init(authority: String, certificate: String, key: String) {
        self.authority = authority
        self.certificate = certificate
        self.key = key
    }
}

/// Where an etcd cluster is, how it is spoken to, and what of it is the store's.
public struct EtcdConfiguration: Sendable, Hashable {
    /// The members' client URLs, `https://10.0.0.1:2379`; the first that answers is used, so the own machine's comes first.
    /// Which there are may change later; see `EtcdStore.follow`.
    public var endpoints: [String]
    /// The certificates; nil only for `http://` URLs.
    public var tls: EtcdTLS?
    /// What all keys of the store begin with; the store owns all below. Ends with `/`.
    public var prefix: String
    /// How long a request may take, all attempts together.
    public var patience: Duration
    /// Batches that a slow watch may be behind.
    public var watchQueueMax: Int
    /// The history that is kept for watches: what is older is compacted away.
    public var historyAge: Duration
    /// The most revisions of history that are kept, however young.
    public var historyCountMax: Int
    /// What the members were told by `--quota-backend-bytes`; near it the log warns.
    public var quota: ByteCount
    /// How often the cluster is looked after.
    public var upkeepInterval: Duration

    /// A configuration with the default figures.
    public init(
        endpoints: [String], tls: EtcdTLS?, prefix: String = "/muster/", patience: Duration = .seconds(5),
        watchQueueMax: Int = StoreLimits.watchQueueMax, historyAge: Duration = .seconds(600),
        historyCountMax: Int = 100_000, quota: ByteCount = .gibibytes(2),
        upkeepInterval: Duration = .seconds(30)
    ) {
        self.endpoints = endpoints
        self.tls = tls
        self.prefix = prefix
        self.patience = patience
        self.watchQueueMax = watchQueueMax
        self.historyAge = historyAge
        self.historyCountMax = historyCountMax
        self.quota = quota
        self.upkeepInterval = upkeepInterval
    }

    /// The end points, read, each once; throws `StoreError.invalid`.
    func addresses() throws(StoreError) -> [EtcdAddress] {
        guard !endpoints.isEmpty else { throw .invalid("etcd has no end point; give at least one URL") }
        guard prefix.hasSuffix("/"), prefix.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw .invalid("the prefix of etcd's keys ends with '/' and has no blanks")
        }
        var addresses: [EtcdAddress] = []
        for endpoint in endpoints {
            let address = try EtcdAddress(endpoint)
            guard address.isSecure == (tls != nil) else {
                throw .invalid(
                    address.isSecure
                        ? "\(endpoint) needs the files of a client's certificate"
                        : "\(endpoint) is not encrypted; with certificates it begins with https://")
            }
            if !addresses.contains(address) { addresses.append(address) }
        }
        return addresses
    }
}

/// A member's client URL.
struct EtcdAddress: Hashable, Sendable, CustomStringConvertible {
    let isSecure: Bool
    let host: String
    let port: Int
    let description: String

    /// Reads `https://host:port`, an IPv6 address in brackets; throws `StoreError.invalid`.
    init(_ text: String) throws(StoreError) {
        let wrong = StoreError.invalid(
            "'\(text.printable(limit: 80))' is not an end point of etcd: expected https://host:port")
        guard let scheme = ["https://", "http://"].first(where: text.hasPrefix) else { throw wrong }
        isSecure = scheme == "https://"
        var rest = text.dropFirst(scheme.count)
        if rest.hasSuffix("/") { rest.removeLast() }
        guard let colon = rest.lastIndex(of: ":"), let port = UInt16(rest[rest.index(after: colon)...]), port > 0 else {
            throw wrong
        }
        var host = rest[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else {
            guard !host.contains(":") else { throw wrong }
        }
        guard !host.isEmpty, host.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "/") }) else {
            throw wrong
        }
        self.host = String(host)
        self.port = Int(port)
        description = text
    }

    var target: any ResolvableTarget {
        if host.contains(":") { return .ipv6(address: host, port: port) }
        let isNumeric =
            host.split(separator: ".", omittingEmptySubsequences: false).count == 4
            && host.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: ".") }
        return isNumeric ? .ipv4(address: host, port: port) : .dns(host: host, port: port)
    }
}

/// The certificates' files as they were read.
struct EtcdCredentials: Sendable, Equatable {
    private let authority: [UInt8]
    private let certificate: [UInt8]
    private let key: [UInt8]

    /// Throws `StoreError.unavailable` when one of the files cannot be read.
    init(_ tls: EtcdTLS) throws(StoreError) {
        authority = try Self.read(tls.authority)
        certificate = try Self.read(tls.certificate)
        key = try Self.read(tls.key)
    }

    var security: HTTP2ClientTransport.Posix.TransportSecurity {
        .mTLS(certificateChain: [.bytes(certificate, format: .pem)], privateKey: .bytes(key, format: .pem)) {
            $0.trustRoots = .certificates([.bytes(authority, format: .pem)])
        }
    }

    private static func read(_ path: String) throws(StoreError) -> [UInt8] {
        guard let data = FileManager.default.contents(atPath: path), !data.isEmpty else {
            throw .unavailable("\(path), which the connection to etcd needs, cannot be read")
        }
        return [UInt8](data)
    }
}
