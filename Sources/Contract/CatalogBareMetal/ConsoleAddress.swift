import Primitives

/// Where a machine's serial console is reached.
public enum ConsoleAddress: Hashable, Sendable, CustomStringConvertible {
    /// Serial over LAN of IPMI (IPMI v2.0 section 15), with the BMC's user and password.
    case ipmi(host: String, port: Int)
    /// A port of a terminal server that carries the plain bytes.
    case tcp(host: String, port: Int)
    /// A socket on the conductor's own machine that carries the plain bytes.
    case unix(path: String)

    /// The longest text.
    public static let lengthMax = 200
    /// The longest path of a socket (unix(7)).
    private static let pathLengthMax = 107

    /// Parses `ipmi://HOST[:PORT]`, `tcp://HOST:PORT` or `unix:///PATH`; throws `InvalidValue` for anything else.
    public init(_ text: String) throws(InvalidValue) {
        let wrong = InvalidValue(
            "console address", text, expected: "ipmi://HOST[:PORT], tcp://HOST:PORT or unix:///PATH")
        let parts = text.split(separator: "://", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, text.utf8.count <= Self.lengthMax, text.hasOnlyPrintableScalars else { throw wrong }
        let rest = String(parts[1])
        switch parts[0] {
        case "unix":
            guard rest.hasPrefix("/"), rest.utf8.count <= Self.pathLengthMax else { throw wrong }
            self = .unix(path: rest)
        case "ipmi", "tcp":
            guard let (host, port) = Self.split(rest) else { throw wrong }
            if parts[0] == "ipmi" {
                self = .ipmi(host: host, port: port ?? 623)
            } else {
                guard let port else { throw wrong }
                self = .tcp(host: host, port: port)
            }
        default: throw wrong
        }
    }

    /// The console of a BMC: the one that the site names, else serial over LAN where the BMC speaks IPMI; nil: none is
    /// known. Throws `InvalidValue` for an address that is none.
    public init?(of bmc: BMC.Spec) throws(InvalidValue) {
        if let console = bmc.console {
            try self.init(console)
        } else if bmc.address.hasPrefix("ipmi://") {
            try self.init(bmc.address)
        } else {
            return nil
        }
    }

    /// A host and a port; an IPv6 address stands in brackets.
    private static func split(_ text: String) -> (String, Int?)? {
        var host = text[...]
        var port: Int?
        if let colon = text.lastIndex(of: ":"), !text.hasSuffix("]"),
            text[..<colon].last == "]" || !text[..<colon].contains(":")
        {
            guard let number = UInt16(text[text.index(after: colon)...]), number > 0 else { return nil }
            (host, port) = (text[..<colon], Int(number))
        }
        let isIPv6 = host.hasPrefix("[") && host.hasSuffix("]")
        if isIPv6 { host = host.dropFirst().dropLast() }
        let isRight = host.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"):
                true
            case UInt8(ascii: ":"): isIPv6
            default: false
            }
        }
        guard isRight, !host.isEmpty, host.first != "-" else { return nil }
        return (String(host), port)
    }

    public var description: String {
        func bracketed(_ host: String) -> String { host.contains(":") ? "[\(host)]" : host }
        return switch self {
        case .ipmi(let host, let port): "ipmi://\(bracketed(host)):\(port)"
        case .tcp(let host, let port): "tcp://\(bracketed(host)):\(port)"
        case .unix(let path): "unix://\(path)"
        }
    }
}
