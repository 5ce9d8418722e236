import DHCP
import Glibc
import Primitives

/// A DHCP server on a segment that is not this conductor.
public struct ForeignDHCPServer: Hashable, Sendable, CustomStringConvertible {
    /// What it calls itself (option 54), else where its message came from.
    public let address: IPv4Address
    /// An address that it offered; nil: it only tells machines what to boot (proxyDHCP).
    public let offered: IPv4Address?
    /// The boot file that it names, at most 128 printable characters; nil: none.
    public let bootFile: String?

    /// A server.
    public init(address: IPv4Address, offered: IPv4Address?, bootFile: String?) {
        self.address = address
        self.offered = offered
        self.bootFile = bootFile
    }

    /// Whether it gives addresses, so that a second server beside it would give machines two.
    public var givesAddresses: Bool { offered != nil }

    public var description: String {
        let what = offered.map { "offers \($0)" } ?? "gives no addresses"
        return "\(address) (\(what)\(bootFile.map { ", boot file \($0)" } ?? ""))"
    }

    /// The server that sent an OFFER or ACK; nil for other messages, and for the servers in `own`.
    init?(_ packet: DHCPPacket, from source: IPv4Address, own: Set<IPv4Address>) {
        guard packet.options.messageType == .offer || packet.options.messageType == .acknowledge else { return nil }
        let address = packet.options.serverIdentifier ?? source
        guard !own.contains(address), !own.contains(source) else { return nil }
        self.address = address
        offered = packet.yourAddress == .any ? nil : packet.yourAddress
        let file =
            packet.bootFile.isEmpty
            ? packet.options.text(.bootFileName) : String(decoding: packet.bootFile, as: UTF8.self)
        bootFile = file?.printable(limit: 128)
    }
}

/// Looks for DHCP servers on an interface that are not this conductor.
public enum ForeignDHCP {
    /// The most servers that are told of one search.
    public static let countMax = 16
    /// How long a search waits for answers, by default.
    public static let waitDefault: Duration = .seconds(3)

    /// Asks on `interface` as a client would, and gives the servers that answer within `wait`, by address.
    ///
    /// Two DISCOVERs are broadcast with the interface's own MAC, as a plain client and as a PXE client, and both again
    /// after a second; nothing is ever requested, so that no lease comes of it. Servers in `own` are left out. Needs
    /// root. Throws `LinkError` when the interface cannot be used.
    public static func search(
        on interface: String, own: Set<IPv4Address> = [], wait: Duration = waitDefault,
        random: RandomSource = .system
    ) async throws -> [ForeignDHCPServer] {
        var random = random
        let link = try Link(interface)
        let listener = try DHCPListener(link)
        let frames = try FrameSender(link)
        let transactions = Set((0..<2).map { _ in UInt32.random(in: 1...UInt32.max, using: &random) })
        let messages = try zip([false, true], transactions.sorted()).map { isPXE, transaction in
            try frame(discover(link.mac, transaction, isPXE: isPXE), from: link)
        }
        var found: [IPv4Address: ForeignDHCPServer] = [:]
        let clock = ContinuousClock()
        let start = clock.now
        var rounds = 0
        while clock.now - start < wait {
            if rounds < 2, clock.now - start >= .seconds(rounds) {
                rounds += 1
                for message in messages where !frames.send(message) { throw LinkError.noCarrier(interface) }
            }
            for heard in try listener.replies() where transactions.contains(heard.packet.transaction) {
                guard let server = ForeignDHCPServer(heard.packet, from: heard.source, own: own) else { continue }
                if let known = found[server.address], known.givesAddresses { continue }
                guard found[server.address] != nil || found.count < countMax else { continue }
                found[server.address] = server
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        return found.values.sorted { $0.address < $1.address }
    }

    static func discover(_ mac: MACAddress, _ transaction: UInt32, isPXE: Bool) -> DHCPPacket {
        // Servers that heed the flag broadcast their answer; those that do not send it to the interface's own MAC.
        var packet = DHCPPacket(request: .discover, transaction: transaction, client: mac, broadcast: true)
        packet.options[.parameterRequestList] = [1, 3, 6, 15, 42, 43, 51, 54, 60, 66, 67]
        packet.options.maximumMessageSize = 1472
        if isPXE {
            packet.options.set(.vendorClass, text: "PXEClient:Arch:00007:UNDI:003016")
            packet.options[.clientArchitecture] = [0, 7]
            packet.options[.clientInterface] = [1, 3, 16]
        }
        return packet
    }

    private static func frame(_ packet: DHCPPacket, from link: Link) throws -> [UInt8] {
        UDPFrame(
            source: .init(mac: link.mac, address: .any, port: 68),
            destination: .init(mac: .broadcast, address: .broadcast, port: 67), payload: try packet.encoded()
        ).bytes
    }
}
