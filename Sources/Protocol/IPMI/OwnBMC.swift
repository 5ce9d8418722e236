import Primitives

/// A command to the machine's own BMC and how its answer is read (IPMI v2.0).
public struct OwnBMCRequest: Sendable, Hashable {
    /// The network function (section 5.1).
    public let function: UInt8
    /// The command.
    public let command: UInt8
    /// The command's data.
    public let data: [UInt8]

    private init(_ function: UInt8, _ command: UInt8, _ data: [UInt8] = []) {
        self.function = function
        self.command = command
        self.data = data
    }

    /// Get Device ID (section 20.1).
    public static let controller = OwnBMCRequest(0x06, 0x01)
    /// Get System GUID (section 22.14).
    public static let systemGUID = OwnBMCRequest(0x06, 0x37)

    /// Get Channel Info (section 22.24).
    public static func channel(_ number: UInt8) -> OwnBMCRequest { OwnBMCRequest(0x06, 0x42, [number & 0x0F]) }

    /// Get LAN Configuration Parameters (section 23.2).
    public static func lan(_ parameter: LANParameter, channel: UInt8) -> OwnBMCRequest {
        OwnBMCRequest(0x0C, 0x02, [channel & 0x0F, parameter.rawValue, 0, 0])
    }

    /// The parameters that are read (section 23.2, table 23-4).
    public enum LANParameter: UInt8, Sendable, Hashable {
        case address = 3
        case mac = 5
    }
}

/// A BMC's answer: the completion code and the data after it. Total over any bytes.
public struct OwnBMCAnswer: Sendable, Hashable {
    /// 0 is done; others as in section 5.2.
    public let completionCode: UInt8
    /// The data.
    public let data: [UInt8]

    /// The answer in `bytes`; nil when there is no completion code.
    public init?(_ bytes: [UInt8]) {
        guard let code = bytes.first else { return nil }
        completionCode = code
        data = Array(bytes.dropFirst())
    }

    /// The data of a command that was carried out and has at least `count` bytes.
    private func data(atLeast count: Int) -> [UInt8]? {
        completionCode == 0 && data.count >= count ? data : nil
    }

    /// The firmware's version of Get Device ID, for example `9.08`: the second part is binary coded decimal.
    public var firmwareVersion: String? {
        guard let data = data(atLeast: 4) else { return nil }
        let minor = Hex.encode([data[3]])
        return "\(data[2] & 0x7F).\(minor)"
    }

    /// The system's GUID read in SMBIOS byte order, lowercase with hyphens; nil: none, or one of equal bytes.
    public var guid: String? {
        guard let data = data(atLeast: 16), Set(data.prefix(16)).count > 1 else { return nil }
        let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]
        let text = Array(Hex.encode(order.map { data[$0] }))
        return [text[0..<8], text[8..<12], text[12..<16], text[16..<20], text[20..<32]].map { String($0) }
            .joined(separator: "-")
    }

    /// Whether Get Channel Info tells of a LAN of IEEE 802.3 (section 6.5, table 6-3).
    public var isLANChannel: Bool { data(atLeast: 2).map { $0[1] & 0x7F == 4 } ?? false }

    /// The LAN parameter `address`; nil: none is set.
    public var address: IPv4Address? {
        guard let data = data(atLeast: 5), data[1...4].contains(where: { $0 != 0 }) else { return nil }
        return IPv4Address(bytes: data[1...4])
    }

    /// The LAN parameter `mac`; nil: none is set.
    public var mac: MACAddress? {
        guard let data = data(atLeast: 7), data[1...6].contains(where: { $0 != 0 }) else { return nil }
        return MACAddress(bytes: data[1...6])
    }
}

/// What a machine's own BMC tells of itself.
public struct OwnBMC: Sendable, Hashable {
    /// The channels that are looked at for a LAN.
    public static let channels: ClosedRange<UInt8> = 1...8

    /// The firmware's version.
    public var firmwareVersion: String?
    /// The system's GUID, in SMBIOS byte order.
    public var guid: String?
    /// Its address on its first LAN channel.
    public var address: IPv4Address?
    /// Its Ethernet address there.
    public var mac: MACAddress?

    /// Asks a BMC with `ask`, which gives nil when there is no answer; nil when it does not even tell its version.
    public init?(ask: (OwnBMCRequest) -> OwnBMCAnswer?) {
        guard let controller = ask(.controller), controller.completionCode == 0 else { return nil }
        firmwareVersion = controller.firmwareVersion
        guid = ask(.systemGUID)?.guid
        for channel in Self.channels where ask(.channel(channel))?.isLANChannel == true {
            address = ask(.lan(.address, channel: channel))?.address
            mac = ask(.lan(.mac, channel: channel))?.mac
            // A second LAN is looked at only when the first has no address.
            if address != nil { return }
        }
    }
}
