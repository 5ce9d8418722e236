import CatalogBareMetal
import DHCP
import NetworkBoot
import Primitives

extension LeaseEngine {
    /// An OFFER or ACK of `address` for a time.
    func grant(
        _ type: DHCPMessageType, to request: DHCPPacket, _ address: IPv4Address, for time: Duration
    ) -> DHCPReply {
        var reply = DHCPPacket(reply: type, to: request)
        reply.yourAddress = address
        if type == .acknowledge { reply.clientAddress = request.clientAddress }
        let seconds = UInt32(time.components.seconds)
        reply.options.set(.leaseTime, seconds: seconds)
        reply.options.set(.renewalTime, seconds: seconds / 2)
        reply.options.set(.rebindingTime, seconds: seconds / 8 * 7)
        addConfiguration(to: &reply, for: request)
        return DHCPReply(
            packet: reply, destination: destination(of: reply, for: request), sizeMax: request.payloadSizeMax)
    }

    /// An ACK to an INFORM: the configuration without an address (RFC 2131 section 4.3.5).
    func informed(_ request: DHCPPacket) -> DHCPReply {
        var reply = DHCPPacket(reply: .acknowledge, to: request)
        reply.clientAddress = request.clientAddress
        addConfiguration(to: &reply, for: request)
        return DHCPReply(
            packet: reply, destination: .unicast(request.clientAddress, port: 68), sizeMax: request.payloadSizeMax)
    }

    /// A NAK: begin anew.
    func refuse(_ request: DHCPPacket) -> DHCPReply {
        var reply = DHCPPacket(reply: .refuse, to: request)
        reply.options.serverIdentifier = segment.server
        reply.options.set(.message, text: "address not available")
        if request.relayAddress != .any { reply.flags |= 0x8000 }
        let destination: DHCPReply.Destination =
            request.relayAddress == .any ? .broadcast : .unicast(request.relayAddress, port: 67)
        return DHCPReply(packet: reply, destination: destination, sizeMax: request.payloadSizeMax)
    }

    private func addConfiguration(to reply: inout DHCPPacket, for request: DHCPPacket) {
        reply.options.serverIdentifier = segment.server
        reply.options.set(.subnetMask, addresses: [segment.network.mask])
        reply.options.set(.routers, addresses: segment.router.map { [$0] } ?? [])
        reply.options.set(.domainNameServers, addresses: segment.dnsServers)
        reply.options.set(.ntpServers, addresses: segment.ntpServers)
        reply.options.interfaceMTU = segment.mtu
        if !segment.routes.isEmpty, let everything = try? IPv4Network(containing: .any, prefixLength: 0) {
            // Whoever takes these routes does not look at the routers any more (RFC 3442).
            reply.options.set(
                routes: segment.routes.map { ($0.to, $0.via) } + (segment.router.map { [(everything, $0)] } ?? []))
        }
        if let name = request.macAddress.flatMap({ segment.hostnames[$0] }) {
            reply.options.set(.hostName, text: name)
        }
        if let domain = segment.domain { reply.options.set(.domainName, text: domain) }
        reply.nextServer = segment.server
        if segment.addBootFile(to: &reply, for: request), request.options.isIPXE {
            reply.options.set(.ipxe, encapsulated: [.ipxeNoProxyDHCP])
        }
    }

    private func destination(of reply: DHCPPacket, for request: DHCPPacket) -> DHCPReply.Destination {
        if request.relayAddress != .any { return .unicast(request.relayAddress, port: 67) }
        if request.clientAddress != .any { return .unicast(request.clientAddress, port: 68) }
        if request.wantsBroadcast { return .broadcast }
        return request.macAddress.map { .hardware($0, reply.yourAddress) } ?? .broadcast
    }

}

extension DHCPSegment {
    /// Says what the client boots, in `file` and option 67; false when there is nothing for it.
    func addBootFile(to reply: inout DHCPPacket, for request: DHCPPacket) -> Bool {
        guard let mac = request.macAddress, let script = scriptURL(mac, request.options.machineUUID) else {
            return false
        }
        let architecture = request.options.clientArchitectures.first.map(BootArchitecture.init)
        switch BootFileChoice.choose(
            architecture: architecture, userClasses: request.options.userClasses,
            vendorClass: request.options.text(.vendorClass), script: script, signed: sendsSignedPrograms)
        {
        case .script(let url):
            reply.bootFile = Array(url.description.utf8)
            reply.options.set(.bootFileName, text: url.description)
        case .program(let name):
            reply.bootFile = Array(name.utf8)
            reply.options.set(.tftpServerName, text: server.description)
            reply.options.set(.bootFileName, text: name)
        case .programURL(let url):
            reply.bootFile = Array(url.description.utf8)
            reply.options.set(.bootFileName, text: url.description)
            // UEFI 2.10 section 24.7: an offer without it is not for HTTP boot.
            reply.options.set(.vendorClass, text: "HTTPClient")
        case .none: return false
        }
        return true
    }

    /// The boot script's URL with the machine's identity in it, short enough for the 128 bytes of `file`.
    private func scriptURL(_ mac: MACAddress, _ uuid: String?) -> BootURL? {
        var query = [BootURL.QueryItem("mac", mac.description)]
        if let uuid { query.append(.init("uuid", uuid)) }
        return try? BootURL(host: server, port: httpPort, path: "/boot/ipxe", query: query)
    }

    /// What a message tells of its sender.
    func client(
        _ packet: DHCPPacket, _ mac: MACAddress, _ phase: BootClient.Phase, _ now: Timestamp
    ) -> BootClient {
        BootClient(
            segment: name, mac: mac, uuid: packet.options.machineUUID,
            architecture: packet.options.clientArchitectures.first.map(BootArchitecture.init),
            isIPXE: packet.options.isIPXE,
            vendorClass: packet.options.text(.vendorClass)?.printable(limit: 128),
            hostname: packet.clientHostname, phase: phase, time: now)
    }
}

extension DHCPOptions {
    /// Whether iPXE asks (option 77).
    var isIPXE: Bool { userClasses.contains(Array("iPXE".utf8)) }
}

extension DHCPPacket {
    /// What the client calls itself (option 12), printable, at most 64 characters.
    var clientHostname: String? { options.text(.hostName)?.printable(limit: 64) }

    /// Whether a relayed message may be answered: it came over no more relays than RFC 1542 section 4.1.1 allows, and
    /// what the last of them added fits one option, so that it can be given back unchanged (RFC 3046 section 2.2).
    var isPlausible: Bool { hops <= 16 && options[.relayAgentInformation].map { $0.count <= 255 } ?? true }
}
