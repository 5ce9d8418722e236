import DHCP
import NetworkBoot
import Primitives

/// A DHCP client as firmware and small systems have it (RFC 2131 section 4.4).
struct DHCPClient {
    /// Who asks: they are told to boot different things.
    enum Stage: Equatable {
        case firmware
        case ipxe
        case ramdisk
        case installed
    }

    let stage: Stage
    let transaction: UInt32
    let then: (DHCPPacket) -> Void
    var isSelecting = true
    var attempt = 0
    var sentAt: Int64 = 0
    var offer: DHCPPacket?
}

extension Machine {
    /// Boots over the network: an address and a program, then iPXE, an address and a script.
    func bootNetwork() {
        running = .firmware
        obtainAddress(shape.hasIPXE ? .ipxe : .firmware) { [self] answer in
            let isScript = answer.options.text(.bootFileName)?.contains("/boot/ipxe") == true
            if isScript { return runScript() }
            guard answer.options.text(.bootFileName) != nil else { return startAgain("got no boot file") }
            load("iPXE", 1000...8000) { [self] in obtainAddress(.ipxe) { [self] _ in runScript() } }
        }
    }

    /// Loads a file; a failure makes firmware begin anew.
    private func load(_ what: String, _ time: ClosedRange<Int64>, then: @escaping () -> Void) {
        world.after(world.slowly(time), self, "has loaded \(what)") { [self] in
            if world.conductor == nil || world.strikes(.failedLoad) { return startAgain("could not load \(what)") }
            then()
        }
    }

    /// Firmware that gets no further starts the machine anew.
    private func startAgain(_ why: String) {
        world.after(world.slowly(10_000...40_000), self, "\(why), starts anew") { [self] in boot() }
    }

    private func runScript() {
        guard let script = world.conductor?.script(for: self) else { return startAgain("got no script") }
        switch script {
        case .discovery: load("the ramdisk", 2000...15_000) { [self] in bootRamdisk() }
        case .localDisk: bootDisk { startAgain("has nothing on its disk") }
        case .wait(let seconds, _):
            world.after(Int64(seconds) * 1000, self, "asks for its script again") { [self] in runScript() }
        }
    }

    // MARK: DHCP

    /// Gets an address, trying for ever, and goes on with the acknowledgement.
    func obtainAddress(_ stage: DHCPClient.Stage, then: @escaping (DHCPPacket) -> Void) {
        dhcp = DHCPClient(stage: stage, transaction: world.draw(1...UInt32.max), then: then)
        ask()
    }

    /// Sends the message that is next, and again when nothing comes back.
    private func ask() {
        guard var client = dhcp else { return }
        client.attempt += 1
        if client.attempt > 4 {
            client.isSelecting = true
            client.offer = nil
            client.attempt = 1
        }
        client.sentAt = world.now
        dhcp = client
        if let packet = message(client) { world.sendToConductor(packet, from: self) }
        let (transaction, attempt, isSelecting) = (client.transaction, client.attempt, client.isSelecting)
        world.after(4000 << Int64(min(attempt, 3)), self, "asks for an address again") { [self] in
            guard let now = dhcp, now.transaction == transaction, now.attempt == attempt,
                now.isSelecting == isSelecting
            else { return }
            ask()
        }
    }

    private func message(_ client: DHCPClient) -> DHCPPacket? {
        var packet = DHCPPacket(
            request: client.isSelecting ? .discover : .request, transaction: client.transaction, client: mac,
            broadcast: client.stage == .firmware)
        switch client.stage {
        case .firmware:
            packet.options[.clientArchitecture] = [0, shape.isUEFI ? 7 : 0]
            packet.options.set(.vendorClass, text: "PXEClient:Arch:0000\(shape.isUEFI ? 7 : 0):UNDI:002001")
        case .ipxe:
            packet.options[.clientArchitecture] = [0, shape.isUEFI ? 7 : 0]
            packet.options[.userClass] = Array("iPXE".utf8)
        case .ramdisk, .installed: break
        }
        if let offer = client.offer {
            packet.options.requestedAddress = offer.yourAddress
            packet.options.serverIdentifier = offer.options.serverIdentifier
        }
        return packet
    }

    /// A message of the server.
    func receive(_ packet: DHCPPacket) {
        guard isOn, var client = dhcp, packet.transaction == client.transaction, packet.macAddress == mac else {
            return
        }
        switch packet.options.messageType {
        case .offer where client.isSelecting:
            client.isSelecting = false
            client.attempt = 0
            client.offer = packet
            dhcp = client
            ask()
        case .acknowledge where !client.isSelecting:
            if let until = world.foreignAddresses[packet.yourAddress], until > world.now {
                return decline(packet, client)
            }
            let seconds = packet.options[.leaseTime].map { $0.reduce(0 as UInt32) { $0 << 8 | UInt32($1) } } ?? 0
            dhcp = nil
            // What it was given counts from when it asked (RFC 2131 section 4.4.1).
            take(packet.yourAddress, until: client.sentAt + Int64(seconds) * 1000)
            renew(packet, client, seconds)
            client.then(packet)
        case .refuse where !client.isSelecting:
            client.isSelecting = true
            client.offer = nil
            dhcp = client
            dropAddress()
            ask()
        default: break
        }
    }

    /// Somebody answers at the address: it is given back, and another is asked for (RFC 2131 section 3.1 step 5).
    private func decline(_ packet: DHCPPacket, _ client: DHCPClient) {
        var answer = DHCPPacket(request: .decline, transaction: client.transaction, client: mac)
        answer.options.requestedAddress = packet.yourAddress
        answer.options.serverIdentifier = packet.options.serverIdentifier
        world.sendToConductor(answer, from: self)
        let stage = client.stage
        let then = client.then
        dhcp = nil
        world.after(10_000, self, "asks for another address") { [self] in obtainAddress(stage, then: then) }
    }

    /// Systems renew at half the lease's time, and stop using an address whose time is over.
    private func renew(_ packet: DHCPPacket, _ client: DHCPClient, _ seconds: UInt32) {
        guard client.stage == .ramdisk || client.stage == .installed else { return }
        world.after(Int64(seconds) * 500, self, "renews its address") { [self] in
            guard dhcp == nil, lease?.address == packet.yourAddress else { return }
            dhcp = DHCPClient(stage: client.stage, transaction: world.draw(1...UInt32.max), then: { _ in })
            dhcp?.isSelecting = false
            dhcp?.offer = packet
            ask()
        }
    }
}
