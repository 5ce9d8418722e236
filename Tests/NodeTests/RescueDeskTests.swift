import AgentProtocol
import Foundation
import Primitives
import TestSupport
import Testing

@testable import Discovery

@Suite struct RescueDeskTests {
    private static let hash = "$y$j9T$abcdefgh$0123456789"

    /// A desk whose SSH server is a script that logs what `lines` says and stays until it is ended.
    private func places(_ directory: TemporaryDirectory, server: String? = nil) throws -> RescuePlaces {
        func script(_ name: String, _ text: String) throws -> String {
            let path = directory(name)
            try ("#!/bin/sh\n" + text).write(toFile: path, atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
            return path
        }
        var places = RescuePlaces()
        places.run = directory("run")
        places.shadow = directory("shadow")
        places.mounts = directory("mounts")
        try FileManager.default.createDirectory(atPath: places.run, withIntermediateDirectories: true)
        try "vda1\n".write(toFile: "\(places.run)/boot-interface", atomically: true, encoding: .utf8)
        try "10.0.0.9/24\n".write(toFile: "\(places.run)/address.eth9", atomically: true, encoding: .utf8)
        try "10.77.0.101/24\n".write(toFile: "\(places.run)/address.vda1", atomically: true, encoding: .utf8)
        places.keyProgram = try script(
            "keys",
            """
            for f; do :; done
            echo key >"$f"
            echo 'Public key portion is:'
            echo 'ssh-ed25519 AAAAC3Nz root@vm'
            echo 'Fingerprint: SHA256:zBdX'
            """)
        places.server = try script(
            "sshd-\(getpid())",
            server ?? """
                sleep 60 >/dev/null 2>&1 & echo $! >'\(places.pid)'
                """)
        return places
    }

    private func end(_ places: RescuePlaces) {
        guard let text = try? String(contentsOfFile: places.pid, encoding: .utf8),
            let pid = pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines))
        else { return }
        kill(pid, SIGKILL)
    }

    private func shadow(_ places: RescuePlaces) throws -> String {
        try String(contentsOfFile: places.shadow, encoding: .utf8)
    }

    @Test func `a password is good for one login and then void`() async throws {
        let directory = TemporaryDirectory()
        let places = try places(directory)
        defer { end(places) }
        let desk = RescueDesk(places: places)
        let access = try await desk.open(RescueOrder(passwordHash: Self.hash, seconds: 3600))
        #expect(access.addresses.map(\.description) == ["10.77.0.101", "10.0.0.9"])
        #expect(access.hostKey == "ssh-ed25519 AAAAC3Nz" && access.fingerprint == "SHA256:zBdX")
        #expect(try shadow(places) == "root:\(Self.hash):20000:0:99999:7:::\n")
        #expect(try await desk.look() == .nothing)
        let line = "[77] Nov 24 20:00:00 Password auth succeeded for 'root' from 10.77.0.1:4000"
        let log = try #require(FileHandle(forWritingAtPath: places.log))
        try log.seekToEnd()
        try log.write(contentsOf: Data("[77] Nov 24 Bad password attempt for 'root' from 10.9.9.9:1\n\(line)".utf8))
        #expect(try await desk.look() == .nothing, "half a line says nothing")
        try log.write(contentsOf: Data("\n".utf8))
        #expect(try await desk.look() == .login(from: "10.77.0.1:4000"))
        #expect(try shadow(places).hasPrefix("root:*:"))
        #expect(try await desk.look() == .nothing)
        // Another password is let in without another server, and what was logged before is no login by it.
        _ = try await desk.open(RescueOrder(passwordHash: Self.hash, seconds: 1))
        #expect(try await desk.look() == .nothing)
        #expect(try shadow(places).hasPrefix("root:$y$"))
        try await Task.sleep(for: .milliseconds(1100))
        #expect(try await desk.look() == .nothing)
        #expect(try shadow(places).hasPrefix("root:*:"), "its time is over")
        await desk.close()
        #expect(try await desk.look() == .closed)
    }

    @Test func `a used password is not let in again, and what is no hash never is`() async throws {
        let directory = TemporaryDirectory()
        let places = try places(directory)
        defer { end(places) }
        let desk = RescueDesk(places: places)
        for bad in [
            "", "$y$", "plain-text", "$y$j9T$a:b$cdef", "$y$\n$abcdefgh", "$y$" + String(repeating: "x", count: 300),
        ] {
            await #expect(throws: RescueError.self, "\(bad)") {
                try await desk.open(RescueOrder(passwordHash: bad, seconds: 60))
            }
        }
        _ = try await desk.open(RescueOrder(passwordHash: nil, seconds: 0))
        #expect(try shadow(places).hasPrefix("root:*:"))
        end(places)
        try await Task.sleep(for: .milliseconds(50))
        await #expect(throws: RescueError.self) {
            for _ in 0..<50 {
                _ = try await desk.look()
                try await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    @Test func `a server that does not start tells why`() async throws {
        let directory = TemporaryDirectory()
        let places = try places(directory, server: "echo 'Failed listening on 22: in use'\nexit 1")
        let error = await #expect(throws: RescueError.self) {
            try await RescueDesk(places: places).open(RescueOrder(passwordHash: Self.hash, seconds: 60))
        }
        #expect(error?.publicMessage.contains("start the SSH server") == true)
    }

    @Test func `mounts of disks are found, whatever their names`() {
        let mounts = """
            proc /proc proc rw 0 0
            /dev/vda3 /mnt/root\\040disk ext4 rw 0 0
            tmpfs /tmp tmpfs rw 0 0
            /dev/mapper/vg-lv /mnt/data xfs rw 0 0
            """
        #expect(RescueDesk.diskMounts(mounts) == ["/mnt/root disk", "/mnt/data"])
    }

    @Test func `a session opens, tells of the login once, and closes before the power is reset`() throws {
        var run = try SessionRun.registered()
        let order = RescueOrder(passwordHash: Self.hash, seconds: 60)
        #expect(
            run.step(.ordered(DiscoveryOrder(number: 5, action: .rescue(order)))).contains(.openRescue(order: 5, order))
        )
        let access = RescueAccess(addresses: [], hostKey: "ssh-ed25519 A", fingerprint: "SHA256:a")
        #expect(
            run.step(.rescueOpened(order: 5, access)).contains(
                .post(session: "s1", DiscoveryProgress(order: 5, stage: .rescued(access)))))
        _ = run.step(.posted)
        var effects = run.step(.rescueLogin(order: 5, from: "10.77.0.1:1"), after: .seconds(2))
        #expect(
            effects.contains(.post(session: "s1", DiscoveryProgress(order: 5, stage: .login(from: "10.77.0.1:1")))))
        _ = run.step(.posted)
        // Another password takes the place of the first; the server stays.
        effects = run.step(.ordered(DiscoveryOrder(number: 105, action: .rescue(order))))
        #expect(effects.contains(.openRescue(order: 105, order)))
        #expect(!effects.contains { if case .closeRescue = $0 { true } else { false } })
        #expect(
            run.step(.rescueLogin(order: 5, from: "late")).allSatisfy { if case .post = $0 { false } else { true } })
        effects = run.step(.ordered(DiscoveryOrder(number: 106, action: .standBy)))
        #expect(effects.contains(.closeRescue(order: 106)))
        effects = run.step(.rescueClosed(order: 106), after: .seconds(2)) + run.step(.logsPosted)
        #expect(effects.contains(.post(session: "s1", DiscoveryProgress(order: 106, stage: .finished))))
    }
}
