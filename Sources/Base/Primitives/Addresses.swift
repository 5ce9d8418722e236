/// An Ethernet address of 6 bytes, written `52:54:00:77:00:01`.
public struct MACAddress: Hashable, Sendable, Comparable, Codable, CustomStringConvertible {
    /// The address in the lower 48 bits.
    public let value: UInt64

    /// The address made of 6 bytes.
    public init(bytes: some Collection<UInt8>) {
        precondition(bytes.count == 6, "a MAC address has 6 bytes")
        value = bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Parses six hexadecimal pairs parted by `:` or `-`; throws `InvalidValue` for anything else.
    public init(_ text: some StringProtocol) throws(InvalidValue) {
        let pairs = text.split(omittingEmptySubsequences: false) { $0 == ":" || $0 == "-" }
        let bytes = pairs.compactMap { pair in pair.utf8.count == 2 ? Hex.decode(pair)?.first : nil }
        guard pairs.count == 6, bytes.count == 6 else {
            throw InvalidValue("MAC address", String(text), expected: "six pairs such as 52:54:00:77:00:01")
        }
        self.init(bytes: bytes)
    }

    /// The 6 bytes in transmission order.
    public var bytes: [UInt8] { (0..<6).map { UInt8(truncatingIfNeeded: value >> (40 - 8 * $0)) } }

    /// ff:ff:ff:ff:ff:ff, every interface of a link.
    public static let broadcast = MACAddress(bytes: [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF])

    /// Whether this is a group (multicast or broadcast) address, which no machine can own.
    public var isGroup: Bool { value >> 40 & 1 == 1 }

    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        do { try self.init(text) } catch { throw decodingError(decoder, error) }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    public static func < (left: MACAddress, right: MACAddress) -> Bool { left.value < right.value }

    public var description: String { bytes.map { Hex.encode([$0]) }.joined(separator: ":") }
}

/// An IPv4 address (RFC 791), written `10.77.0.1`.
public struct IPv4Address: Hashable, Sendable, Comparable, Codable, CustomStringConvertible {
    /// The address as a number in host order.
    public let value: UInt32

    /// The address with the given number.
    public init(_ value: UInt32) { self.value = value }

    /// The address made of 4 bytes in network order.
    public init(bytes: some Collection<UInt8>) {
        precondition(bytes.count == 4, "an IPv4 address has 4 bytes")
        value = bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// Parses dotted decimal; throws `InvalidValue` for anything else, also for leading zeros.
    public init(_ text: some StringProtocol) throws(InvalidValue) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        let bytes = parts.compactMap { part -> UInt8? in
            guard let byte = UInt8(part), String(byte) == part else { return nil }
            return byte
        }
        guard parts.count == 4, bytes.count == 4 else {
            throw InvalidValue("IPv4 address", String(text), expected: "four numbers such as 10.77.0.1")
        }
        self.init(bytes: bytes)
    }

    /// 0.0.0.0.
    public static let any = IPv4Address(0)
    /// 255.255.255.255.
    public static let broadcast = IPv4Address(UInt32.max)

    /// The 4 bytes in network order.
    public var bytes: [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }

    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        do { try self.init(text) } catch { throw decodingError(decoder, error) }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    public static func < (left: IPv4Address, right: IPv4Address) -> Bool { left.value < right.value }

    public var description: String { bytes.map(String.init).joined(separator: ".") }
}

/// An IPv4 network with its prefix length (RFC 4632), written `10.77.0.0/24`.
public struct IPv4Network: Hashable, Sendable, Codable, CustomStringConvertible {
    /// The address with all host bits clear.
    public let address: IPv4Address
    /// 0 to 32.
    public let prefixLength: Int

    /// The network that contains `address`; throws `InvalidValue` when the prefix is not 0 to 32.
    public init(containing address: IPv4Address, prefixLength: Int) throws(InvalidValue) {
        guard (0...32).contains(prefixLength) else {
            throw InvalidValue("prefix length", String(prefixLength), expected: "0 to 32")
        }
        self.prefixLength = prefixLength
        self.address = IPv4Address(address.value & Self.maskValue(prefixLength))
    }

    /// Parses `address/length`; throws `InvalidValue` when host bits are set.
    public init(_ text: some StringProtocol) throws(InvalidValue) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let length = Int(parts[1]), (0...32).contains(length) else {
            throw InvalidValue("IPv4 network", String(text), expected: "a network such as 10.77.0.0/24")
        }
        let given = try IPv4Address(parts[0])
        try self.init(containing: given, prefixLength: length)
        guard given == address else {
            throw InvalidValue("IPv4 network", String(text), expected: "no host bits set, as in \(description)")
        }
    }

    /// The netmask as an address.
    public var mask: IPv4Address { IPv4Address(Self.maskValue(prefixLength)) }
    /// The last address.
    public var broadcast: IPv4Address { IPv4Address(address.value | ~Self.maskValue(prefixLength)) }

    /// Whether `other` lies in this network.
    public func contains(_ other: IPv4Address) -> Bool {
        other.value & Self.maskValue(prefixLength) == address.value
    }

    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        do { try self.init(text) } catch { throw decodingError(decoder, error) }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    public var description: String { "\(address)/\(prefixLength)" }

    private static func maskValue(_ length: Int) -> UInt32 { length == 0 ? 0 : UInt32.max << UInt32(32 - length) }
}
