import CatalogBareMetal
import DHCP
import Primitives
import Testing

@testable import BootServer

extension [LeaseEngine.Effect] {
    fileprivate var probes: [IPv4Address] {
        flatMap { effect -> [IPv4Address] in if case .probe(let addresses) = effect { addresses } else { [] } }
    }
}

@Suite("Probing before offering")
struct ProbeTests {
    private let now = Lab.start

    private func engine(
        first: UInt8 = 50, last: UInt8 = 99, stock: Int = 4, reservations: [MACAddress: IPv4Address] = [:]
    ) throws -> LeaseEngine {
        var limits = LeaseEngine.Limits()
        limits.probeStock = stock
        return LeaseEngine(
            segment: try Lab.segment(first: first, last: last, reservations: reservations), leases: [], limits: limits)
    }

    private func silent(_ addresses: [IPv4Address]) -> [IPv4Address: ProbeAnswer] {
        Dictionary(uniqueKeysWithValues: addresses.map { ($0, .silent) })
    }

    @Test("a stock is kept ahead of need, from which offers are made at once; it is renewed before it is too old")
    func stock() throws {
        var engine = try engine()
        let asked = engine.step(.tick, now: now).probes
        #expect(asked.count == 4 && Set(asked).count == 4)
        #expect(engine.step(.tick, now: now).isEmpty, "they are under way")
        #expect(engine.step(.probed(silent(asked)), now: now).isEmpty)
        #expect(engine.step(.tick, now: now).isEmpty, "the stock is full")
        let offer = engine.step(.received(Lab.discover(1)), now: now)
        #expect(offer.types == [.offer] && offer.probes.isEmpty)
        #expect(asked.contains(offer.replies[0].packet.yourAddress))
        #expect(engine.step(.tick, now: now).probes.count == 1, "what was offered is replaced")
        let later = now.advanced(by: .seconds(105))
        #expect(engine.step(.tick, now: later).probes.count == 4)
    }

    @Test("a rush of machines has the stock grow, up to a part of the pool, and quiet has it shrink again")
    func rush() throws {
        var engine = try engine(first: 50, last: 249)
        _ = engine.step(.probed(silent(engine.step(.tick, now: now).probes)), now: now)
        let waiting = (1...10 as ClosedRange<UInt8>).map { engine.step(.received(Lab.discover($0)), now: now) }
        #expect(waiting.filter { $0.types == [.offer] }.count == 4)
        let asked = engine.step(.tick, now: now).probes
        #expect(asked.count == 40, "four times as many as came in a second")
        let offers = engine.step(.probed(silent(asked)), now: now)
        #expect(offers.probes.isEmpty)
        let others = (11...40 as ClosedRange<UInt8>).flatMap { engine.step(.received(Lab.discover($0)), now: now) }
        #expect(others.replies.count == 30 && Set(others.replies.map(\.packet.yourAddress)).count == 30)
        #expect(engine.step(.tick, now: now).probes.count == 90, "half of the pool is the most, ten are left")
        var time = now
        for _ in 0..<10 {
            time = time.advanced(by: .seconds(1))
            _ = engine.step(.tick, now: time)
        }
        let later = time.advanced(by: .seconds(300))
        #expect(engine.step(.tick, now: later).probes.count == 4)
    }

    @Test("without a stock the offer waits for the probe, which is begun once, and goes to the newest message")
    func waiting() throws {
        var engine = try engine()
        let first = engine.step(.received(Lab.discover(1)), now: now)
        #expect(first.types.isEmpty && first.probes.count == 1)
        var again = Lab.discover(1)
        again.transaction = 99
        #expect(engine.step(.received(again), now: now).probes.isEmpty)
        let offers = engine.step(.probed(silent(first.probes)), now: now)
        #expect(offers.replies.map(\.packet.transaction) == [99])
        #expect(offers.replies.map(\.packet.yourAddress) == first.probes)
        #expect(engine.step(.probed(silent(first.probes)), now: now).isEmpty, "an answer counts once")
    }

    @Test("an address that answers is quarantined and told of, and the machine gets another")
    func answered() throws {
        var engine = try engine()
        let first = engine.step(.received(Lab.discover(1)), now: now).probes[0]
        let effects = engine.step(.probed([first: .answered(Lab.mac(9))]), now: now)
        #expect(effects.reports == [.addressAnswers(first, by: Lab.mac(9))])
        #expect(engine.leases[first]?.phase == .quarantined && engine.leases[first]?.mac == Lab.mac(9))
        let second = try #require(effects.probes.first)
        #expect(second != first)
        #expect(engine.step(.probed(silent([second])), now: now).types == [.offer])
        let later = now.advanced(by: .seconds(601))
        #expect(engine.isFree(first, for: nil, later), "the quarantine ends")
    }

    @Test("a machine that answers for its own address keeps it; a lease is never probed")
    func own() throws {
        var engine = try engine(reservations: [Lab.mac(1): Lab.address(20)])
        let probe = engine.step(.received(Lab.discover(1)), now: now).probes
        #expect(probe == [Lab.address(20)])
        let offers = engine.step(.probed([Lab.address(20): .answered(Lab.mac(1))]), now: now)
        #expect(offers.replies.map(\.packet.yourAddress) == [Lab.address(20)])
        let commit = engine.step(.received(Lab.select(1, Lab.address(20))), now: now).commits[0]
        _ = engine.step(.committed(commit.0, nil), now: now)
        let renewed = engine.step(.received(Lab.discover(1)), now: now)
        #expect(renewed.types == [.offer] && renewed.probes.isEmpty)
    }

    @Test("a reserved address that another uses is not offered, and told of")
    func reserved() throws {
        var engine = try engine(reservations: [Lab.mac(1): Lab.address(20)])
        _ = engine.step(.received(Lab.discover(1)), now: now)
        let effects = engine.step(.probed([Lab.address(20): .answered(Lab.mac(9))]), now: now)
        #expect(effects.reports.contains(.addressAnswers(Lab.address(20), by: Lab.mac(9))))
        #expect(effects.probes.count == 1 && effects.probes[0] != Lab.address(20))
    }

    @Test("hosts that answer for everything cannot quarantine more than a part of the pool")
    func liar() throws {
        var engine = try engine(stock: 16)
        var time = now
        for _ in 0..<30 {
            let asked = engine.step(.tick, now: time).probes
            let answers = Dictionary(uniqueKeysWithValues: asked.map { ($0, ProbeAnswer.answered(Lab.mac(9))) })
            _ = engine.step(.probed(answers), now: time)
            time = time.advanced(by: .seconds(1))
        }
        #expect(engine.leases.values.count { $0.phase == .quarantined } == 12)
    }

    @Test("ARP probes are as RFC 5227 says; answers, probes of others and all else are told apart")
    func arp() throws {
        let probe = ARPMessage.probe(Lab.address(50), from: Lab.mac(1))
        #expect(
            probe.bytes == [0, 1, 8, 0, 6, 4, 0, 1] + Lab.mac(1).bytes + [0, 0, 0, 0] + [0, 0, 0, 0, 0, 0]
                + [10, 77, 0, 50])
        #expect(Array(probe.broadcastFrame.prefix(14)) == MACAddress.broadcast.bytes + Lab.mac(1).bytes + [8, 6])
        #expect(probe.claimed == Lab.address(50))
        var reply = probe
        reply.isRequest = false
        reply.senderAddress = Lab.address(51)
        let decoded = try #require(ARPMessage(decoding: reply.bytes + [0, 0, 0]))
        #expect(decoded == reply && decoded.claimed == Lab.address(51))
        reply.senderAddress = .any
        #expect(reply.claimed == nil)
        for count in 0..<28 { #expect(ARPMessage(decoding: Array(probe.bytes.prefix(count))) == nil) }
        for index in 0..<8 {
            var changed = probe.bytes
            changed[index] = 0xFF
            #expect(ARPMessage(decoding: changed) == nil)
        }
    }

    @Test("an echo request has its checksum, and only its own replies count")
    func echo() {
        let request = EchoMessage.request(identifier: 0x1234)
        #expect(InternetChecksum.of(request) == 0)
        let header: [UInt8] = [0x45, 0, 0, 48, 0, 0, 0, 0, 64, 1, 0, 0] + Lab.address(50).bytes + Lab.server.bytes
        var reply = request
        reply[0] = 0
        #expect(EchoMessage.source(ofReply: 0x1234, in: header + reply) == Lab.address(50))
        #expect(EchoMessage.source(ofReply: 0x1235, in: header + reply) == nil)
        #expect(EchoMessage.source(ofReply: 0x1234, in: header + request) == nil)
        for count in 0..<28 {
            #expect(EchoMessage.source(ofReply: 0x1234, in: Array((header + reply).prefix(count))) == nil)
        }
    }
}

@Suite("proxyDHCP engine and the choice of a segment")
struct ProxyEngineTests {
    private let now = Lab.start
    private let any = DHCPPeer(address: .any, port: 68)

    private func pxe(_ type: DHCPMessageType, _ change: (inout DHCPPacket) -> Void = { _ in }) -> DHCPPacket {
        var packet = DHCPPacket(request: type, transaction: 5, client: Lab.mac(1))
        packet.options.set(.vendorClass, text: "PXEClient:Arch:00000:UNDI:002001")
        packet.options[.userClass] = Array("iPXE".utf8)
        packet.options[.clientMachineIdentifier] = DHCPOptions.machineIdentifier(uuid: Array(1...16))
        change(&packet)
        return packet
    }

    @Test("an offer has siaddr, file and options 43, 54, 60 and 97, no address, and goes to all")
    func offer() throws {
        var engine = ProxyEngine(segment: try Lab.segment())
        let reply = try #require(engine.step(pxe(.discover), from: any, port: 67, now: now).replies.first)
        #expect(reply.destination == .broadcast)
        #expect(reply.packet.yourAddress == .any && reply.packet.nextServer == Lab.server)
        #expect(!reply.packet.bootFile.isEmpty)
        let options = reply.packet.options
        #expect(options.messageType == .offer && options.serverIdentifier == Lab.server)
        #expect(options[.vendorSpecific] == [6, 1, 8, 255])
        #expect(options.text(.vendorClass) == "PXEClient")
        #expect(options.machineUUID == pxe(.discover).options.machineUUID)
        for code in [.subnetMask, .routers, .leaseTime, .ntpServers] as [DHCPOptions.Code] {
            #expect(options[code] == nil)
        }
    }

    @Test("no answer to HTTP clients, to others, to choices of the other server's offer, and to strangers on 4011")
    func silence() throws {
        var engine = ProxyEngine(segment: try Lab.segment())
        let inside = DHCPPeer(address: Lab.address(60), port: 68)
        let outside = DHCPPeer(address: IPv4Address(bytes: [192, 0, 2, 1]), port: 4011)
        func isSilent(_ packet: DHCPPacket, _ source: DHCPPeer, _ port: UInt16) -> Bool {
            engine.step(packet, from: source, port: port, now: now).replies.isEmpty
        }
        #expect(isSilent(pxe(.discover) { $0.options.set(.vendorClass, text: "HTTPClient:Arch:00016") }, any, 67))
        #expect(isSilent(pxe(.discover) { $0.options[.vendorClass] = nil }, any, 67))
        #expect(isSilent(pxe(.request) { $0.options.serverIdentifier = Lab.address(2) }, any, 67))
        #expect(isSilent(pxe(.request), outside, 4011))
        #expect(isSilent(pxe(.request) { $0.clientAddress = Lab.address(61) }, inside, 4011), "another's address")
        #expect(isSilent(pxe(.discover) { $0.relayAddress = Lab.address(2) }, any, 67), "no relay of the segment")
    }

    @Test("a question on port 4011 is acknowledged to where it came from")
    func bootServer() throws {
        var engine = ProxyEngine(segment: try Lab.segment())
        let peer = DHCPPeer(address: Lab.address(60), port: 4011)
        let packet = pxe(.request) { $0.clientAddress = Lab.address(60) }
        let reply = try #require(engine.step(packet, from: peer, port: 4011, now: now).replies.first)
        #expect(reply.packet.options.messageType == .acknowledge && reply.packet.yourAddress == .any)
        #expect(reply.destination == .unicast(Lab.address(60), port: 4011))
    }

    @Test("a message is for the segment of its relay, of the selected link, of its address, or of the interface")
    func claims() throws {
        let relay = IPv4Address(bytes: [10, 80, 0, 1])
        let claims = [
            DHCPClaim(network: try IPv4Network("10.77.0.0/24"), relays: [], isAttached: true),
            DHCPClaim(network: try IPv4Network("10.80.0.0/24"), relays: [relay], isAttached: false),
            DHCPClaim(network: try IPv4Network("10.81.0.0/24"), relays: [relay], isAttached: false),
        ]
        var packet = Lab.discover(1)
        func choice() -> Int? { DHCPClaim.choose(for: packet, among: claims) }
        #expect(choice() == 0)
        packet.clientAddress = IPv4Address(bytes: [10, 81, 0, 60])
        #expect(choice() == 2, "a renewal over a router")
        packet.clientAddress = .any
        packet.relayAddress = relay
        #expect(choice() == 1)
        packet.options[.relayAgentInformation] = [5, 4, 10, 81, 0, 0]
        #expect(choice() == 2, "the relay selects another link (RFC 3527)")
        packet.options[.relayAgentInformation] = [5, 4, 10, 99, 0, 0]
        #expect(choice() == nil)
        packet.options[.relayAgentInformation] = nil
        packet.relayAddress = IPv4Address(bytes: [10, 80, 0, 9])
        #expect(choice() == nil, "a relay that no segment names")
    }

    @Test("option 82 comes back unchanged, and one that is too long for that is not answered; nor are loops of relays")
    func relayInformation() throws {
        var engine = LeaseEngine(segment: try Lab.segment(relays: [Lab.address(2)]), leases: [])
        var packet = Lab.discover(1)
        packet.relayAddress = Lab.address(2)
        packet.hops = 1
        for information in [[], [1, 0], [1, 4, 0, 1, 2, 3, 2, 6, 1, 2, 3, 4, 5, 6, 250, 1, 9]] as [[UInt8]] {
            packet.options[.relayAgentInformation] = information
            let reply = try #require(engine.step(.received(packet), now: now).replies.first)
            #expect(reply.packet.options[.relayAgentInformation] == information)
            let bytes = try reply.packet.encoded(sizeMax: reply.sizeMax)
            #expect(try DHCPPacket(decoding: bytes).options[.relayAgentInformation] == information)
        }
        packet.options[.relayAgentInformation] = Array(repeating: 0, count: 256)
        #expect(engine.step(.received(packet), now: now).isEmpty)
        packet.options[.relayAgentInformation] = nil
        packet.hops = 17
        #expect(engine.step(.received(packet), now: now).isEmpty)
    }
}
