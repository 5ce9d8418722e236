import Primitives
import WireCoding

/// What a device at the other end of a cable says of itself by LLDP (IEEE 802.1AB-2016); nobody vouches for it.
///
/// Read from an LLDPDU, which is what follows the Ethernet header. Total over any bytes: what is not an LLDPDU throws
/// `WireError`, and optional TLVs that are not well formed are passed over.
public struct LLDPNeighbour: Hashable, Sendable {
    /// The Ethernet type of its frames (clause 7.4).
    public static let etherType: UInt16 = 0x88CC
    /// The address that most are sent to, which no bridge passes on (clause 7.1, nearest bridge).
    public static let address = MACAddress(bytes: [0x01, 0x80, 0xC2, 0x00, 0x00, 0x0E])
    /// The most TLVs that are looked at; a frame of 1500 bytes has room for 750 empty ones.
    public static let partCountMax = 128
    /// The most bytes of a text.
    static let textLengthMax = 255

    /// The device, for example its MAC address or its name (clause 8.5.2).
    public var chassis: String
    /// The port, for example `swp7` or its MAC address (clause 8.5.3).
    public var port: String
    /// Seconds for which this may be taken to be so; 0: the device has gone (clause 8.5.4).
    public var timeToLive: UInt16
    /// What people call the port (clause 8.5.5).
    public var portDescription: String?
    /// What people call the device (clause 8.5.6).
    public var systemName: String?

    /// The device by its name, else by its chassis.
    public var switchName: String { systemName ?? chassis }

    /// A neighbour.
    public init(
        chassis: String, port: String, timeToLive: UInt16, portDescription: String? = nil, systemName: String? = nil
    ) {
        self.chassis = chassis
        self.port = port
        self.timeToLive = timeToLive
        self.portDescription = portDescription
        self.systemName = systemName
    }

    /// Reads an LLDPDU: chassis, port and time to live come first, in this order, then others up to the end mark or the
    /// end of the bytes. Throws `WireError`.
    public init(_ bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        chassis = try Self.chassis(try Self.part(&reader, .chassis))
        port = try Self.port(try Self.part(&reader, .port))
        var time = ByteReader(try Self.part(&reader, .timeToLive))
        timeToLive = try time.readUInt16()
        for _ in 0..<Self.partCountMax {
            guard reader.remaining >= 2, let (type, value) = try? Self.next(&reader), type != Kind.end.rawValue else {
                return
            }
            switch Kind(rawValue: type) {
            case .portDescription: portDescription = portDescription ?? Self.text(value)
            case .systemName: systemName = systemName ?? Self.text(value)
            case .end, .chassis, .port, .timeToLive, nil: break
            }
        }
    }

    /// The types of TLVs that are read (clause 8.4.1, table 8-1).
    private enum Kind: UInt8 {
        case end = 0
        case chassis = 1
        case port = 2
        case timeToLive = 3
        case portDescription = 4
        case systemName = 5
    }

    /// A TLV: seven bits of type, nine of length (clause 8.4).
    private static func next(_ reader: inout ByteReader) throws(WireError) -> (type: UInt8, value: ArraySlice<UInt8>) {
        let head = try reader.readUInt16()
        return (UInt8(head >> 9), try reader.bytes(Int(head & 0x1FF)))
    }

    private static func part(_ reader: inout ByteReader, _ kind: Kind) throws(WireError) -> ArraySlice<UInt8> {
        let offset = reader.offset
        let (type, value) = try next(&reader)
        guard type == kind.rawValue else {
            throw WireError(offset: offset, .invalid("TLV \(type) stands where \(kind.rawValue) has to"))
        }
        return value
    }

    /// By subtype (table 8-2): 4 is a MAC address, 5 a network address, the others are texts.
    private static func chassis(_ value: ArraySlice<UInt8>) throws(WireError) -> String {
        try identifier(value, mac: 4, network: 5, texts: [1, 2, 3, 6, 7])
    }

    /// By subtype (table 8-3): 3 is a MAC address, 4 a network address, 6 any bytes, the others are texts.
    private static func port(_ value: ArraySlice<UInt8>) throws(WireError) -> String {
        try identifier(value, mac: 3, network: 4, texts: [1, 2, 5, 7])
    }

    private static func identifier(
        _ value: ArraySlice<UInt8>, mac: UInt8, network: UInt8, texts: Set<UInt8>
    ) throws(WireError) -> String {
        guard let subtype = value.first, (2...256).contains(value.count) else {
            throw WireError(offset: 0, .invalid("an identifier of \(value.count) bytes"))
        }
        let rest = Array(value.dropFirst())
        if subtype == mac, rest.count == 6 { return MACAddress(bytes: rest).description }
        // The first byte is IANA's number of the address family: 1 is IPv4.
        if subtype == network, rest.first == 1, rest.count == 5 {
            return IPv4Address(bytes: rest.dropFirst()).description
        }
        if texts.contains(subtype), let text = text(rest[...]) { return text }
        return Hex.encode(rest)
    }

    /// A text fit to print; nil when nothing is left of it.
    private static func text(_ bytes: ArraySlice<UInt8>) -> String? {
        let text = String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self).printable(limit: textLengthMax)
        let end = text.lastIndex { $0 != " " }
        return end.map { String(text[...$0].drop { $0 == " " }) }
    }
}
