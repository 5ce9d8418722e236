import Primitives
import WireCoding

/// What a message is for (RFC 2132 section 9.6).
public enum DHCPMessageType: UInt8, Hashable, Sendable, CaseIterable {
    case discover = 1
    case offer = 2
    case request = 3
    case decline = 4
    case acknowledge = 5
    case refuse = 6
    case release = 7
    case inform = 8
}

// Each getter is nil when the option is absent or does not have the form that its RFC gives.
extension DHCPOptions {
    /// Option 53.
    public var messageType: DHCPMessageType? {
        get { self[.messageType].flatMap { $0.count == 1 ? DHCPMessageType(rawValue: $0[0]) : nil } }
        set { self[.messageType] = newValue.map { [$0.rawValue] } }
    }

    /// Option 50.
    public var requestedAddress: IPv4Address? {
        get { address(.requestedAddress) }
        set { self[.requestedAddress] = newValue?.bytes }
    }

    /// Option 54.
    public var serverIdentifier: IPv4Address? {
        get { address(.serverIdentifier) }
        set { self[.serverIdentifier] = newValue?.bytes }
    }

    /// Option 57, in bytes with IP and UDP headers.
    public var maximumMessageSize: UInt16? {
        get { number16(.maximumMessageSize) }
        set { self[.maximumMessageSize] = newValue.map { [UInt8($0 >> 8), UInt8($0 & 0xFF)] } }
    }

    /// Option 26, in bytes.
    public var interfaceMTU: UInt16? {
        get { number16(.interfaceMTU) }
        set { self[.interfaceMTU] = newValue.map { [UInt8($0 >> 8), UInt8($0 & 0xFF)] } }
    }

    /// An address of the network that an address is asked for on, when it is not the relay's own: suboption 5 of
    /// option 82 (RFC 3527), else option 118 (RFC 3011).
    public var selectedLink: IPv4Address? {
        let inner = encapsulated(.relayAgentInformation)?.first { $0.code == 5 && $0.value.count == 4 }
        return inner.map { IPv4Address(bytes: $0.value) } ?? address(.subnetSelection)
    }

    /// Sets option 121 (RFC 3442); none removes it. A client that is given it does not look at option 3.
    public mutating func set(routes: [(to: IPv4Network, via: IPv4Address)]) {
        let bytes = routes.flatMap { route -> [UInt8] in
            let length = route.to.prefixLength
            return [UInt8(length)] + route.to.address.bytes.prefix((length + 7) / 8) + route.via.bytes
        }
        self[.classlessRoutes] = bytes.isEmpty ? nil : bytes
    }

    /// A 32-bit number of seconds (options 51, 58, 59).
    public func seconds(_ code: Code) -> UInt32? {
        guard let bytes = self[code], bytes.count == 4 else { return nil }
        return bytes.reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// Sets a 32-bit number of seconds.
    public mutating func set(_ code: Code, seconds: UInt32) { self[code] = IPv4Address(seconds).bytes }

    /// Addresses (options 1, 3, 6, 42); nil unless a multiple of four bytes.
    public func addresses(_ code: Code) -> [IPv4Address]? {
        guard let bytes = self[code], !bytes.isEmpty, bytes.count.isMultiple(of: 4) else { return nil }
        return stride(from: 0, to: bytes.count, by: 4).map { IPv4Address(bytes: bytes[$0..<$0 + 4]) }
    }

    /// Sets addresses; none removes the option.
    public mutating func set(_ code: Code, addresses: [IPv4Address]) {
        self[code] = addresses.isEmpty ? nil : addresses.flatMap(\.bytes)
    }

    /// Text of printable ASCII (options 12, 15, 60, 67), a trailing zero byte cut off; nil for anything else.
    public func text(_ code: Code) -> String? {
        guard var bytes = self[code] else { return nil }
        if bytes.last == 0 { bytes.removeLast() }
        guard !bytes.isEmpty, bytes.allSatisfy({ (0x20...0x7E).contains($0) }) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Sets text.
    public mutating func set(_ code: Code, text: String) { self[code] = Array(text.utf8) }

    /// Option 77: the classes of RFC 3004, or the one class that iPXE writes without a length.
    public var userClasses: [[UInt8]] {
        guard let bytes = self[.userClass], !bytes.isEmpty else { return [] }
        var classes: [[UInt8]] = []
        var reader = ByteReader(bytes)
        while !reader.isAtEnd {
            guard let value = Self.value(&reader), !value.isEmpty else { return [bytes] }
            classes.append(Array(value))
        }
        return classes
    }

    /// Option 93: 0 is BIOS, 7 and 9 are x86-64 UEFI, 11 is 64-bit ARM UEFI, 16 is x86-64 UEFI HTTP boot.
    public var clientArchitectures: [UInt16] {
        guard let bytes = self[.clientArchitecture], bytes.count.isMultiple(of: 2) else { return [] }
        return stride(from: 0, to: bytes.count, by: 2).map { UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]) }
    }

    /// Option 94, the version of the network interface: type (1 is UNDI), major, minor.
    public var clientInterface: (type: UInt8, major: UInt8, minor: UInt8)? {
        guard let bytes = self[.clientInterface], bytes.count == 3 else { return nil }
        return (bytes[0], bytes[1], bytes[2])
    }

    /// Option 97 as the text that SMBIOS tools print: the first three fields are little-endian on the wire.
    ///
    /// Nil unless of type 0 with 16 bytes, and for the all-zero and all-one UUIDs of boards that have none.
    public var machineUUID: String? {
        guard let bytes = self[.clientMachineIdentifier], bytes.count == 17, bytes[0] == 0 else { return nil }
        let wire = Array(bytes[1...])
        guard Set(wire) != [0], Set(wire) != [0xFF] else { return nil }
        return UUIDText.format(Self.swapped(wire))
    }

    /// The wire form of option 97 for a UUID of 16 bytes in network order.
    public static func machineIdentifier(uuid bytes: [UInt8]) -> [UInt8] {
        precondition(bytes.count == 16, "a UUID has 16 bytes")
        return [0] + swapped(bytes)
    }

    private static func swapped(_ bytes: [UInt8]) -> [UInt8] {
        bytes[0..<4].reversed() + bytes[4..<6].reversed() + bytes[6..<8].reversed() + bytes[8...]
    }

    /// Options inside an option: 43 and 175 (with pad and end), 82 (without; RFC 3046 section 2.0).
    ///
    /// Nil when the option is absent or a length in it goes past its end.
    public func encapsulated(_ code: Code) -> [EncapsulatedDHCPOption]? {
        guard let bytes = self[code] else { return nil }
        let hasPadAndEnd = code != .relayAgentInformation
        var found: [EncapsulatedDHCPOption] = []
        var reader = ByteReader(bytes)
        while let inner = try? reader.readUInt8() {
            if hasPadAndEnd, inner == Self.pad { continue }
            if hasPadAndEnd, inner == Self.end { break }
            guard let value = Self.value(&reader) else { return nil }
            found.append(EncapsulatedDHCPOption(code: inner, value: Array(value)))
        }
        return found
    }

    /// Sets options inside an option, values cut to 255 bytes; an end byte is written only in option 43.
    public mutating func set(_ code: Code, encapsulated options: [EncapsulatedDHCPOption]) {
        let bytes = options.flatMap { option -> [UInt8] in
            let value = option.value.prefix(255)
            return [option.code, UInt8(value.count)] + value
        }
        self[code] = code == .vendorSpecific ? bytes + [Self.end] : bytes
    }

    private func address(_ code: Code) -> IPv4Address? {
        guard let bytes = self[code], bytes.count == 4 else { return nil }
        return IPv4Address(bytes: bytes)
    }

    private func number16(_ code: Code) -> UInt16? {
        guard let bytes = self[code], bytes.count == 2 else { return nil }
        return UInt16(bytes[0]) << 8 | UInt16(bytes[1])
    }
}

/// One option inside option 43, 82 or 175.
public struct EncapsulatedDHCPOption: Hashable, Sendable {
    /// The code, with a meaning of its own in each outer option.
    public let code: UInt8
    /// At most 255 bytes.
    public let value: [UInt8]

    /// An inner option.
    public init(code: UInt8, value: [UInt8]) {
        self.code = code
        self.value = value
    }

    /// iPXE 175.176: do not wait for a proxyDHCP server (saves 3 seconds).
    public static let ipxeNoProxyDHCP = EncapsulatedDHCPOption(code: 176, value: [1])
    /// PXE 43.6 = 8 (RFC 4578 refers to PXE 2.1 section 2.4): fetch the boot file given, discover no boot server.
    public static let pxeBootFileOnly = EncapsulatedDHCPOption(code: 6, value: [8])
}
