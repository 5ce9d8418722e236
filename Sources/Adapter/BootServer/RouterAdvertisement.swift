import Primitives

/// An ICMPv6 router advertisement (RFC 4861 section 4.2) that says: there is no IPv6 router, stop looking for one.
///
/// iPXE asks for IPv6 routers after its DHCP and boots nothing until it is answered or 13 seconds have passed; an
/// advertisement without the managed and other flags ends its search.
public struct RouterAdvertisement: Hashable, Sendable {
    /// Seconds for which the sender is a default router; 0: it is none.
    public var routerLifetime: UInt16
    /// The sender's Ethernet address, option 1.
    public var sourceMAC: MACAddress?
    /// A prefix to name, option 3, neither on-link nor for addresses; nil: none.
    public var prefix: Prefix?

    /// An IPv6 prefix.
    public struct Prefix: Hashable, Sendable {
        /// 16 bytes.
        public let bytes: [UInt8]
        /// 0 to 128.
        public let length: UInt8

        /// A prefix; throws `InvalidValue` unless it has 16 bytes and a length of at most 128.
        public init(bytes: [UInt8], length: UInt8) throws(InvalidValue) {
            guard bytes.count == 16, length <= 128 else {
                throw InvalidValue("IPv6 prefix", Hex.encode(bytes), expected: "16 bytes and a length of at most 128")
            }
            self.bytes = bytes
            self.length = length
        }
    }

    /// An advertisement.
    public init(routerLifetime: UInt16 = 0, sourceMAC: MACAddress?, prefix: Prefix? = nil) {
        self.routerLifetime = routerLifetime
        self.sourceMAC = sourceMAC
        self.prefix = prefix
    }

    /// The ICMPv6 message with a zero checksum, which the kernel fills in (RFC 3542 section 3.1).
    public var bytes: [UInt8] {
        // Type 134, code 0, checksum, hop limit unspecified, no flags, lifetime, reachable and retransmission time.
        var message: [UInt8] = [134, 0, 0, 0, 0, 0, UInt8(routerLifetime >> 8), UInt8(routerLifetime & 0xFF)]
        message += Array(repeating: 0, count: 8)
        if let sourceMAC { message += [1, 1] + sourceMAC.bytes }
        if let prefix {
            // Length 4 (of 8 bytes), no L and A flags, valid and preferred for 3600 seconds.
            message += [3, 4, prefix.length, 0, 0, 0, 0x0E, 0x10, 0, 0, 0x0E, 0x10, 0, 0, 0, 0] + prefix.bytes
        }
        return message
    }

    /// Whether `message` is a router solicitation (RFC 4861 section 4.1) with well-formed options.
    public static func isSolicitation(_ message: [UInt8]) -> Bool {
        guard message.count >= 8, message[0] == 133, message[1] == 0 else { return false }
        var index = 8
        while index < message.count {
            guard index + 1 < message.count, message[index + 1] > 0 else { return false }
            index += Int(message[index + 1]) * 8
        }
        return index == message.count
    }
}
