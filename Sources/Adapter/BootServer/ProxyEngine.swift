import DHCP
import NetworkBoot
import Primitives

/// What the conductor says beside another DHCP server, which gives the addresses (proxyDHCP, PXE 2.1 section 2.2.3 and
/// 2.4; option 43 as in RFC 4578's references).
///
/// Only PXE clients are answered, never UEFI HTTP clients, and no address is ever handed out: requests that choose the
/// other server's offer are not for us. The boot file is in the offer itself and option 43 says to fetch it without
/// discovery; firmware that asks again on port 4011 all the same is told the same.
struct ProxyEngine: Sendable {
    let segment: DHCPSegment
    private var rates: ClientRates

    init(segment: DHCPSegment, limits: LeaseEngine.Limits = .init()) {
        self.segment = segment
        rates = ClientRates(limits)
    }

    /// Takes a message that came from `source` to `port`, 67 or 4011, and says what is to be done: `send`, `observed`
    /// and `report` only.
    mutating func step(
        _ packet: DHCPPacket, from source: DHCPPeer, port: UInt16, now: Timestamp
    ) -> [LeaseEngine.Effect] {
        guard packet.operation == .request, let mac = packet.macAddress, let type = packet.options.messageType,
            packet.relayAddress == .any || segment.relays.contains(packet.relayAddress), packet.isPlausible,
            packet.options.text(.vendorClass)?.hasPrefix("PXEClient") == true
        else { return [] }
        switch rates.admit(mac, now) {
        case .admitted: break
        case .refused: return []
        case .refusedAndReported: return [.report(.overloaded)]
        }
        switch (port, type) {
        case (67, .discover):
            var effects: [LeaseEngine.Effect] = []
            if rates.mayReport(mac, now) { effects.append(.observed(segment.client(packet, mac, .looking, now))) }
            guard var reply = answer(.offer, to: packet) else { return effects }
            reply.options[.relayAgentInformation] = packet.options[.relayAgentInformation]
            let destination: DHCPReply.Destination =
                packet.relayAddress == .any ? .broadcast : .unicast(packet.relayAddress, port: 67)
            return effects + [.send(DHCPReply(packet: reply, destination: destination, sizeMax: packet.payloadSizeMax))]
        case (4011, .request):
            // The client has its address from the other server and is answered there, and nowhere else.
            let address = packet.clientAddress == .any ? source.address : packet.clientAddress
            guard segment.network.contains(address), source.address == address,
                var reply = answer(.acknowledge, to: packet)
            else { return [] }
            reply.clientAddress = packet.clientAddress
            return [
                .send(
                    DHCPReply(
                        packet: reply, destination: .unicast(address, port: source.port),
                        sizeMax: packet.payloadSizeMax))
            ]
        default: return []
        }
    }

    /// An answer without an address; nil when there is nothing to boot for this client.
    private func answer(_ type: DHCPMessageType, to request: DHCPPacket) -> DHCPPacket? {
        var reply = DHCPPacket(reply: type, to: request)
        reply.nextServer = segment.server
        reply.options.serverIdentifier = segment.server
        guard segment.addBootFile(to: &reply, for: request) else { return nil }
        reply.options.set(.vendorClass, text: "PXEClient")
        reply.options[.clientMachineIdentifier] = request.options[.clientMachineIdentifier]
        reply.options.set(.vendorSpecific, encapsulated: [.pxeBootFileOnly])
        return reply
    }
}
