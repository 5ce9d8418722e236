import Primitives
import WireCoding

/// The options of a message, in the order in which each first appeared; the order does not count for equality.
public struct DHCPOptions: Hashable, Sendable {
    /// An option's number (RFC 2132 and later; assigned by IANA "BOOTP vendor extensions and DHCP options").
    public struct Code: RawRepresentable, Hashable, Sendable {
        /// 1 to 254.
        public let rawValue: UInt8

        /// The code with the given number.
        public init(rawValue: UInt8) { self.rawValue = rawValue }
    }

    private var order: [Code] = []
    private var values: [Code: [UInt8]] = [:]

    static let pad: UInt8 = 0
    static let end: UInt8 = 255

    /// No options.
    public init() {}

    /// The codes present, in order.
    public var codes: [Code] { order }

    public static func == (left: DHCPOptions, right: DHCPOptions) -> Bool { left.values == right.values }

    public func hash(into hasher: inout Hasher) { hasher.combine(values) }

    /// The bytes of an option, nil when it is absent. Pad (0) and end (255) cannot be set.
    public subscript(code: Code) -> [UInt8]? {
        get { values[code] }
        set {
            guard code.rawValue != Self.pad, code.rawValue != Self.end else { return }
            if newValue == nil {
                if values[code] != nil { order.removeAll { $0 == code } }
            } else if values[code] == nil {
                order.append(code)
            }
            values[code] = newValue
        }
    }

    /// Appends the options of one field; those seen before are joined to what is there (RFC 3396 section 5).
    mutating func append(area: ArraySlice<UInt8>) throws(DHCPDecodingError) {
        var reader = ByteReader(area)
        while let code = try? reader.readUInt8(), code != Self.end {
            if code == Self.pad { continue }
            guard let value = Self.value(&reader) else { throw .optionTruncated(code: code) }
            let key = Code(rawValue: code)
            if values[key] == nil { order.append(key) }
            values[key, default: []] += value
        }
    }

    /// A length byte and as many bytes; nil when there are fewer.
    static func value(_ reader: inout ByteReader) -> ArraySlice<UInt8>? {
        guard let count = try? reader.readUInt8() else { return nil }
        return try? reader.bytes(Int(count))
    }

    /// The encoded options: message type first, relay agent information last, long values in pieces of 255 bytes.
    var pieces: [[UInt8]] {
        var codes = order.filter { $0 != .messageType && $0 != .relayAgentInformation && $0 != .overload }
        if values[.messageType] != nil { codes.insert(.messageType, at: 0) }
        if values[.relayAgentInformation] != nil { codes.append(.relayAgentInformation) }
        return codes.flatMap { code -> [[UInt8]] in
            let value = values[code] ?? []
            if value.isEmpty { return [[code.rawValue, 0]] }
            return stride(from: 0, to: value.count, by: 255).map { start in
                let piece = value[start..<min(start + 255, value.count)]
                return [code.rawValue, UInt8(piece.count)] + piece
            }
        }
    }
}

extension DHCPOptions.Code {
    /// Subnet mask (RFC 2132 section 3.3).
    public static let subnetMask = Self(rawValue: 1)
    /// Routers (RFC 2132 section 3.5).
    public static let routers = Self(rawValue: 3)
    /// DNS servers (RFC 2132 section 3.8).
    public static let domainNameServers = Self(rawValue: 6)
    /// Host name (RFC 2132 section 3.14).
    public static let hostName = Self(rawValue: 12)
    /// Domain name (RFC 2132 section 3.17).
    public static let domainName = Self(rawValue: 15)
    /// Interface MTU (RFC 2132 section 5.1).
    public static let interfaceMTU = Self(rawValue: 26)
    /// NTP servers (RFC 2132 section 8.3).
    public static let ntpServers = Self(rawValue: 42)
    /// Vendor-specific information, for PXE encapsulated options (RFC 2132 section 8.4).
    public static let vendorSpecific = Self(rawValue: 43)
    /// Requested address (RFC 2132 section 9.1).
    public static let requestedAddress = Self(rawValue: 50)
    /// Lease time in seconds (RFC 2132 section 9.2).
    public static let leaseTime = Self(rawValue: 51)
    /// `file` and `sname` hold options (RFC 2132 section 9.3); never present in a decoded packet.
    public static let overload = Self(rawValue: 52)
    /// Message type (RFC 2132 section 9.6).
    public static let messageType = Self(rawValue: 53)
    /// Server identifier (RFC 2132 section 9.7).
    public static let serverIdentifier = Self(rawValue: 54)
    /// Codes the client asks for (RFC 2132 section 9.8).
    public static let parameterRequestList = Self(rawValue: 55)
    /// Text for the user (RFC 2132 section 9.9).
    public static let message = Self(rawValue: 56)
    /// Largest message the client accepts (RFC 2132 section 9.10).
    public static let maximumMessageSize = Self(rawValue: 57)
    /// T1, when to renew (RFC 2132 section 9.11).
    public static let renewalTime = Self(rawValue: 58)
    /// T2, when to rebind (RFC 2132 section 9.12).
    public static let rebindingTime = Self(rawValue: 59)
    /// Vendor class, for example `PXEClient` (RFC 2132 section 9.13).
    public static let vendorClass = Self(rawValue: 60)
    /// Client identifier (RFC 2132 section 9.14).
    public static let clientIdentifier = Self(rawValue: 61)
    /// TFTP server name (RFC 2132 section 9.4).
    public static let tftpServerName = Self(rawValue: 66)
    /// Boot file name (RFC 2132 section 9.5).
    public static let bootFileName = Self(rawValue: 67)
    /// User class (RFC 3004).
    public static let userClass = Self(rawValue: 77)
    /// Relay agent information (RFC 3046).
    public static let relayAgentInformation = Self(rawValue: 82)
    /// Client system architecture (RFC 4578 section 2.1).
    public static let clientArchitecture = Self(rawValue: 93)
    /// Client network interface (RFC 4578 section 2.2).
    public static let clientInterface = Self(rawValue: 94)
    /// Client machine identifier (RFC 4578 section 2.3).
    public static let clientMachineIdentifier = Self(rawValue: 97)
    /// Subnet selection (RFC 3011).
    public static let subnetSelection = Self(rawValue: 118)
    /// Classless static routes (RFC 3442).
    public static let classlessRoutes = Self(rawValue: 121)
    /// iPXE's encapsulated options.
    public static let ipxe = Self(rawValue: 175)
}
