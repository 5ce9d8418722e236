import NIOCore
import Primitives

/// Where a server listens: a host name or address, and a port.
public struct Endpoint: Hashable, Sendable, CustomStringConvertible {
    /// A DNS name, an IPv4 address or an IPv6 address without brackets.
    public let host: String
    /// 1 to 65535.
    public let port: Int

    /// An endpoint; throws `InvalidValue` when the host is empty or the port is not 1 to 65535.
    public init(host: String, port: Int) throws(InvalidValue) {
        let allowed = host.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: ":"): true
            default: false
            }
        }
        guard allowed, (1...255).contains(host.utf8.count), (1...65535).contains(port) else {
            throw InvalidValue("endpoint", "\(host):\(port)", expected: "host:port such as 10.77.0.1:8443")
        }
        self.host = host
        self.port = port
    }

    /// Parses `host:port` or `[IPv6]:port`; throws `InvalidValue` for anything else.
    public init(_ text: String) throws(InvalidValue) {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]) else {
            throw InvalidValue("endpoint", text, expected: "host:port such as 10.77.0.1:8443")
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        try self.init(host: String(host), port: port)
    }

    /// Whether the host is an address, so that a certificate must name it as an IP address.
    public var isAddress: Bool { (try? SocketAddress(ipAddress: host, port: port)) != nil }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
