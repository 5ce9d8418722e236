import DHCP
import Primitives
import Testing

@testable import BootServer

@Suite("Foreign DHCP servers")
struct ForeignDHCPTests {
    private let source = Lab.address(200)

    private func offer(_ change: (inout DHCPPacket) -> Void = { _ in }) -> DHCPPacket {
        var packet = DHCPPacket(reply: .offer, to: Lab.discover(1))
        packet.yourAddress = Lab.address(60)
        packet.options.serverIdentifier = Lab.address(2)
        change(&packet)
        return packet
    }

    @Test("an OFFER tells its server, whether it gives addresses, and its boot file")
    func servers() throws {
        let server = try #require(ForeignDHCPServer(offer { $0.bootFile = Array("pxe.0".utf8) }, from: source, own: []))
        #expect(server == ForeignDHCPServer(address: Lab.address(2), offered: Lab.address(60), bootFile: "pxe.0"))
        #expect(server.description == "10.77.0.2 (offers 10.77.0.60, boot file pxe.0)")
        let proxy = try #require(ForeignDHCPServer(offer { $0.yourAddress = .any }, from: source, own: []))
        #expect(!proxy.givesAddresses)
        let nameless = try #require(
            ForeignDHCPServer(offer { $0.options.serverIdentifier = nil }, from: source, own: []))
        #expect(nameless.address == source)
        #expect(ForeignDHCPServer(offer(), from: source, own: [Lab.address(2)]) == nil, "our own")
        #expect(ForeignDHCPServer(offer { $0.options.messageType = .refuse }, from: source, own: []) == nil)
    }

    @Test("a reply is found in an IPv4 datagram, and nothing in any cut or changed one")
    func datagrams() throws {
        let payload = try offer().encoded()
        let frame = UDPFrame(
            source: .init(mac: Lab.mac(2), address: source, port: 67),
            destination: .init(mac: .broadcast, address: .broadcast, port: 68), payload: payload
        ).bytes
        let datagram = Array(frame.dropFirst(14))
        let heard = try #require(DHCPListener.reply(in: datagram))
        #expect(heard.source == source && heard.packet.yourAddress == Lab.address(60))
        #expect(DHCPListener.reply(in: datagram + [0, 0, 0]) != nil, "padding of short frames")
        for count in 0..<datagram.count { #expect(DHCPListener.reply(in: datagram.prefix(count)) == nil) }
        for (index, byte) in [(0, 0x65), (0, 0x44), (9, 6), (2, 0xFF), (28, 1)] as [(Int, UInt8)] {
            var changed = datagram
            changed[index] = byte
            #expect(DHCPListener.reply(in: changed) == nil)
        }
    }
}
