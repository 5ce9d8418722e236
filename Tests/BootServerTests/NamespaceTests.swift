import CatalogBareMetal
import DHCP
import Glibc
import Logging
import NetworkBoot
import Primitives
import ResourceModel
import ServiceLifecycle
import StoreMemory
import Subprocess
import Synchronization
import TestSupport
import Testing

@testable import BootServer

/// A client's network namespace at the other end of a cable; the near end is an interface of this machine.
private struct Cable {
    let near: String
    let namespace: String

    /// Lays the cable, runs `body`, and removes cable and namespace whatever happens.
    static func with(_ body: (Cable) async throws -> Void) async throws {
        let number = getpid()
        let cable = Cable(near: "mdh\(number)", namespace: "muster-dhcp-\(number)")
        try await cable.removeLeftovers()
        do {
            try await cable.lay()
            try await body(cable)
        } catch {
            await cable.remove()
            throw error
        }
        await cable.remove()
    }

    func lay() async throws {
        try await ip("netns", "add", namespace)
        try await layLink()
        try await ip("-n", namespace, "link", "set", "lo", "up")
    }

    func layLink() async throws {
        try await ip("link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        try await ip("address", "add", "198.18.77.1/24", "dev", near)
        try await ip("link", "set", near, "up")
        try await ip("-n", namespace, "link", "set", "eth0", "address", Lab.mac(1).description)
        try await ip("-n", namespace, "link", "set", "eth0", "up")
    }

    func remove() async {
        // Not cancelled with the test: what was made has to go.
        await Task {
            _ = try? await run(["ip", "netns", "delete", namespace])
            _ = try? await run(["ip", "link", "delete", near])
        }.value
    }

    /// Namespaces of test processes that were killed.
    private func removeLeftovers() async throws {
        for line in try await run(["ip", "netns", "list"]).split(separator: "\n") {
            guard let name = line.split(separator: " ").first, name.hasPrefix("muster-dhcp-"),
                let process = pid_t(name.dropFirst(12)), kill(process, 0) != 0
            else { continue }
            _ = try? await run(["ip", "netns", "delete", String(name)])
        }
    }

    func ip(_ arguments: String...) async throws { _ = try await run(["ip"] + arguments) }

    /// What the command printed. Throws what it said when it failed.
    @discardableResult
    func inside(_ command: String...) async throws -> String {
        try await run(["ip", "netns", "exec", namespace] + command)
    }

    private func run(_ command: [String]) async throws -> String {
        let result = try await Subprocess.run(
            .name(command[0]), arguments: Arguments(Array(command.dropFirst())),
            output: .string(limit: 65536), error: .string(limit: 65536))
        guard result.terminationStatus.isSuccess else {
            throw CommandFailed(
                text: "\(command.joined(separator: " ")): \(result.standardOutput) \(result.standardError)")
        }
        return result.standardOutput
    }
}

private struct CommandFailed: Error { let text: String }

/// A DHCP server on the near end of a cable, and udhcpc at the far end.
private struct CableLab {
    let cable: Cable
    let store = MemoryStore()
    let directory: TemporaryDirectory
    let seen = Observations()

    final class Observations: Sendable {
        let clients = Mutex<[BootClient]>([])
        let isListening = Mutex(false)
    }

    init(_ cable: Cable) throws {
        self.cable = cable
        directory = try TemporaryDirectory("dhcp")
        let script = try directory.write(
            "script",
            Array(
                """
                #!/bin/sh
                [ "$1" = bound ] || [ "$1" = renew ] || exit 0
                ip address flush dev "$interface" scope global
                ip address add "$ip/$mask" dev "$interface"
                env > \(directory.path)/new
                mv \(directory.path)/new \(directory.path)/bound

                """.utf8))
        _ = chmod(script, 0o755)
    }

    func server(interface: String? = nil) throws -> DHCPServer {
        func address(_ last: UInt8) -> IPv4Address { IPv4Address(bytes: [198, 18, 77, last]) }
        let segment = try DHCPSegment(
            name: "lab", network: IPv4Network("198.18.77.0/24"), server: address(1), pools: [address(50)...address(60)],
            dnsServers: [address(1)], domain: "rack.example", httpPort: 8080)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let seen = seen
        return DHCPServer(
            interface: interface ?? cable.near, segment: segment, ports: DHCPPorts(logger: logger), store: store,
            handlers: .init(
                observed: { client in seen.clients.withLock { $0.append(client) } },
                listening: { seen.isListening.withLock { $0 = true } }),
            logger: logger)
    }

    /// Asks once, as `arguments` say, and gives what the client was told, as shell variables.
    func ask(_ arguments: String...) async throws -> [String: String] {
        let bound = directory.appending("bound")
        unlink(bound)
        _ = try await cable.run(arguments, script: directory.appending("script"))
        let lines = try contents(of: bound).split(separator: "\n")
        return Dictionary(
            lines.compactMap { line in
                line.firstIndex(of: "=").map { (String(line[..<$0]), String(line[line.index(after: $0)...])) }
            }, uniquingKeysWith: { first, _ in first })
    }

    /// Asks once, and gives the address back as soon as it has it.
    func askAndRelease() async throws {
        unlink(directory.appending("bound"))
        let client = "timeout 20 busybox udhcpc -i eth0 -f -n -R -t 5 -T 1 -s \(directory.appending("script"))"
        try await cable.inside(
            "sh", "-c", "\(client) & while ! [ -s \(directory.appending("bound")) ]; do sleep 0.05; done; kill $!; wait"
        )
    }

    func leases() async throws -> [Lease] { try await store.fetchAll(Lease.self).map(\.value) }

    private func contents(of path: String) throws -> String {
        let file = try #require(fopen(path, "r"), "the client got no lease")
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 65536)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}

extension Cable {
    /// udhcpc in the foreground: up to five tries unless `arguments` say otherwise, ends with the lease or without.
    fileprivate func run(_ arguments: [String], script: String) async throws -> String {
        let fixed = ["busybox", "udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", "5", "-T", "1", "-s", script]
        return try await run(["ip", "netns", "exec", namespace] + fixed + arguments)
    }
}

/// Runs a service while `body` runs; throws what either throws.
private func serving(
    _ service: some Service, _ body: @escaping @Sendable () async throws -> Void
) async throws {
    try await withDeadline(.seconds(90)) {
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await service.run() }
            group.addTask(operation: body)
            try await group.next()
        }
    }
}

@Suite("DHCP and router advertisements on a wire", .serialized, .enabled(if: geteuid() == 0, "needs root"))
struct NamespaceTests {
    @Test(
        "udhcpc is given an address by unicast frame and by broadcast, keeps it, is told what to boot, and releases it")
    func leases() async throws {
        try await Cable.with { cable in
            let lab = try CableLab(cable)
            let server = try lab.server()
            try await serving(server) {
                try await waitUntil { lab.seen.isListening.withLock { $0 } }

                let first = try await lab.ask("-x", "hostname:node-a")
                let address = try IPv4Address(first["ip"] ?? "")
                #expect(first["serverid"] == "198.18.77.1")
                #expect(first["lease"] == "3600")
                #expect(first["subnet"] == "255.255.255.0")
                #expect(first["domain"] == "rack.example")
                #expect(first["dns"] == "198.18.77.1")
                #expect(first["router"] == nil && first["boot_file"] == nil)
                let stored = try await lab.leases()
                #expect(stored.map(\.spec) == [.init(segment: "lab", address: address, mac: Lab.mac(1))])
                #expect(stored.first?.status.hostname == "node-a")
                try await cable.inside("busybox", "ping", "-c", "1", "-W", "2", "198.18.77.1")

                let broadcast = try await lab.ask("-B", "-x", "0x4d:69505845", "-x", "0x5d:0007")
                #expect(broadcast["ip"] == address.description)
                let url = "http://198.18.77.1:8080/boot/ipxe?mac=52:54:00:77:00:01"
                #expect(broadcast["boot_file"] == url || broadcast["bootfile"] == url)
                let booted = lab.seen.clients.withLock { $0 }.last
                #expect(booted?.phase == .bound(address))
                #expect(booted?.isIPXE == true && booted?.architecture == .uefi64)

                try await lab.askAndRelease()
                try await waitUntil(.seconds(10)) { try await lab.leases().isEmpty }
            }
        }
    }

    @Test("a second server, a missing interface: errors that say what to do")
    func errors() async throws {
        try await Cable.with { cable in
            let lab = try CableLab(cable)
            let (server, second) = (try lab.server(), try lab.server())
            try await serving(server) {
                try await waitUntil { lab.seen.isListening.withLock { $0 } }
                await #expect(throws: LinkError.portTaken(interface: cable.near, port: 67)) {
                    try await second.run()
                }
                await #expect(throws: LinkError.noInterface("mdh-none")) {
                    try await lab.server(interface: "mdh-none").run()
                }
            }
        }
    }

    @Test("an interface that goes away and comes back is served again")
    func interfaceReturns() async throws {
        try await Cable.with { cable in
            let lab = try CableLab(cable)
            let server = try lab.server()
            try await serving(server) {
                try await waitUntil { lab.seen.isListening.withLock { $0 } }
                let before = try await lab.ask()
                try await cable.ip("link", "delete", cable.near)
                try await cable.layLink()
                #expect(try await lab.ask("-t", "20")["ip"] == before["ip"])
            }
        }
    }

    @Test(
        "a host that looks for IPv6 routers hears our advertisements",
        .enabled(if: access("/proc/net/if_inet6", F_OK) == 0, "needs IPv6"))
    func advertisements() async throws {
        try await Cable.with { cable in
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            let advertiser = RouterAdvertiser(interface: cable.near, logger: logger)
            try await serving(advertiser) {
                try await waitUntil(.seconds(40)) {
                    let counters = try await cable.inside("cat", "/proc/net/snmp6").split(separator: "\n")
                    let line = counters.first { $0.hasPrefix("Icmp6InRouterAdvertisements") }
                    return line?.split(whereSeparator: \.isWhitespace).last.map { $0 != "0" } ?? false
                }
                let errors = try await cable.inside("cat", "/proc/net/snmp6").split(separator: "\n")
                    .first { $0.hasPrefix("Icmp6InErrors") }
                #expect(errors?.split(whereSeparator: \.isWhitespace).last == "0")
            }
        }
    }
}
