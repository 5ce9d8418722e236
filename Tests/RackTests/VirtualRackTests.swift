import FoundationEssentials
import Glibc
import Primitives
import Testing

@testable import VirtualRack

/// Real racks; they need root, as namespaces and bridges do.
@Suite(.serialized, .enabled(if: geteuid() == 0, "a rack needs root"))
struct VirtualRackTests {
    /// A rack of two machines named after this process, with its files in a directory of its own.
    private func makeRack(_ name: String) throws -> Rack {
        let name = "\(name)-\(getpid())"
        let text = RackFileTests.text.split(separator: "name: small", maxSplits: 1).joined(separator: "name: \(name)")
        let file = try RackFile.parse("name: \(name)\n" + text.drop { $0 != "\n" }.dropFirst(), file: name)
        let state = FileManager.default.temporaryDirectory.appending(path: "muster-\(name)").path
        return try Rack(file: file, stateDirectory: state, options: Rack.Options(package: RackFileTests.package))
    }

    /// Looks with other eyes than `down` does.
    private func expectNothingLeft(of rack: Rack) throws {
        #expect(!rack.isUp)
        #expect(!FileManager.default.fileExists(atPath: rack.stateDirectory))
        #expect(!FileManager.default.fileExists(atPath: "/run/netns/\(rack.file.namespace)"))
        let mounts = try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
        #expect(!mounts.contains(rack.stateDirectory))
        for pid in try FileManager.default.contentsOfDirectory(atPath: "/proc") where Int(pid) != nil {
            let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data()
            #expect(!String(decoding: data, as: UTF8.self).contains(rack.stateDirectory), "process \(pid)")
        }
    }

    private func waitForConsole(_ rack: Rack, _ machine: String, _ text: String) async throws {
        try await waitUntil("'\(text)' on the console of \(machine)", within: .seconds(60)) {
            try rack.console(machine: machine).contains(text)
        }
    }

    @Test(.timeLimit(.minutes(3))) func machinesBootUnderTheirBMC() async throws {
        let rack = try makeRack("boot")
        try await rack.whileUp {
            #expect(await rack.status().machines.map(\.power) == ["off", "off", "off"])
            let again = try await rack.up()
            #expect(again.wasUp && again.done.isEmpty)

            let system = "/redfish/v1/Systems/\(rack.file.machines[0].uuid)"
            let reset = "\(system)/Actions/ComputerSystem.Reset"
            let refused = try await rack.redfish("POST", reset, body: "{\"ResetType\": \"On\"}", password: "wrong")
            #expect(refused.status == 401)
            #expect(try await !rack.isOn(machine: "one"))

            try await rack.power(.on, machine: "one")
            #expect(try await rack.isOn(machine: "one"))
            #expect(await rack.status().machines.map(\.power) == ["on", "off", "off"])
            try await waitForConsole(rack, "one", "SeaBIOS")
            try await waitForConsole(rack, "one", "52:54:00:00:00:01 using virtio-net")
            #expect(try rack.console(machine: "two").isEmpty)

            // What dies comes back, and the machine that was on stays on.
            for name in ["sushy", "libvirtd"] {
                let process = try #require(rack.process(named: name))
                process.signal(SIGKILL)
                try await process.waitForEnd()
            }
            #expect(await rack.status().machines.map(\.power) == ["unknown", "unknown", "unknown"])
            let repaired = try await rack.up()
            #expect(repaired.wasUp && repaired.done == ["started libvirtd", "started the Redfish service"])
            #expect(await rack.status().machines.map(\.power) == ["on", "off", "off"])
            try await rack.power(.off, machine: "one")
            #expect(try await !rack.isOn(machine: "one"))

            // UEFI firmware starts its own HTTP boot, on a machine with a SCSI and an NVMe disk.
            try await rack.power(.on, machine: "three")
            try await waitForConsole(rack, "three", "HTTP Boot over IPv4")
        }
        try expectNothingLeft(of: rack)
    }

    @Test(.timeLimit(.minutes(3))) func programsRunInTheNamespaceAndDieWithTheRack() async throws {
        let rack = try makeRack("programs")
        let other = try makeRack("other")
        try await rack.whileUp {
            let addresses = try await rack.run(inNamespace: ["ip", "-brief", "address", "show", "br0"])
            #expect(addresses.contains("10.9.0.1/24") && addresses.contains("fd09::1/64"))
            await #expect(throws: RackError.self) { try await rack.run(inNamespace: ["false"]) }
            await #expect(throws: RackError.self) {
                try await rack.run(inNamespace: ["sleep", "30"], timeout: .milliseconds(200))
            }
            #expect(try await rack.outcome(inNamespace: ["sh", "-c", "echo no >&2; exit 3"]).status == 3)

            let server = ["/usr/bin/python3", "-m", "http.server", "--bind", "10.9.0.1", "80"]
            let process = try rack.spawn(inNamespace: server, name: "server", directory: rack.stateDirectory)
            #expect(throws: RackError.self) { try rack.spawn(inNamespace: server, name: "server") }
            try await waitUntil("An answer of the server", within: .seconds(30), hint: process.logTail()) {
                let file = try await rack.outcome(inNamespace: ["curl", "-sf", "http://10.9.0.1/rack.json"])
                return file.output.contains(rack.file.name)
            }
            #expect(process.signal(SIGKILL))
            try await process.waitForEnd()
            #expect(!process.isRunning && !process.signal(SIGKILL))
            let survivor = try rack.spawn(inNamespace: ["sleep", "1000"], name: "survivor")

            // Another rack with the same addresses is not in the way.
            try await other.whileUp {
                try await other.power(.on, machine: "two")
                #expect(try await !rack.isOn(machine: "two"))
            }
            try expectNothingLeft(of: other)
            #expect(survivor.isRunning && rack.isUp)

            // The second machine's disk carries the file system that the rack file asks for.
            let raw = "\(rack.stateDirectory)/disk.raw"
            try await Commands.run(["qemu-img", "convert", "-O", "raw", rack.layout.disk("two", 0), raw])
            let found = try await Commands.run(["blkid", "-p", "-o", "export", raw])
            #expect(found.contains("LABEL=data") && found.contains("TYPE=ext4"))
        }
        try expectNothingLeft(of: rack)
    }

    @Test(.timeLimit(.minutes(3))) func nothingIsLeftWhenSomethingThrows() async throws {
        struct Broken: Error {}
        let rack = try makeRack("throws")
        await #expect(throws: Broken.self) {
            try await rack.whileUp {
                try await rack.power(.on, machine: "one")
                throw Broken()
            }
        }
        try expectNothingLeft(of: rack)
        try await rack.down()
    }

    @Test(.timeLimit(.minutes(3))) func nothingIsLeftWhenTheTaskIsCancelled() async throws {
        let rack = try makeRack("cancel")
        let (moments, moment) = AsyncStream.makeStream(of: Void.self)
        let task = Task {
            defer { moment.finish() }
            try await rack.whileUp {
                moment.yield()
                try await Task.sleep(for: .seconds(600))
            }
        }
        _ = await moments.first { _ in true }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        try expectNothingLeft(of: rack)
    }

    @Test(.timeLimit(.minutes(3))) func aRackThatLostItsAnchorComesBackWithItsDisks() async throws {
        let rack = try makeRack("anchor")
        try await rack.whileUp {
            let disk = rack.layout.disk("one", 0)
            let before = try #require(FileIdentity(disk))
            try rack.anchor.signal(SIGKILL)
            try await waitUntil("The end of the anchor", within: .seconds(30)) { !rack.isUp }
            #expect(throws: RackError.notUp(name: rack.file.name)) { try rack.spawn(inNamespace: ["true"], name: "x") }
            await #expect(throws: RackError.self) { try await rack.power(.on, machine: "one") }
            let report = try await rack.up()
            #expect(!report.wasUp && FileIdentity(disk) == before)
            try rack.anchor.signal(SIGKILL)
        }
        try expectNothingLeft(of: rack)
    }

    @Test(.timeLimit(.minutes(3))) func aFailedUpTakesDownWhatItMade() async throws {
        let rack = try makeRack("fails")
        var options = rack.options
        let venv = "\(rack.stateDirectory)-venv"
        defer { try? FileManager.default.removeItem(atPath: venv) }
        options.venv = venv
        try FileManager.default.createDirectory(atPath: "\(venv)/bin", withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: options.requirements, toPath: "\(venv)/requirements.installed")
        for (name, line) in [("python3", "echo hash"), ("sushy-emulator", "echo the emulator is broken; exit 3")] {
            try Data("#!/bin/sh\n\(line)\n".utf8).write(to: URL(filePath: "\(venv)/bin/\(name)"))
            chmod("\(venv)/bin/\(name)", 0o755)
        }
        let broken = try Rack(file: rack.file, stateDirectory: rack.stateDirectory, options: options)
        let error = await #expect(throws: RackError.self) { try await broken.up() }
        #expect(error?.publicMessage.contains("the emulator is broken") == true)
        try expectNothingLeft(of: rack)

        try FileManager.default.createDirectory(atPath: rack.stateDirectory, withIntermediateDirectories: true)
        try Data().write(to: URL(filePath: "\(rack.stateDirectory)/thesis.txt"))
        await #expect(throws: RackError.self, "a directory of something else is not used") { try await rack.up() }
        await #expect(throws: RackError.self, "a directory of something else is not removed") { try await rack.down() }
        #expect(FileManager.default.fileExists(atPath: "\(rack.stateDirectory)/thesis.txt"))
        try FileManager.default.removeItem(atPath: rack.stateDirectory)
    }

    @Test(.timeLimit(.minutes(1))) func theProbeTellsWhatTheMachineCanDo() async {
        let (accelerator, reason) = await KVMProbe().run()
        #expect(!reason.isEmpty)
        if access("/dev/kvm", R_OK | W_OK) != 0 { #expect(accelerator == .tcg) }
        #expect(await KVMProbe().boot(.tcg, limit: .seconds(20)) != nil)
        #expect(await KVMProbe().boot(.tcg, limit: .milliseconds(1)) == nil)
    }
}
