import FleetContract
import Foundation
import Glibc
import Primitives
import Testing

/// A site's whole life with controllers, by the commands that operators type, while machines register all the time.
@Suite(.enabled(if: geteuid() == 0, "namespaces need root"))
struct ControllerJourneyTests {
    /// How long each event took until all was settled, and the longest time in which nothing was acknowledged meanwhile.
    private struct Gaps {
        /// `make bench-ha` fails when a change takes too long; a test only when somebody waits for ever, however busy the host is.
        static let isTimed = ProcessInfo.processInfo.environment["MUSTER_JOURNEY_TIMED"] == "1"
        /// What a change of the controllers may cost, or the loss of one.
        static let limit = Duration.seconds(isTimed ? 5 : 60)
        /// What it costs that all are switched off, and start one after the other without addresses.
        static let darkLimit = Duration.seconds(isTimed ? 30 : 60)

        var longest: [(what: String, took: Duration, gap: Duration)] = []
        /// When all was settled, where others are waited for afterwards.
        var settled: ContinuousClock.Instant?
        var begun = ContinuousClock.now

        mutating func end(_ what: String, _ strangers: Strangers, limit: Duration = limit) {
            let now = ContinuousClock.now
            let times = [begun] + strangers.times.filter { $0 > begun } + [now]
            let gap = zip(times, times.dropFirst()).map { $1 - $0 }.max() ?? .zero
            longest.append((what, (settled ?? now) - begun, gap))
            settled = nil
            #expect(gap < limit, "\(what)")
            begun = now
        }

        var text: String {
            longest.map {
                "\($0.what) \(ControllerJourneyTests.seconds($0.gap)) of \(ControllerJourneyTests.seconds($0.took))"
            }.joined(separator: ", ")
        }
    }

    private static func seconds(_ duration: Duration) -> String {
        String(format: "%.1f s", duration / .seconds(1))
    }

    @Test(
        "A site moves to a controller, grows, loses one, replaces it, loses all and goes back to one; no answer is lost",
        .timeLimit(.minutes(15)))
    func journey() async throws {
        try await ControllerFleet.with("journey", machines: 4) { fleet in
            let strangers = try Strangers(
                namespace: fleet.bed.scene.namespace, folder: fleet.bed.scene.path("strangers"),
                state: fleet.bed.scene.state, hosts: ["127.0.0.1", ControllerFleet.vip])
            let registering = Task { try await strangers.register(0..<9_000, rest: .milliseconds(250)) }
            defer { registering.cancel() }
            let lessees = try await Lessees(fleet.bed.scene, bridge: "rack0", seed: CrashBed.address)
            let asking = Task { try await lessees.ask(rest: .milliseconds(700)) }
            defer { asking.cancel() }
            var gaps = Gaps()
            try await fleet.wait("the first strangers are there", within: .seconds(20)) { strangers.nodes.count > 5 }

            let handover = Handover(fleet)
            async let watching: Void = handover.watch()
            try await pivot(fleet)
            await watching
            gaps.settled = .now
            try await fleet.wait("a controller gives addresses", within: .seconds(60)) { lessees.areServedByOthers }
            gaps.end("pivot", strangers)
            let conductor = try await fleet.machine("m1").processes("conductor")
            let grown = try await fleet.muster("controller grow m2 m3 --yes", within: .seconds(180))
            #expect(grown.contains("settled: m1, m2, m3"), "\(grown)")
            try await expect(["m1", "m2", "m3"], fleet)
            #expect(try await fleet.machine("m1").processes("conductor") == conductor, "it is not started anew")
            gaps.end("grow", strangers)

            try await fleet.cut("m2")
            let replaced = try await fleet.muster("controller replace m2 --with m4 --yes", within: .seconds(180))
            #expect(replaced.contains("settled: m1, m3, m4"), "\(replaced)")
            try await expect(["m1", "m3", "m4"], fleet)
            gaps.end("cut and replace", strangers)

            try await coldStart(fleet)
            try await expect(["m1", "m3", "m4"], fleet)
            gaps.end("cold start", strangers, limit: Gaps.darkLimit)

            let last = try await fleet.machine("m1").processes("conductor")
            let shrunk = try await fleet.muster("controller shrink m3 m4 --yes", within: .seconds(180))
            #expect(shrunk.contains("settled: m1"), "\(shrunk)")
            try await expect(["m1"], fleet)
            #expect(try await fleet.machine("m1").processes("conductor") == last, "it is not started anew")
            gaps.end("shrink", strangers)

            registering.cancel()
            asking.cancel()
            _ = try? await registering.value
            _ = try? await asking.value
            try await judge(lessees, fleet)
            let lost = try await lost(strangers, fleet)
            print(
                "nobody took writes for \(handover.duration.map(Self.seconds) ?? "ever") in the pivot; "
                    + "longest gaps: \(gaps.text); \(strangers.nodes.count) acknowledged, lost = \(lost.count)")
            #expect(lost.isEmpty, "\(lost)")
        }
    }

    // MARK: Steps

    private func pivot(_ fleet: ControllerFleet) async throws {
        let moved = try await fleet.bed.scene.type(
            "muster controller pivot m1 --vip \(ControllerFleet.vip)/24 --yes", patience: .seconds(120))
        #expect(moved.status == 0, "\(moved.output)")
        #expect(moved.output.contains("export MUSTER_API=https://\(ControllerFleet.vip):9443"), "\(moved.output)")
        try await expect(["m1"], fleet)
    }

    /// All lose their power, the one that was replaced has lost it before; they come back in another order. The controllers
    /// have their addresses by DHCP, which nobody serves until they have met.
    private func coldStart(_ fleet: ControllerFleet) async throws {
        var addresses: [(machine: CrashMachine, address: String)] = []
        for name in ["m1", "m3", "m4"] {
            try await fleet.cut(name)
            let machine = try fleet.machine(name)
            addresses.append((machine, try #require(await machine.address)))
            await machine.askForAddress()
        }
        for name in ["m2", "m4", "m3", "m1"] {
            await (try fleet.machine(name)).setOverride("Hdd", isOnce: false)
            try await fleet.boot(name)
        }
        try await fleet.wait("all agents are back", within: .seconds(120)) {
            let nodes = try JSONDecoder().decode(
                NodeList.self, from: Data(try await fleet.muster("node list --json").utf8)
            ).nodes
            return nodes.filter { $0.isConnected == true }.count == 4
        }
        for (machine, address) in addresses {
            try await fleet.wait("DHCP gives \(machine.name) the address that it had", within: .seconds(60)) {
                await machine.address == address
            }
        }
        let replaced = try fleet.machine("m2")
        try await fleet.wait("what was replaced runs no store", within: .seconds(60)) {
            let (stores, conductors) = (try await replaced.processes("etcd"), try await replaced.processes("conductor"))
            return stores.isEmpty && conductors.isEmpty
        }
    }

    /// Waits until these and no others are controllers, and each is well.
    private func expect(_ names: [String], _ fleet: ControllerFleet) async throws {
        var last: ControllersReport?
        do {
            try await fleet.wait("the controllers are \(names)", within: .seconds(60)) {
                let report = try await fleet.controllers()
                last = report
                let own = report.controllers.filter { $0.part == .stays }
                return report.isSettled && own.map(\.name) == names
                    && own.allSatisfy { $0.conductor != nil && $0.isReady == true && $0.members.count == 1 }
                    && own.filter { $0.hasVIP == true }.count == 1
                    && report.controllers.flatMap(\.members).allSatisfy { [.leader, .follower].contains($0.state) }
            }
        } catch {
            Issue.record("\(error): \(String(describing: last))")
            throw error
        }
    }

    /// Expects that the seed answered until it was told to end, controllers after it, and no two of them with one address.
    private func judge(_ lessees: Lessees, _ fleet: ControllerFleet) async throws {
        var taken: Set<String> = []
        for machine in fleet.bed.machines { taken.formUnion(await machine.leases) }
        let (counts, faults) = (lessees.leaseCounts, lessees.faults(taken: taken))
        let told = counts.sorted { $0.key < $1.key }.map { "\($0.key) gave \($0.value)" }.joined(separator: ", ")
        print("DHCP: \(told), faults = \(faults.count)")
        #expect(faults.isEmpty, "\(faults)")
        #expect(counts[CrashBed.address, default: 0] > 2 && counts.count > 1, "\(counts)")
        #expect(lessees.countAfterEnd > 0, "the seed has said that it ended DHCP")
    }

    /// The strangers that were acknowledged and are not there.
    private func lost(_ strangers: Strangers, _ fleet: ControllerFleet) async throws -> [Int] {
        let list = try JSONDecoder().decode(
            NodeList.self, from: Data(try await fleet.muster("node list --json").utf8))
        let known = Set(list.nodes.map(\.id.raw))
        let acknowledged = strangers.nodes
        #expect(acknowledged.count > 100 && Set(acknowledged.values).count == acknowledged.count)
        return acknowledged.filter { !known.contains($0.value) }.keys.sorted()
    }
}
