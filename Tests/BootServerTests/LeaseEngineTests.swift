import CatalogBareMetal
import DHCP
import NetworkBoot
import Primitives
import Testing

@testable import BootServer

/// A segment with room for some machines, and a client's half of the conversation.
enum Lab {
    static let server = IPv4Address(bytes: [10, 77, 0, 1])
    static let start = Timestamp(millisecondsSinceEpoch: 1_800_000_000_000)

    static func address(_ last: UInt8) -> IPv4Address { IPv4Address(bytes: [10, 77, 0, last]) }
    static func mac(_ last: UInt8) -> MACAddress { MACAddress(bytes: [0x52, 0x54, 0, 0x77, 0, last]) }

    static func segment(
        first: UInt8 = 50, last: UInt8 = 99, reservations: [MACAddress: IPv4Address] = [:],
        relays: Set<IPv4Address> = [],
        router: IPv4Address? = nil, domain: String? = nil, mtu: UInt16? = nil, routes: [Segment.Route] = []
    ) throws -> DHCPSegment {
        try DHCPSegment(
            name: "lab", network: IPv4Network("10.77.0.0/24"), server: server, pools: [address(first)...address(last)],
            reservations: reservations, relays: relays, router: router, dnsServers: [address(1)], domain: domain,
            mtu: mtu, routes: routes, httpPort: 8080)
    }

    static func discover(_ client: UInt8) -> DHCPPacket {
        DHCPPacket(request: .discover, transaction: UInt32(client), client: mac(client))
    }

    static func select(_ client: UInt8, _ wanted: IPv4Address, server: IPv4Address = server) -> DHCPPacket {
        var packet = reboot(client, wanted)
        packet.options.serverIdentifier = server
        return packet
    }

    static func reboot(_ client: UInt8, _ wanted: IPv4Address) -> DHCPPacket {
        var packet = DHCPPacket(request: .request, transaction: UInt32(client), client: mac(client))
        packet.options.requestedAddress = wanted
        return packet
    }

    static func renew(_ client: UInt8, _ own: IPv4Address) -> DHCPPacket {
        var packet = DHCPPacket(request: .request, transaction: UInt32(client), client: mac(client))
        packet.clientAddress = own
        return packet
    }

    static func release(_ client: UInt8, _ own: IPv4Address) -> DHCPPacket {
        var packet = DHCPPacket(request: .release, transaction: UInt32(client), client: mac(client))
        packet.clientAddress = own
        packet.options.serverIdentifier = server
        return packet
    }

    static func decline(_ client: UInt8, _ found: IPv4Address) -> DHCPPacket {
        var packet = DHCPPacket(request: .decline, transaction: UInt32(client), client: mac(client))
        packet.options.requestedAddress = found
        packet.options.serverIdentifier = server
        return packet
    }

    /// DISCOVER to ACK, with a store that always works.
    static func bind(_ engine: inout LeaseEngine, _ client: UInt8, _ now: Timestamp) throws -> IPv4Address {
        let offer = try #require(engine.step(.received(discover(client)), now: now).replies.first)
        let address = offer.packet.yourAddress
        let effects = engine.step(.received(select(client, address)), now: now)
        let (id, _) = try #require(effects.commits.first)
        let acknowledged = try #require(engine.step(.committed(id, nil), now: now).replies.first)
        #expect(acknowledged.packet.options.messageType == .acknowledge)
        return acknowledged.packet.yourAddress
    }
}

extension [LeaseEngine.Effect] {
    var replies: [DHCPReply] { compactMap { if case .send(let reply) = $0 { reply } else { nil } } }
    var types: [DHCPMessageType] { replies.compactMap(\.packet.options.messageType) }
    var reports: [LeaseReport] { compactMap { if case .report(let report) = $0 { report } else { nil } } }
    var clients: [BootClient] { compactMap { if case .observed(let client) = $0 { client } else { nil } } }
    var commits: [(LeaseCommitID, LeaseRecord)] {
        compactMap { if case .commitLease(let id, let record, _) = $0 { (id, record) } else { nil } }
    }
}

@Suite("DHCP lease engine")
struct LeaseEngineTests {
    private let now = Lab.start

    @Test("DISCOVER, OFFER, REQUEST, stored, ACK: in this order and with these options")
    func acknowledgedAfterStored() throws {
        var engine = LeaseEngine(
            segment: try Lab.segment(router: Lab.address(254), domain: "rack.example"), leases: [])
        let offer = try #require(engine.step(.received(Lab.discover(1)), now: now).replies.first)
        #expect(offer.packet.options.messageType == .offer)
        #expect(engine.leases.isEmpty, "an offer is not a lease")
        let address = offer.packet.yourAddress
        #expect((Lab.address(50)...Lab.address(99)).contains(address))
        #expect(offer.destination == .hardware(Lab.mac(1), address))

        let effects = engine.step(.received(Lab.select(1, address)), now: now)
        #expect(effects.replies.isEmpty, "nothing is acknowledged before it is stored")
        let (id, record) = try #require(effects.commits.first)
        #expect(record.expires == now.advanced(by: .seconds(3630)))

        let answers = engine.step(.committed(id, nil), now: now)
        let reply = try #require(answers.replies.first)
        let options = reply.packet.options
        #expect(options.messageType == .acknowledge)
        #expect(reply.packet.yourAddress == address)
        #expect(reply.packet.nextServer == Lab.server)
        #expect(options.addresses(.subnetMask) == [IPv4Address(bytes: [255, 255, 255, 0])])
        #expect(options.addresses(.routers) == [Lab.address(254)])
        #expect(options.addresses(.domainNameServers) == [Lab.server])
        #expect(options.text(.domainName) == "rack.example")
        #expect(options.seconds(.leaseTime) == 3600)
        #expect(options.seconds(.renewalTime) == 1800)
        #expect(options.seconds(.rebindingTime) == 3150)
        #expect(options.serverIdentifier == Lab.server)
        #expect(answers.clients.map(\.phase) == [.bound(address)])
    }

    @Test("a failed store gives no answer, and the machine may ask again")
    func storeFails() throws {
        var engine = LeaseEngine(segment: try Lab.segment(), leases: [])
        let address = engine.step(.received(Lab.discover(1)), now: now).replies[0].packet.yourAddress
        let (id, _) = engine.step(.received(Lab.select(1, address)), now: now).commits[0]
        let before = engine
        let failed = engine.step(.committed(id, .unavailable("disk full")), now: now)
        #expect(failed.replies.isEmpty)
        #expect(failed.reports == [.storeFailed(Lab.mac(1), "disk full")])
        var frozen = before
        #expect(frozen.step(.committed(id, .frozen), now: now).isEmpty, "no answer, and nobody is told")
        #expect(engine.step(.committed(id, nil), now: now).isEmpty, "a result counts once")
        #expect(engine.leases.isEmpty)
        #expect(engine.step(.received(Lab.select(1, address)), now: now).commits.count == 1)
    }

    @Test("a conductor whose own address is a lease keeps it, and nobody else gets it")
    func leasedFellow() throws {
        var before = LeaseEngine(segment: try Lab.segment(), leases: [])
        let address = before.step(.received(Lab.discover(1)), now: now).replies[0].packet.yourAddress
        let (id, record) = before.step(.received(Lab.select(1, address)), now: now).commits[0]
        _ = before.step(.committed(id, nil), now: now)
        var segment = try Lab.segment()
        segment.fellows = [address]
        var engine = LeaseEngine(segment: segment, leases: [record])
        #expect(engine.step(.received(Lab.discover(1)), now: now).replies.first?.packet.yourAddress == address)
        #expect(engine.step(.received(Lab.select(1, address)), now: now).commits.count == 1)
        var other = LeaseEngine(segment: segment, leases: [])
        #expect(other.step(.received(Lab.discover(1)), now: now).replies.first?.packet.yourAddress != address)
    }

    @Test("the store's word counts: another holder means NAK")
    func conflict() throws {
        var engine = LeaseEngine(segment: try Lab.segment(), leases: [])
        let address = engine.step(.received(Lab.discover(1)), now: now).replies[0].packet.yourAddress
        let (id, _) = engine.step(.received(Lab.select(1, address)), now: now).commits[0]
        let other = LeaseRecord(
            address: address, mac: Lab.mac(9), expires: now.advanced(by: .seconds(60)), lastSeen: now)
        let effects = engine.step(.committed(id, .held(other)), now: now)
        #expect(effects.types == [.refuse])
        #expect(effects.reports == [.conflict(address, wantedBy: Lab.mac(1), heldBy: Lab.mac(9))])
        let next = engine.step(.received(Lab.discover(1)), now: now).replies[0]
        #expect(next.packet.yourAddress != address)
    }

    @Test("a retransmitted REQUEST is stored once and answered to its newest transaction")
    func retransmission() throws {
        var engine = LeaseEngine(segment: try Lab.segment(), leases: [])
        let address = engine.step(.received(Lab.discover(1)), now: now).replies[0].packet.yourAddress
        let (id, _) = engine.step(.received(Lab.select(1, address)), now: now).commits[0]
        var again = Lab.select(1, address)
        again.transaction = 77
        #expect(engine.step(.received(again), now: now).isEmpty)
        #expect(engine.step(.committed(id, nil), now: now).replies.map(\.packet.transaction) == [77])
    }

    @Test("a machine has one address, whatever client identifier it sends, also after a restart")
    func stable() throws {
        let segment = try Lab.segment()
        var engine = LeaseEngine(segment: segment, leases: [])
        let first = try Lab.bind(&engine, 1, now)
        var other = Lab.discover(1)
        other.options[.clientIdentifier] = [255, 1, 2, 3, 4]
        #expect(engine.step(.received(other), now: now).replies[0].packet.yourAddress == first)

        var restarted = LeaseEngine(segment: segment, leases: Array(engine.leases.values))
        let later = now.advanced(by: .seconds(1800))
        #expect(restarted.step(.received(Lab.renew(1, first)), now: later).commits.count == 1)
        var fresh = LeaseEngine(segment: segment, leases: [])
        #expect(fresh.step(.received(Lab.discover(1)), now: now).replies[0].packet.yourAddress == first)
    }

    @Test("RENEW goes to the client's own address; INIT-REBOOT to its hardware address; broadcast when asked for")
    func destinations() throws {
        var engine = LeaseEngine(segment: try Lab.segment(relays: [Lab.address(2)]), leases: [])
        let address = try Lab.bind(&engine, 1, now)
        let half = now.advanced(by: .seconds(1800))
        var effects = engine.step(.received(Lab.renew(1, address)), now: half)
        var reply = engine.step(.committed(effects.commits[0].0, nil), now: half).replies[0]
        #expect(reply.destination == .unicast(address, port: 68))
        #expect(reply.packet.clientAddress == address)

        let end = half.advanced(by: .seconds(1800))
        effects = engine.step(.received(Lab.reboot(1, address)), now: end)
        reply = engine.step(.committed(effects.commits[0].0, nil), now: end).replies[0]
        #expect(reply.destination == .hardware(Lab.mac(1), address))

        var packet = Lab.discover(1)
        packet.flags = 0x8000
        #expect(engine.step(.received(packet), now: now).replies[0].destination == .broadcast)
        packet.flags = 0
        packet.relayAddress = Lab.address(2)
        packet.options[.relayAgentInformation] = [1, 1, 9]
        let relayed = engine.step(.received(packet), now: now).replies[0]
        #expect(relayed.destination == .unicast(Lab.address(2), port: 67))
        #expect(relayed.packet.options[.relayAgentInformation] == [1, 1, 9])
        packet.relayAddress = IPv4Address(bytes: [192, 0, 2, 1])
        #expect(engine.step(.received(packet), now: now).isEmpty, "a relay that the segment does not name is not ours")
    }

    @Test(
        "wrong addresses are refused",
        arguments: [
            Lab.address(10), Lab.address(1), Lab.address(255), IPv4Address(bytes: [192, 168, 1, 7]),
        ])
    func refused(address: IPv4Address) throws {
        var engine = LeaseEngine(segment: try Lab.segment(), leases: [])
        for packet in [Lab.reboot(1, address), Lab.renew(1, address), Lab.select(1, address)] {
            let effects = engine.step(.received(packet), now: now)
            #expect(effects.types == [.refuse])
            #expect(effects.replies[0].destination == .broadcast)
        }
        let taken = try Lab.bind(&engine, 2, now)
        #expect(engine.step(.received(Lab.reboot(1, taken)), now: now).types == [.refuse])
    }

    @Test("a REQUEST to another server ends our offer, silently for the client")
    func otherServer() throws {
        var engine = LeaseEngine(segment: try Lab.segment(first: 50, last: 50), leases: [])
        #expect(engine.step(.received(Lab.discover(1)), now: now).types == [.offer])
        #expect(engine.step(.received(Lab.discover(2)), now: now).types.isEmpty)
        let other = Lab.address(2)
        let effects = engine.step(.received(Lab.select(1, Lab.address(60), server: other)), now: now)
        #expect(effects == [.report(.otherServer(other, chosenBy: Lab.mac(1)))])
        #expect(engine.step(.received(Lab.discover(2)), now: now).types == [.offer])
    }

    @Test("RELEASE frees the address once the store has forgotten it")
    func release() throws {
        var engine = LeaseEngine(segment: try Lab.segment(first: 50, last: 50), leases: [])
        let address = try Lab.bind(&engine, 1, now)
        #expect(engine.step(.received(Lab.release(2, address)), now: now).isEmpty, "not its lease")
        let effects = engine.step(.received(Lab.release(1, address)), now: now)
        guard case .releaseLease(let record)? = effects.first else {
            Issue.record("no release: \(effects)")
            return
        }
        #expect(engine.step(.received(Lab.discover(2)), now: now).types.isEmpty, "still in the store")
        _ = engine.step(.released(record, isDone: true), now: now)
        #expect(try Lab.bind(&engine, 2, now) == address)
    }

    @Test("DECLINE keeps the address from everybody for a time; a flood of them cannot empty the pool")
    func decline() throws {
        var engine = LeaseEngine(segment: try Lab.segment(first: 50, last: 51), leases: [])
        let address = try Lab.bind(&engine, 1, now)
        let effects = engine.step(.received(Lab.decline(1, address)), now: now)
        #expect(effects.reports == [.addressInUse(address, reportedBy: Lab.mac(1))])
        #expect(engine.leases[address]?.phase == .quarantined)
        let second = try Lab.bind(&engine, 1, now)
        #expect(second != address)
        #expect(engine.step(.received(Lab.discover(2)), now: now).reports == [.poolExhausted(Lab.mac(2))])
        let later = now.advanced(by: .seconds(601))
        #expect(engine.step(.received(Lab.discover(2)), now: later).replies[0].packet.yourAddress == address)

        var large = LeaseEngine(segment: try Lab.segment(first: 50, last: 99), leases: [])
        for client in 1...40 as ClosedRange<UInt8> {
            let bound = try Lab.bind(&large, client, now)
            _ = large.step(.received(Lab.decline(client, bound)), now: now)
        }
        #expect(large.leases.values.count { $0.phase == .quarantined && $0.expires > now } == 12)
    }

    @Test("an exhausted pool is reported and silent; the longest expired lease goes first")
    func exhausted() throws {
        var engine = LeaseEngine(segment: try Lab.segment(first: 50, last: 51), leases: [])
        let first = try Lab.bind(&engine, 1, now)
        _ = try Lab.bind(&engine, 2, now.advanced(by: .seconds(10)))
        let effects = engine.step(.received(Lab.discover(3)), now: now.advanced(by: .seconds(20)))
        #expect(effects.types.isEmpty)
        #expect(effects.reports == [.poolExhausted(Lab.mac(3))])
        let expired = now.advanced(by: .seconds(3645))
        #expect(try Lab.bind(&engine, 3, expired) == first)
        #expect(engine.step(.received(Lab.renew(1, first)), now: expired).types == [.refuse])
    }

    @Test("reservations are for their machine only, and held ones are reported")
    func reservations() throws {
        let reserved = [Lab.mac(1): Lab.address(20), Lab.mac(2): Lab.address(50)]
        let segment = try Lab.segment(first: 50, last: 51, reservations: reserved)
        var engine = LeaseEngine(segment: segment, leases: [])
        #expect(try Lab.bind(&engine, 1, now) == Lab.address(20))
        #expect(try Lab.bind(&engine, 3, now) == Lab.address(51))
        #expect(engine.step(.received(Lab.reboot(3, Lab.address(50))), now: now).types == [.refuse])
        #expect(engine.step(.received(Lab.discover(4)), now: now).types.isEmpty)
        #expect(try Lab.bind(&engine, 2, now) == Lab.address(50))

        let held = LeaseRecord(
            address: Lab.address(20), mac: Lab.mac(9), expires: now.advanced(by: .seconds(60)), lastSeen: now)
        var later = LeaseEngine(segment: try Lab.segment(reservations: reserved), leases: [held])
        let effects = later.step(.received(Lab.discover(1)), now: now)
        #expect(effects.reports == [.reservationHeld(Lab.address(20), reservedFor: Lab.mac(1))])
        let interim = try Lab.bind(&later, 1, now)
        let freed = now.advanced(by: .seconds(61))
        #expect(later.step(.received(Lab.renew(1, interim)), now: freed).types == [.refuse], "it moves")
        let moved = later.step(.received(Lab.discover(1)), now: freed).replies[0].packet.yourAddress
        let effect = later.step(.received(Lab.select(1, moved)), now: freed).first
        guard case .commitLease(_, let record, let replaced)? = effect else {
            Issue.record("not committed")
            return
        }
        #expect(record.address == Lab.address(20))
        #expect(replaced?.address == interim)
    }

    @Test("INFORM is answered with the configuration and no address")
    func inform() throws {
        var engine = LeaseEngine(segment: try Lab.segment(), leases: [])
        var packet = DHCPPacket(request: .inform, transaction: 5, client: Lab.mac(1))
        packet.clientAddress = Lab.address(20)
        let reply = try #require(engine.step(.received(packet), now: now).replies.first)
        #expect(reply.packet.yourAddress == .any)
        #expect(reply.packet.options.seconds(.leaseTime) == nil)
        #expect(reply.destination == .unicast(Lab.address(20), port: 68))
    }

    @Test("iPXE is given its script's URL, without a wait for proxyDHCP; other clients are not")
    func bootFile() throws {
        var engine = LeaseEngine(segment: try Lab.segment(), leases: [])
        var packet = Lab.discover(1)
        packet.options[.userClass] = Array("iPXE".utf8)
        packet.options[.clientArchitecture] = [0, 7]
        packet.options[.clientMachineIdentifier] = DHCPOptions.machineIdentifier(
            uuid: [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF])
        packet.options.maximumMessageSize = 1472
        let effects = engine.step(.received(packet), now: now)
        let uuid = "01234567-89ab-cdef-0123-456789abcdef"
        let url = "http://10.77.0.1:8080/boot/ipxe?mac=52:54:00:77:00:01&uuid=\(uuid)"
        let reply = effects.replies[0]
        #expect(String(decoding: reply.packet.bootFile, as: UTF8.self) == url)
        #expect(reply.packet.options.text(.bootFileName) == url)
        #expect(reply.packet.options.encapsulated(.ipxe) == [.ipxeNoProxyDHCP])
        let client = try #require(effects.clients.first)
        #expect(client.uuid == uuid && client.architecture == .uefi64 && client.isIPXE && client.isNetworkBoot)
        #expect(client.phase == .looking)
        let encoded = try reply.packet.encoded(sizeMax: reply.sizeMax)
        #expect(try DHCPPacket(decoding: encoded) == reply.packet)

        let plain = engine.step(.received(Lab.discover(2)), now: now)
        #expect(plain.replies[0].packet.bootFile.isEmpty)
        #expect(plain.replies[0].packet.options[.bootFileName] == nil)
        #expect(plain.clients[0].isNetworkBoot == false)
    }

    @Test(
        "firmware is given iPXE: by TFTP for PXE, by URL for HTTP boot",
        arguments: [
            (0, "PXEClient:Arch:00000:UNDI:002001", "undionly.kpxe", nil),
            (7, "PXEClient:Arch:00007:UNDI:003000", "snponly.efi", nil),
            (16, "HTTPClient:Arch:00016:UNDI:003000", "http://10.77.0.1:8080/boot/programs/snponly.efi", "HTTPClient"),
        ] as [(UInt8, String, String, String?)])
    func bootProgram(_ number: UInt8, _ vendor: String, _ file: String, _ answered: String?) throws {
        var engine = LeaseEngine(segment: try Lab.segment(), leases: [])
        var packet = Lab.discover(1)
        packet.options.set(.vendorClass, text: vendor)
        packet.options[.clientArchitecture] = [0, number]
        let reply = try #require(engine.step(.received(packet), now: now).replies.first).packet
        #expect(String(decoding: reply.bootFile, as: UTF8.self) == file)
        #expect(reply.options.text(.bootFileName) == file)
        #expect(reply.options.text(.vendorClass) == answered)
        #expect(reply.nextServer == Lab.server)
        #expect(reply.options[.ipxe] == nil)
    }

    @Test("one machine's flood is cut off and others are served; a flood of all is reported once")
    func rates() throws {
        var engine = LeaseEngine(segment: try Lab.segment(), leases: [])
        let answers = (0..<100).map { _ in engine.step(.received(Lab.discover(1)), now: now).types.count }
        #expect(answers.reduce(0, +) == 16)
        #expect(engine.step(.received(Lab.discover(2)), now: now).types == [.offer])
        #expect(engine.step(.received(Lab.discover(1)), now: now.advanced(by: .seconds(1))).types == [.offer])

        var limits = LeaseEngine.Limits()
        limits.totalRate = 2
        var narrow = LeaseEngine(segment: try Lab.segment(), leases: [], limits: limits)
        let effects = (0..<30 as Range<UInt8>).flatMap { narrow.step(.received(Lab.discover($0)), now: now) }
        #expect(effects.types.count == 8)
        #expect(effects.reports == [.overloaded])
    }

    @Test("segments that do not fit together are refused with the field's name")
    func segments() throws {
        func message(_ make: () throws -> DHCPSegment) -> String {
            do {
                _ = try make()
                return ""
            } catch { return (error as? InvalidValue)?.publicMessage ?? "" }
        }
        #expect(message { try Lab.segment(last: 255) }.contains("pool"))
        #expect(message { try Lab.segment(router: IPv4Address(1)) }.contains("router"))
        #expect(message { try Lab.segment(reservations: [Lab.mac(1): Lab.server]) }.contains("reservation"))
        #expect(message { try Lab.segment(domain: "a b") }.contains("domain"))
        #expect(message { try Lab.segment() }.isEmpty)
    }
}
