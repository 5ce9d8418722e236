import FleetContract
import Foundation
import Glibc
import Testing

/// A seed conductor and machines with the role controller: the agents and what they start are the real ones, and orders
/// are given by the real command line.
struct ControllerFleet {
    let bed: CrashBed

    /// Runs `body` with `count` machines that have the role controller, whose agents have their streams.
    static func with(_ label: String, machines count: Int, _ body: (ControllerFleet) async throws -> Void) async throws
    {
        try await CrashBed.with(label, machines: count, image: .controller) { bed in
            let fleet = ControllerFleet(bed: bed)
            try await bed.wait(for: "enroll", within: .seconds(60))
            for machine in bed.machines { try await bed.insist("node approve \(machine.name) --role controller") }
            try await bed.wait(for: "active", within: .seconds(90))
            try await bed.waitForAgents(within: .seconds(60))
            try await body(fleet)
        }
    }

    // MARK: Orders

    /// The address that the controllers share.
    static let vip = "10.91.0.9"

    /// Types a `muster` command at the controllers; asked again while nobody answers at their address.
    func muster(_ command: String, within limit: Duration = .seconds(60)) async throws -> String {
        let end = ContinuousClock.now + limit
        while true {
            let answer = try await bed.scene.type(
                "MUSTER_API=https://\(Self.vip):9443 muster \(command)", patience: limit + .seconds(30))
            if answer.status == 0 { return answer.output }
            guard answer.status == 5, ContinuousClock.now < end else {
                throw CrashError(what: "\(command) ended with \(answer.status): \(answer.output)")
            }
            try await Task.sleep(for: .milliseconds(500))
        }
    }

    /// What the controllers tell of themselves.
    func controllers(within limit: Duration = .seconds(60)) async throws -> ControllersReport {
        let answer = try await muster("controller list --json", within: limit)
        return try JSONDecoder().decode(ControllersReport.self, from: Data(answer.utf8))
    }

    // MARK: Machines

    /// Switches a machine off as a power cut does; all that it runs ends at once.
    func cut(_ name: String) async throws { try await machine(name).reset("ForceOff") }

    /// Switches it on.
    func boot(_ name: String) async throws { try await machine(name).reset("On") }

    /// Looks several times a second until it is so. Throws when that takes longer than `limit`.
    func wait(_ what: String, within limit: Duration, until isSo: () async throws -> Bool) async throws {
        let end = ContinuousClock.now + limit
        while try await !isSo() {
            guard ContinuousClock.now < end else { throw CrashError(what: "not within \(limit): \(what)") }
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    func machine(_ name: String) throws -> CrashMachine {
        try #require(bed.machines.first { $0.name == name }, "there is no \(name)")
    }
}

extension CrashMachine {
    /// The processes on it that the kernel knows by this name (15 bytes at most), newest last.
    nonisolated func processes(_ name: String) async throws -> [pid_t] {
        let found = try await Shell.run(
            "for p in $(ip netns pids \(namespace)); do grep -sqx '\(name)' /proc/$p/comm && echo $p; done; true")
        return found.output.split(separator: "\n").compactMap { pid_t($0) }.sorted()
    }

    /// kill -9 of one of its programs. Throws when that does not run.
    nonisolated func kill(_ name: String) async throws {
        let found = try await processes(name)
        guard !found.isEmpty else { throw CrashError(what: "\(self.name) runs no \(name)") }
        for process in found { Glibc.kill(process, SIGKILL) }
    }
}
