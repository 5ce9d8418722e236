import CatalogBareMetal
import DHCP
import Glibc
import Primitives
import ResourceModel
import StoreMemory
import Synchronization
import TestSupport
import Testing

@testable import BootServer

@Suite("Three DHCP servers on a wire", .serialized, .enabled(if: geteuid() == 0, "needs root"))
struct LeaseCrowdWireTests {
    /// Who leads, by the last number of its address; nil: nobody.
    private final class Leader: Sendable {
        private let number = Mutex<UInt8?>(1)
        func set(_ value: UInt8?) { number.withLock { $0 = value } }
        func duty(of server: UInt8) -> SegmentDuty { number.withLock { $0 } == server ? .leads : .standsBy }
    }

    /// A client with a MAC of its own on an interface that all share.
    private struct Client {
        let number: UInt8
        var mac: MACAddress { MACAddress(bytes: [0x52, 0x54, 0, 0x99, 0, number]) }

        func packet(_ type: DHCPMessageType, _ seconds: UInt16) -> DHCPPacket {
            var packet = DHCPPacket(request: type, transaction: UInt32(number), client: mac, broadcast: true)
            packet.seconds = seconds
            return packet
        }
    }

    private struct Grant: Sendable {
        var address: IPv4Address
        var server: IPv4Address?
    }

    /// Asks as firmware does, again each second, until it has an address.
    private func bind(_ client: Client, _ raw: RawClient, _ heard: Heard) async throws -> Grant {
        let began = ContinuousClock.now
        while true {
            try Task.checkCancellation()
            let seconds = UInt16((ContinuousClock.now - began).components.seconds)
            try raw.send(client.packet(.discover, seconds))
            guard let offer = try await heard.next(.offer, of: client.mac) else { continue }
            var request = client.packet(.request, seconds)
            request.options.requestedAddress = offer.yourAddress
            request.options.serverIdentifier = offer.options.serverIdentifier
            try raw.send(request)
            guard let answer = try await heard.next(.acknowledge, of: client.mac) else { continue }
            return Grant(address: answer.yourAddress, server: answer.options.serverIdentifier)
        }
    }

    /// What came to the interface, by client.
    private final class Heard: Sendable {
        private let replies = Mutex<[DHCPPacket]>([])
        private let listener: DHCPListener

        init(_ link: Link) throws { listener = try DHCPListener(link) }

        /// The next reply of a type to one client; nil: none came within a second.
        func next(_ type: DHCPMessageType, of mac: MACAddress) async throws -> DHCPPacket? {
            let end = ContinuousClock.now + .seconds(1)
            while ContinuousClock.now < end {
                let found = try replies.withLock { replies -> DHCPPacket? in
                    replies += try listener.replies().map(\.packet)
                    let isMeant = { (packet: DHCPPacket) in
                        packet.macAddress == mac && packet.options.messageType == type
                    }
                    defer { replies.removeAll(where: isMeant) }
                    return replies.first(where: isMeant)
                }
                if let found { return found }
                try await Task.sleep(for: .milliseconds(20))
            }
            return nil
        }
    }

    @Test("the one that leads dies, all machines get an address from another, and no address goes to two")
    func death() async throws {
        try await WireLab.with { lab in
            let bridge = lab.link("b")
            try await lab.run(["ip", "link", "add", bridge, "type", "bridge"])
            try await lab.run(["ip", "link", "set", bridge, "up"])
            func plug(_ near: String, _ far: String) async throws {
                try await lab.run(["ip", "link", "add", near, "type", "veth", "peer", "name", far])
                try await lab.run(["ip", "link", "set", near, "up"])
                try await lab.run(["ip", "link", "set", far, "master", bridge, "up"])
            }
            let client = lab.link("c")
            try await plug(client, lab.link("d"))
            let (store, leader, notes) = (MemoryStore(), Leader(), (1...3).map { _ in ServerNotes() })
            var servers: [DHCPServer] = []
            for number in 1...3 as ClosedRange<UInt8> {
                let interface = lab.link("s\(number)")
                try await plug(interface, lab.link("t\(number)"))
                try await lab.run(["ip", "address", "add", "\(lab.address(number))/24", "dev", interface])
                var segment = try DHCPSegment(
                    name: "lab", network: try lab.network(), server: lab.address(number),
                    pools: [lab.address(50)...lab.address(90)], httpPort: 8080)
                segment.fellows = Set((1...3).filter { $0 != number }.map { lab.address($0) })
                servers.append(
                    DHCPServer(
                        interface: interface, segment: segment, ports: DHCPPorts(logger: lab.logger), store: store,
                        duty: { leader.duty(of: number) }, handlers: notes[Int(number) - 1].handlers,
                        limits: LeaseEngine.Limits(), logger: lab.logger))
            }
            let all = servers
            let raw = try RawClient(client)
            let heard = try Heard(raw.link)
            let grants = try await withDeadline(.seconds(90)) {
                try await withThrowingTaskGroup(of: (Client, Grant)?.self) { group in
                    defer { group.cancelAll() }
                    let first = Task { try await all[0].run() }
                    defer { first.cancel() }
                    for server in all.dropFirst() {
                        group.addTask {
                            try await server.run()
                            return nil
                        }
                    }
                    for note in notes { try await waitUntil { note.isListening.withLock { $0 } } }
                    for number in 1...20 as ClosedRange<UInt8> {
                        group.addTask {
                            let client = Client(number: number)
                            // The half of them ask when the first has died and nobody leads yet.
                            if number > 10 { try await Task.sleep(for: .seconds(2)) }
                            return (client, try await self.bind(client, raw, heard))
                        }
                    }
                    group.addTask {
                        try await Task.sleep(for: .seconds(1))
                        first.cancel()
                        leader.set(nil)
                        // Somebody leads when those that have waited are served already.
                        try await Task.sleep(for: .seconds(12))
                        leader.set(2)
                        return nil
                    }
                    var grants: [(Client, Grant)] = []
                    while grants.count < 20, let done = try await group.next() {
                        if let done { grants.append(done) }
                    }
                    return grants
                }
            }
            #expect(Set(grants.map(\.1.address)).count == 20, "\(grants)")
            let late = grants.filter { $0.0.number > 10 }
            #expect(late.allSatisfy { $0.1.server != lab.address(1) })
            #expect(grants.contains { $0.1.server == lab.address(1) })
            let stored = try await store.fetchAll(Lease.self).map(\.value.spec)
            for (client, grant) in grants {
                #expect(stored.contains { $0.mac == client.mac && $0.address == grant.address })
            }
        }
    }
}
