import BootServer
import CatalogBareMetal
import FleetContract
import Foundation
import Primitives
import TestSupport
import Testing

@testable import ConductorServer

/// A real DHCP server at the other end of a cable, and what the check makes of it.
@Suite(.timeLimit(.minutes(2))) struct ForeignDHCPCheckTests {
    private static let number = ProcessInfo.processInfo.processIdentifier
    private static let near = "mfc\(number)"
    private static let namespace = "muster-check-\(number)"

    private static func start(_ command: [String]) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        return process
    }

    private static func run(_ command: String...) throws {
        let process = try start(command)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw CommandFailed(command: command) }
    }

    private struct CommandFailed: Error {
        var command: [String]
    }

    private static func lay() throws {
        try run("ip", "netns", "add", namespace)
        try run("ip", "link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        try run("ip", "address", "add", "198.18.79.1/24", "dev", near)
        try run("ip", "link", "set", near, "up")
        try run("ip", "-n", namespace, "address", "add", "198.18.79.9/24", "dev", "eth0")
        try run("ip", "-n", namespace, "link", "set", "eth0", "up")
    }

    private static func remove() {
        try? run("ip", "netns", "delete", namespace)
        try? run("ip", "link", "delete", near)
    }

    private static func rows(isProxy: Bool) async throws -> [SiteCheckReply.Row] {
        var segment = CheckedSegment(
            name: "boot", interface: near, network: try IPv4Network("198.18.79.0/24"),
            server: try IPv4Address("198.18.79.1"))
        segment.isProxy = isProxy
        let site = SiteUnderCheck(
            site: Site.Spec(name: "lab", sshKeys: []), segments: [segment], bmcs: [], roles: [], ports: [])
        return await SiteChecker(checks: [ForeignDHCPCheck()]).findings(
            site,
            SiteCheckTests.around { around in
                around.interfaces = { HostFacts.interfaces() }
                around.foreignServers = { interface, own in
                    try await ForeignDHCP.search(on: interface, own: own).map {
                        ForeignServer(text: $0.description, givesAddresses: $0.givesAddresses)
                    }
                }
            })
    }

    @Test func aServerThatGivesAddressesIsFoundAndProxyModeIsOffered() async throws {
        defer { Self.remove() }
        try Self.lay()
        let quiet = try await Self.rows(isProxy: false)
        #expect(quiet.map(\.outcome) == [.ok], "\(quiet)")
        let alone = try await Self.rows(isProxy: true)
        #expect(alone.map(\.found) == ["the segment is in proxy mode, and no DHCP server answers"])
        let server = try Self.start([
            "ip", "netns", "exec", Self.namespace, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
            "--port=0",
            "--interface=eth0", "--bind-interfaces", "--dhcp-range=198.18.79.50,198.18.79.60", "--leasefile-ro",
            "--no-ping", "--user=root", "--pid-file=",
        ])
        defer {
            kill(server.processIdentifier, SIGKILL)
            server.waitUntilExit()
        }
        // The server needs a moment before it listens.
        var rows = try await Self.rows(isProxy: false)
        for _ in 0..<10 where rows.first?.outcome == .ok { rows = try await Self.rows(isProxy: false) }
        #expect(rows.map(\.outcome) == [.failed])
        #expect(rows.first?.found.hasPrefix("another server gives addresses: 198.18.79.9") == true, "\(rows)")
        #expect(rows.first?.change?.contains("set 'mode: proxy' on the segment") == true)
        let beside = try await Self.rows(isProxy: true)
        #expect(beside.map(\.outcome) == [.ok], "\(beside)")
    }
}
