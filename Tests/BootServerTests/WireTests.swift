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

@Suite("DHCP beside relays and other servers", .serialized, .enabled(if: geteuid() == 0, "needs root"))
struct WireTests {
    /// A bridge with our address, an interface for a raw client, and a namespace with another host.
    private struct Bridge {
        let bridge: String
        let client: String
        let other: String

        init(_ lab: WireLab) async throws {
            bridge = lab.link("b")
            try await lab.run(["ip", "link", "add", bridge, "type", "bridge"])
            try await lab.run(["ip", "address", "add", "\(lab.address(1))/24", "dev", bridge])
            try await lab.run(["ip", "link", "set", bridge, "up"])
            (client, other) = (lab.link("c"), try await lab.namespace("o"))
            let (peer, port) = (lab.link("p"), lab.link("q"))
            try await lab.run(["ip", "link", "add", client, "type", "veth", "peer", "name", peer])
            try await lab.cable(port, to: "eth0", in: other)
            for name in [peer, port] { try await lab.run(["ip", "link", "set", name, "master", bridge, "up"]) }
            try await lab.run(["ip", "link", "set", client, "up"])
        }
    }

    private func serve(_ server: DHCPServer, _ notes: ServerNotes, _ body: @escaping @Sendable () async throws -> Void)
        async throws
    {
        try await withDeadline(.seconds(90)) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                defer { group.cancelAll() }
                group.addTask { try await server.run() }
                group.addTask {
                    try await waitUntil { notes.isListening.withLock { $0 } }
                    try await body()
                }
                try await group.next()
            }
        }
    }

    @Test("a foreign server is found by asking, and heard while ours serves; an address in use is not offered")
    func foreign() async throws {
        try await WireLab.with { lab in
            let wire = try await Bridge(lab)
            #expect(try await ForeignDHCP.search(on: wire.bridge, wait: .seconds(1)).isEmpty)
            try await lab.inside(wire.other, "ip", "address", "add", "\(lab.address(50))/24", "dev", "eth0")

            let (store, notes) = (MemoryStore(), ServerNotes())
            let segment = try DHCPSegment(
                name: "lab", network: try lab.network(), server: lab.address(1),
                pools: [lab.address(50)...lab.address(51)],
                httpPort: 8080)
            let server = DHCPServer(
                interface: wire.bridge, segment: segment, ports: DHCPPorts(logger: lab.logger), store: store,
                handlers: notes.handlers, logger: lab.logger)
            try await serve(server, notes) {
                let client = try RawClient(wire.client)
                // Both addresses of the pool are asked for in turn: one answers, the other is offered.
                try await waitUntil(.seconds(20)) {
                    try client.send(client.message(.discover, 7))
                    return try await client.replies(7, count: 1, within: .seconds(2)).contains {
                        $0.yourAddress == lab.address(51)
                    }
                }
                try await waitUntil(.seconds(10)) {
                    try await store.fetch(Lease.self, "lab-\(lab.address(50))")?.value.status.phase == .quarantined
                }
                #expect(
                    notes.reports.withLock { $0 }.contains {
                        if case .addressAnswers(lab.address(50), by: .some) = $0 { true } else { false }
                    })

                try await lab.dnsmasq(in: wire.other, on: "eth0", from: lab.address(100), to: lab.address(110))
                try await waitUntil(.seconds(20)) {
                    try client.send(client.message(.discover, 8))
                    try await Task.sleep(for: .milliseconds(500))
                    return notes.reports.withLock { $0 }.contains(.foreignServer(lab.address(50)))
                }
                let found = try await ForeignDHCP.search(on: wire.bridge, own: [lab.address(1)], wait: .seconds(2))
                #expect(found.map(\.address) == [lab.address(50)])
                #expect(found.first?.givesAddresses == true)
            }
        }
    }

    @Test("beside a foreign server a PXE client is told what to boot, by broadcast and on port 4011, and no address")
    func proxy() async throws {
        try await WireLab.with { lab in
            let wire = try await Bridge(lab)
            try await lab.inside(wire.other, "ip", "address", "add", "\(lab.address(2))/24", "dev", "eth0")
            try await lab.dnsmasq(in: wire.other, on: "eth0", from: lab.address(100), to: lab.address(110))
            let (store, notes) = (MemoryStore(), ServerNotes())
            let segment = try DHCPSegment(
                name: "lab", network: try lab.network(), server: lab.address(1), pools: [], httpPort: 8080)
            let server = DHCPServer(
                interface: wire.bridge, segment: segment, mode: .proxy, ports: DHCPPorts(logger: lab.logger),
                store: store, handlers: notes.handlers, logger: lab.logger)
            try await serve(server, notes) {
                let client = try RawClient(wire.client)
                try client.send(client.message(.discover, 7))
                let offers = try await client.replies(7, count: 2)
                let ours = try #require(offers.first { $0.options.serverIdentifier == lab.address(1) })
                let theirs = try #require(offers.first { $0.options.serverIdentifier == lab.address(2) })
                let script = "http://\(lab.address(1)):8080/boot/ipxe?mac=\(client.link.mac)"
                #expect(ours.yourAddress == .any && ours.nextServer == lab.address(1))
                #expect(String(decoding: ours.bootFile, as: UTF8.self).hasPrefix(script))
                #expect(ours.options.text(.vendorClass) == "PXEClient")
                #expect(ours.options.encapsulated(.vendorSpecific) == [.pxeBootFileOnly])

                // The choice of the other's offer is answered by the other alone.
                var choice = client.message(.request, 8)
                choice.options.serverIdentifier = lab.address(2)
                choice.options.requestedAddress = theirs.yourAddress
                try client.send(choice)
                let answers = try await client.replies(8, count: 2, within: .seconds(2))
                #expect(answers.map(\.options.serverIdentifier) == [lab.address(2)])

                let address = theirs.yourAddress
                try await lab.run([
                    "ip", "neighbour", "replace", "\(address)", "lladdr", "\(client.link.mac)", "dev", wire.bridge,
                ])
                var again = client.message(.request, 9)
                again.clientAddress = address
                try client.send(
                    again,
                    to: .init(mac: try Link(wire.bridge).mac, address: lab.address(1), port: 4011))
                let acknowledged = try #require(try await client.replies(9, count: 1).first)
                #expect(acknowledged.options.messageType == .acknowledge && acknowledged.yourAddress == .any)
                #expect(String(decoding: acknowledged.bootFile, as: UTF8.self).hasPrefix(script))
                #expect(try await store.fetchAll(Lease.self).isEmpty)
            }
        }
    }

    @Test("behind a relay with option 82 a client gets an address of its own segment, and one in use is passed over")
    func relay() async throws {
        try await WireLab.with { lab in
            let (relay, host) = (try await lab.namespace("r"), try await lab.namespace("h"))
            let near = lab.link("n")
            try await lab.cable(near, to: "up0", in: relay)
            try await lab.run(["ip", "address", "add", "\(lab.address(1))/24", "dev", near])
            try await lab.inside(relay, "ip", "address", "add", "\(lab.address(2))/24", "dev", "up0")
            try await lab.run([
                "ip", "-n", relay, "link", "add", "down0", "type", "veth", "peer", "name", "eth0", "netns", host,
            ])
            let gateway = lab.address(1, second: true)
            for command in [
                ["ip", "-n", relay, "address", "add", "\(gateway)/24", "dev", "down0"],
                ["ip", "-n", relay, "link", "set", "down0", "up"], ["ip", "-n", host, "link", "set", "eth0", "up"],
                ["ip", "netns", "exec", relay, "sysctl", "-qw", "net.ipv4.ip_forward=1"],
                ["ip", "route", "add", "\(try lab.network(second: true))", "via", "\(lab.address(2))"],
                // A host with a fixed address in the pool: the same machine has a second interface for it.
                ["ip", "-n", host, "address", "add", "\(lab.address(50, second: true))/32", "dev", "lo"],
                ["ip", "-n", host, "route", "add", "default", "via", "\(gateway)", "dev", "eth0", "onlink"],
            ] { try await lab.run(command) }
            try await lab.inside(
                relay, "dhcrelay", "-4", "-q", "-a", "-pf", lab.directory.appending("relay.pid"), "-id", "down0", "-iu",
                "up0", "\(lab.address(1))")

            let (store, notes) = (MemoryStore(), ServerNotes())
            let segment = try DHCPSegment(
                name: "far", network: try lab.network(second: true), server: lab.address(1),
                pools: [lab.address(50, second: true)...lab.address(51, second: true)], relays: [gateway],
                router: gateway, httpPort: 8080)
            let server = DHCPServer(
                interface: nil, segment: segment, ports: DHCPPorts(logger: lab.logger), store: store,
                handlers: notes.handlers, logger: lab.logger)
            try await serve(server, notes) {
                let script = try lab.directory.write(
                    "script",
                    Array("#!/bin/sh\n[ \"$1\" = bound ] && echo \"got $ip $router $serverid\"\nexit 0\n".utf8))
                _ = chmod(script, 0o755)
                let said = try await lab.inside(
                    host, "busybox", "udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", "10", "-T", "2", "-s", script)
                #expect(said.contains("got \(lab.address(51, second: true)) \(gateway) \(lab.address(1))"))
                let leases = try await store.fetchAll(Lease.self).map(\.value)
                #expect(
                    leases.contains { $0.spec.address == lab.address(51, second: true) && $0.status.phase == .bound })
                try await waitUntil(.seconds(10)) {
                    notes.reports.withLock { $0 }.contains(
                        .addressAnswers(lab.address(50, second: true), by: nil))
                }
            }
        }
    }
}
