import AgentProtocol
import Foundation
import NodeAgent
import Primitives
import Testing

@testable import RoleCompute

/// A libvirt daemon of its own, in namespaces of its own; all that runs in them goes with `close`, or with this process.
private final class LibvirtDaemon {
    let directory: String
    private let anchor = Process()
    private let orders = Pipe()

    var uri: String { "qemu+unix:///system?socket=\(directory)/run/libvirt-sock" }
    var log: String {
        String(decoding: FileManager.default.contents(atPath: "\(directory)/log") ?? Data(), as: UTF8.self)
    }

    init() throws {
        directory = "/tmp/muster-libvirt-\(UUID().uuidString)"
        for name in ["run", "etc", "lib", "log.d", "cache"] {
            try FileManager.default.createDirectory(
                atPath: "\(directory)/\(name)", withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o755])
        }
        try write("libvirtd.conf", "auth_unix_rw = \"none\"\nunix_sock_dir = \"\(directory)/run\"\n")
        try write(
            "etc/qemu.conf",
            """
            user = "root"
            group = "root"
            dynamic_ownership = 0
            remember_owner = 0
            security_driver = "none"
            namespaces = []
            cgroup_controllers = []
            stdio_handler = "file"

            """)
        try write(
            "domain.xml",
            """
            <domain type='qemu'>
              <name>tiny</name> <memory unit='MiB'>32</memory> <vcpu>1</vcpu>
              <os><type arch='x86_64' machine='q35'>hvm</type></os>
              <devices><controller type='usb' model='none'/><memballoon model='none'/></devices>
            </domain>
            """)
        // The shell is the init of the namespaces: it takes in orphans, which libvirt waits for the end of. When its input
        // ends it does, and the kernel ends all others with it.
        let script = """
            set -e
            mount -t tmpfs tmpfs /run && mkdir -p /run/libvirt /run/lock
            mount --bind '\(directory)/etc' /etc/libvirt && mount --bind '\(directory)/lib' /var/lib/libvirt
            mount --bind '\(directory)/log.d' /var/log/libvirt && mount --bind '\(directory)/cache' /var/cache/libvirt
            set +e
            exec 3<&0
            while read -r line; do eval "$line"; done <&3 &
            wait $!
            """
        anchor.executableURL = URL(fileURLWithPath: "/usr/bin/unshare")
        anchor.arguments = [
            "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "/bin/sh", "-c",
            script,
        ]
        anchor.standardInput = orders
        anchor.standardOutput = FileHandle.nullDevice
        anchor.standardError = FileHandle.nullDevice
        try anchor.run()
    }

    private func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
    }

    private func order(_ line: String) throws {
        try orders.fileHandleForWriting.write(contentsOf: Data((line + "\n").utf8))
    }

    func start() throws {
        try order(
            "libvirtd -f '\(directory)/libvirtd.conf' -p '\(directory)/pid' </dev/null >>'\(directory)/log' 2>&1 &")
    }

    func kill() throws { try order("kill -KILL $(cat '\(directory)/pid')") }

    func virsh(_ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation) throws {
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/virsh")
        process.arguments = ["--quiet", "--connect", uri] + arguments
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(arguments): \(text)\n\(log)", sourceLocation: sourceLocation)
    }

    func close() {
        try? orders.fileHandleForWriting.close()
        anchor.waitUntilExit()
        try? FileManager.default.removeItem(atPath: directory)
    }
}

@Suite("The compute role on a real libvirt", .timeLimit(.minutes(5)))
struct ComputeRoleTests {
    @Test("Domains are seen; a daemon that is killed is noticed at once, and survived")
    func killedAndBack() async throws {
        let daemon = try LibvirtDaemon()
        defer { daemon.close() }
        let role = ComputeRole(uri: daemon.uri)
        let (changes, change) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await role.run { change.yield() } }
            /// Looks until the role says so: again and again, or only when it asks for a look itself.
            func wait(
                for what: String, whenAsked: Bool = false,
                _ condition: (NodeStatusReport.RoleStatus) -> Bool
            ) async throws -> NodeStatusReport.RoleStatus {
                var notices = changes.makeAsyncIterator()
                for _ in 0..<600 {
                    if whenAsked { try #require(await notices.next() != nil) }
                    let status = await role.check()
                    if condition(status) { return status }
                    if !whenAsked { try await Task.sleep(for: .milliseconds(100)) }
                }
                Issue.record("\(what): not in a minute. \(daemon.log)")
                throw CancellationError()
            }
            func figure(_ name: String, _ labels: [String: String] = [:]) async -> Double? {
                await role.metrics().first { $0.name == "muster_compute_\(name)" && $0.labels == labels }?.value
            }
            #expect(await role.apply([:]).isReady == false)
            try daemon.start()
            let first = try await wait(for: "an answer") { $0.isReady }
            let facts = try #require(first.facts?.compute)
            #expect(facts.domainCount == 0 && facts.libvirtVersion.hasPrefix("9."))
            #expect(facts.guests.contains { $0.architecture == facts.processor.architecture && !$0.machines.isEmpty })
            #expect(facts.models.contains("qemu64") && facts.cells.count >= 1 && facts.memory > .mebibytes(256))
            #expect(first.conditions.first { $0.type == "EmulatorReady" }?.isTrue == true)

            try daemon.virsh("define", "\(daemon.directory)/domain.xml")
            try daemon.virsh("start", "tiny")
            let running = try await wait(for: "the domain", whenAsked: true) {
                $0.facts?.compute?.domains.first?.state == .running
            }
            #expect(running.facts?.compute?.domains.map(\.name) == ["tiny"])
            #expect(running.facts?.compute?.domains.first?.memory == .mebibytes(32))
            #expect(await figure("domains", ["state": "running"]) == 1)
            #expect(await figure("memory_in_use_bytes") == Double(32 << 20))
            #expect(await figure("libvirt_up") == 1)

            try daemon.kill()
            let dead = try await wait(for: "the daemon's end", whenAsked: true) { !$0.isReady }
            let cause = try #require(dead.conditions.first { $0.type == "LibvirtReady" })
            #expect(!cause.isTrue && cause.message.contains("systemctl status libvirtd"), "\(cause.message)")
            #expect(await figure("libvirt_up") == 0)

            try daemon.start()
            let back = try await wait(for: "the daemon's return") { $0.isReady }
            #expect(back.facts?.compute?.domains.map(\.state) == [.running], "the domain has outlived its daemon")
            try daemon.virsh("destroy", "tiny")
            _ = try await wait(for: "the domain's end", whenAsked: true) {
                $0.facts?.compute?.domains.map(\.state) == [.off]
            }
            group.cancelAll()
        }
    }
}
