import Primitives
import WireCoding

/// An ARP message for IPv4 on Ethernet (RFC 826).
struct ARPMessage: Hashable, Sendable {
    var isRequest: Bool
    var sender: MACAddress
    /// 0.0.0.0 in a probe (RFC 5227 section 1.1).
    var senderAddress: IPv4Address
    var target: MACAddress
    var targetAddress: IPv4Address

    /// A question whether anybody has `address`, which changes nobody's tables (RFC 5227 section 2.1.1).
    static func probe(_ address: IPv4Address, from mac: MACAddress) -> ARPMessage {
        ARPMessage(
            isRequest: true, sender: mac, senderAddress: .any, target: MACAddress(bytes: Array(repeating: 0, count: 6)),
            targetAddress: address)
    }

    private static let beginning: [UInt8] = [0, 1, 8, 0, 6, 4, 0]

    /// The 28 bytes after the Ethernet header.
    var bytes: [UInt8] {
        Self.beginning + [isRequest ? 1 : 2] + sender.bytes + senderAddress.bytes + target.bytes + targetAddress.bytes
    }

    /// The whole frame to all stations.
    var broadcastFrame: [UInt8] { MACAddress.broadcast.bytes + sender.bytes + [8, 6] + bytes }

    /// The message in `bytes`, without an Ethernet header but perhaps with padding; nil for anything else.
    init?(decoding bytes: [UInt8]) {
        guard bytes.count >= 28, bytes.starts(with: Self.beginning), bytes[7] == 1 || bytes[7] == 2 else { return nil }
        self.init(
            isRequest: bytes[7] == 1, sender: MACAddress(bytes: bytes[8..<14]),
            senderAddress: IPv4Address(bytes: bytes[14..<18]), target: MACAddress(bytes: bytes[18..<24]),
            targetAddress: IPv4Address(bytes: bytes[24..<28]))
    }

    init(
        isRequest: Bool, sender: MACAddress, senderAddress: IPv4Address, target: MACAddress, targetAddress: IPv4Address
    ) {
        self.isRequest = isRequest
        self.sender = sender
        self.senderAddress = senderAddress
        self.target = target
        self.targetAddress = targetAddress
    }

    /// The address that this message shows to be in use, or to be about to be (RFC 5227 section 2.1.1).
    var claimed: IPv4Address? {
        if senderAddress != .any { return senderAddress }
        return isRequest ? targetAddress : nil
    }
}
