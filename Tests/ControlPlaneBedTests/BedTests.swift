import FoundationEssentials
import Glibc
import Primitives
import TestSupport
import Testing
import VirtualRack

@testable import ControlPlaneBed

/// Three controllers in namespaces, with what `make test-ha` does for longer.
@Suite(.serialized) struct BedTests {
    private static let programs = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: ".build/debug").path

    private static func withBed(_ body: (Bed) async throws -> Void) async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "muster-bed-\(getpid())").path
        let bed = try Bed(controllers: 3, agents: 6, directory: directory, programs: programs, membersInMemory: true)
        do {
            try await bed.up(program: "\(programs)/muster-bed")
            try await body(bed)
        } catch {
            Issue.record("\(error)")
        }
        // Not cancelled with the test: what was made has to go.
        try await Task { try await Bed.down(directory) }.value
        #expect(!FileManager.default.fileExists(atPath: directory))
    }

    @Test(.timeLimit(.minutes(5)))
    func `what three conductors answer while leaders die, stop and are cut off is linearizable`()
        async throws
    {
        try await Self.withBed { bed in
            let status = await bed.status()
            #expect(status.controllers.allSatisfy { $0.running == Bed.Part.allCases }, "\(status)")
            #expect(status.controllers.count { $0.leadsStore } == 1)
            #expect(status.controllers.count { $0.leads } == 1, "\(status)")
            #expect(status.controllers.count { $0.hasAddress } == 1)
            let named: [Fault] = [
                .kill(.conductor, .leadingConductor), .pause(.etcd, .storeLeader),
                .cut(.virtualAddress, .both, clients: true),
            ]
            var schedules = [FaultSchedule(seed: 1, faults: 0, controllers: bed.plan.controllers, withClocks: false)]
            schedules[0].steps = named.map { .init(quiet: .seconds(1), faults: [$0], lasts: .seconds(3)) }
            schedules.append(
                FaultSchedule(seed: 2, faults: 3, controllers: bed.plan.controllers, withClocks: bed.hasClocks))
            for schedule in schedules {
                let report = try await BedRun(bed, schedule, program: "\(Self.programs)/muster-bed").execute()
                print(report)
                #expect(report.isGood, "\(report)")
                #expect(report.registerCount > 50 && report.setCount > 50 && report.foundCount > 20, "\(report)")
            }
            try await Self.coldStart(bed)
        }
    }

    /// All machines are cut at once and come back one after the other, with nothing but what starts services.
    private static func coldStart(_ bed: Bed) async throws {
        let options = [
            "--ca", bed.plan.authority, "--token-file", "\(bed.plan.folder("c1"))/conductor/operator.token",
        ]
        @Sendable func ask(_ words: [String], at address: String) async throws -> String {
            let muster = ["\(programs)/muster", "token"] + words
            let api = "https://\(address):\(BedPlan.port(at: address))"
            return try await bed.run(muster + ["--api", api] + options, at: .client)
        }
        for number in 1...3 {
            _ = try await ask(["create", "cold-\(number)", "--role", "reader"], at: BedPlan.virtualAddress)
        }
        for name in bed.plan.controllers { _ = try await bed.inflict(.kill(nil, .named(name))) }
        #expect(await bed.status().controllers.allSatisfy { $0.running.isEmpty })
        for count in 1...bed.plan.controllers.count {
            let back = bed.plan.controllers.reversed().prefix(count)
            for _ in 0..<3 {
                for name in back { try bed.startAll(of: name) }
                try await Task.sleep(for: .seconds(1))
            }
        }
        let controllers = bed.plan.controllers
        for name in controllers {
            try await waitUntil(.seconds(60)) {
                for name in controllers { try bed.startAll(of: name) }
                let list = (try? await ask(["list"], at: bed.plan.address(of: name))) ?? ""
                return (1...3).allSatisfy { list.contains("cold-\($0)") }
            }
        }
        try await bed.healAll()
        let status = await bed.status()
        #expect(status.controllers.count { $0.hasAddress } == 1, "\(status)")
    }

    @Test func `a bed whose maker was killed is cleared away`() async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "muster-killed-bed-\(getpid())").path
        let maker = KilledProgram(
            ["\(Self.programs)/muster-bed", "up", "--directory", directory, "--controllers", "3"])
        defer { maker.kill() }
        try await waitUntil(.seconds(30)) { FileManager.default.fileExists(atPath: "\(directory)/run/c1-etcd.json") }
        maker.kill()
        let bed = try Bed.existing(directory)
        let member = try #require(bed.process(.etcd, of: "c1"))
        #expect(member.isRunning)
        try await Bed.down(directory)
        #expect(!member.isRunning)
        #expect(!FileManager.default.fileExists(atPath: directory))
    }
}

/// A program that a test starts and kills.
private final class KilledProgram: Sendable {
    private let pid: pid_t

    init(_ words: [String]) {
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        var child: pid_t = 0
        posix_spawn(&child, words[0], nil, nil, &arguments, environ)
        for argument in arguments { free(argument) }
        pid = child
    }

    func kill() {
        guard pid > 0 else { return }
        Glibc.kill(pid, SIGKILL)
        var status: Int32 = 0
        waitpid(pid, &status, 0)
    }
}
