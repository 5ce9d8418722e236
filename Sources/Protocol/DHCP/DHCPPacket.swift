import Primitives

/// A DHCPv4 message (RFC 2131 section 2).
///
/// Decoding is total: any bytes give a packet or a `DHCPDecodingError`. Options are kept whether known or not,
/// joined when they were split (RFC 3396) and gathered from `file` and `sname` when overloaded (RFC 2132, option 52).
public struct DHCPPacket: Hashable, Sendable {
    /// Who speaks (the `op` field).
    public enum Operation: UInt8, Hashable, Sendable {
        /// A client, or a relay for it.
        case request = 1
        /// A server.
        case reply = 2
    }

    /// Who speaks.
    public var operation: Operation
    /// `htype`; 1 is Ethernet.
    public var hardwareType: UInt8
    /// The hardware address, 0 to 16 bytes (`chaddr` cut to `hlen`).
    public var hardwareAddress: [UInt8]
    /// How many relays the message has passed.
    public var hops: UInt8
    /// The client's random number for this exchange (`xid`).
    public var transaction: UInt32
    /// Seconds since the client began (`secs`).
    public var seconds: UInt16
    /// The `flags` field; see `wantsBroadcast`.
    public var flags: UInt16
    /// The address the client has and answers to (`ciaddr`).
    public var clientAddress: IPv4Address
    /// The address it is given (`yiaddr`).
    public var yourAddress: IPv4Address
    /// The server of the next boot stage (`siaddr`).
    public var nextServer: IPv4Address
    /// The relay's address on the client's link (`giaddr`); 0.0.0.0 without a relay.
    public var relayAddress: IPv4Address
    /// `sname` up to its first zero byte, at most 64 bytes; empty when it carries options.
    public var serverName: [UInt8]
    /// `file` up to its first zero byte, at most 128 bytes; empty when it carries options.
    public var bootFile: [UInt8]
    /// The options, without pad, end and overload.
    public var options: DHCPOptions

    /// A message with the given fields and zeros elsewhere.
    public init(
        operation: Operation, transaction: UInt32, hardwareType: UInt8 = 1, hardwareAddress: [UInt8],
        seconds: UInt16 = 0, flags: UInt16 = 0, options: DHCPOptions = DHCPOptions()
    ) {
        self.operation = operation
        self.hardwareType = hardwareType
        self.hardwareAddress = hardwareAddress
        self.hops = 0
        self.transaction = transaction
        self.seconds = seconds
        self.flags = flags
        self.clientAddress = .any
        self.yourAddress = .any
        self.nextServer = .any
        self.relayAddress = .any
        self.serverName = []
        self.bootFile = []
        self.options = options
    }

    /// An Ethernet client's message.
    public init(
        request type: DHCPMessageType, transaction: UInt32, client: MACAddress, seconds: UInt16 = 0,
        broadcast: Bool = false
    ) {
        self.init(
            operation: .request, transaction: transaction, hardwareAddress: client.bytes, seconds: seconds,
            flags: broadcast ? 0x8000 : 0)
        options.messageType = type
    }

    /// The server's answer to `request`, with what RFC 2131 table 3 copies from it, option 82 (RFC 3046) included.
    public init(reply type: DHCPMessageType, to request: DHCPPacket) {
        self.init(
            operation: .reply, transaction: request.transaction, hardwareType: request.hardwareType,
            hardwareAddress: request.hardwareAddress, flags: request.flags)
        relayAddress = request.relayAddress
        options.messageType = type
        options[.relayAgentInformation] = request.options[.relayAgentInformation]
    }

    /// Whether the client cannot receive unicast before it has an address (the top bit of `flags`).
    public var wantsBroadcast: Bool { flags & 0x8000 != 0 }

    /// The hardware address of an Ethernet client; nil for other hardware, group addresses and zero.
    public var macAddress: MACAddress? {
        guard hardwareType == 1, hardwareAddress.count == 6 else { return nil }
        let address = MACAddress(bytes: hardwareAddress)
        return address.isGroup || address.value == 0 ? nil : address
    }

    /// How large a UDP payload the sender of this message accepts: option 57 less 28 bytes of IP and UDP header.
    ///
    /// Without option 57, or with a smaller one, 548 (RFC 2131 section 2); at most 1472, one Ethernet frame.
    public var payloadSizeMax: Int { min(max(Int(options.maximumMessageSize ?? 576), 576), 1500) - 28 }
}

/// Why bytes are not a DHCP message.
public enum DHCPDecodingError: UserFacingError, Hashable {
    /// Fewer bytes than the fixed fields and the magic cookie have.
    case truncated(count: Int)
    /// More bytes than `DHCPPacket.sizeMax`.
    case tooLarge(count: Int)
    /// `op` is neither 1 nor 2.
    case unknownOperation(UInt8)
    /// `hlen` is more than 16.
    case hardwareAddressLength(UInt8)
    /// The magic cookie 99.130.83.99 is missing: BOOTP without options, or something else.
    case noMagicCookie
    /// An option's length goes past its field.
    case optionTruncated(code: UInt8)
    /// Option 52 is not one byte of 1, 2 or 3.
    case overload

    public var publicMessage: String {
        switch self {
        case .truncated(let count): "Not a DHCP message: \(count) bytes, at least 240 are needed."
        case .tooLarge(let count): "Not a DHCP message: \(count) bytes, at most \(DHCPPacket.sizeMax) are accepted."
        case .unknownOperation(let code): "Not a DHCP message: operation \(code) is neither request (1) nor reply (2)."
        case .hardwareAddressLength(let length):
            "Not a DHCP message: a hardware address of \(length) bytes, at most 16."
        case .noMagicCookie: "Not a DHCP message: the magic cookie is missing."
        case .optionTruncated(let code): "A damaged DHCP message: option \(code) is longer than its field."
        case .overload: "A damaged DHCP message: option 52 (overload) must be one byte of 1, 2 or 3."
        }
    }
}

/// Why a message cannot be sent.
public enum DHCPEncodingError: UserFacingError, Hashable {
    /// A field is longer than its place in the message.
    case fieldTooLong(field: String, count: Int, limit: Int)
    /// The options do not fit the size that the client accepts.
    case tooLarge(limit: Int)

    public var publicMessage: String {
        switch self {
        case .fieldTooLong(let field, let count, let limit):
            "The DHCP field \(field) has \(count) bytes; the limit is \(limit)."
        case .tooLarge(let limit):
            "The DHCP options do not fit the \(limit) bytes that the client accepts; configure fewer or shorter ones."
        }
    }
}
