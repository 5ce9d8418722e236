import CatalogBareMetal
import FleetContract
import Foundation
import Glibc
import Primitives
import Testing

@testable import VirtualRack

/// A real machine on its way from power-on to an active node, while the conductor is killed with -9 three times at seeded
/// random moments, and the node's agent once.
///
/// `MUSTER_CRASH_SEED=N` takes another seed. In every test run `PathTests` kills the conductor in the middle of an image,
/// and `KilledTests` everybody, many times, without machines.
@Suite(.serialized, .enabled(if: geteuid() == 0, "a rack needs root"))
struct CrashRackTests {
    private static let isWhole = ProcessInfo.processInfo.environment["MUSTER_RACK_TESTS"] == "1"
    private static let seed = ProcessInfo.processInfo.environment["MUSTER_CRASH_SEED"].flatMap { UInt64($0) } ?? 311

    @Test(.enabled(if: isWhole, "make test-rack"), .timeLimit(.minutes(30)))
    func `a machine becomes active though the conductor is killed on the way`() async throws {
        var file = try RackFile.load("\(PathTests.package)/Inventory/example-rack/rack-b.yaml")
        file.name = "crash-\(getpid())"
        let state = FileManager.default.temporaryDirectory.appending(path: "muster-\(file.name)").path
        let rack = try Rack(file: file, stateDirectory: state, options: Rack.Options(package: PathTests.package))
        try await rack.whileUp {
            let bed = PathTests.Bed(rack)
            do {
                try await walk(bed)
            } catch {
                let log = rack.process(named: "conductor")?.logTail(characters: 6000) ?? ""
                let console = (try? rack.console(machine: bed.node)) ?? ""
                Issue.record("seed \(Self.seed), conductor:\n\(log)\nconsole:\n\(console.suffix(3000))")
                throw error
            }
        }
    }

    private func walk(_ bed: PathTests.Bed) async throws {
        var random = SeededRandom(seed: Self.seed)
        try await bed.begin(images: ["network"], makesKey: true)
        try await bed.applySite(bed.siteWithKey)

        try await crash(bed, after: 1...60, "ingest", &random)
        try await bed.waitForState("enroll", within: .seconds(500))
        try await bed.must(["node", "approve", bed.node, "--role", "network"])
        try await crash(bed, after: 0...20, "the deployment", &random)
        // The next falls into the boot of the disk, the enrolment, or the look at the role.
        try await waitUntil("the image to be written", within: .seconds(600), every: .milliseconds(500)) {
            let node = try await bed.nodes().first
            return node?.state == "active" || [.bootingDisk, .enrolling, .checking].contains(node?.phase)
        }
        try await crash(bed, after: 0...40, "the first boot of the disk", &random)
        try await bed.waitForState("active", within: .seconds(600))
        try await killAgent(bed, &random)

        let nodes = try await bed.nodes()
        #expect(nodes.count == bed.rack.file.machines.count, "\(nodes.map(\.name))")
        let audit = try await bed.must(["audit", "list", "--json"])
        #expect(audit.components(separatedBy: "\"enrol\"").count >= 2, "\(audit)")
        #expect(!audit.contains("\"denied\""), "somebody was refused a certificate:\n\(audit)")
    }

    private func crash(
        _ bed: PathTests.Bed, after seconds: ClosedRange<Int>, _ stage: String, _ random: inout SeededRandom
    ) async throws {
        let pause = Duration.milliseconds(
            Int.random(in: seconds.lowerBound * 1000...seconds.upperBound * 1000, using: &random))
        try await Task.sleep(for: pause)
        let conductor = try #require(bed.rack.process(named: "conductor"))
        conductor.signal(SIGKILL)
        try await conductor.waitForEnd()
        print("seed \(Self.seed): the conductor was killed \(pause) into \(stage)")
        try await Task.sleep(for: .milliseconds(Int.random(in: 0...3000, using: &random)))
        try await bed.startConductor()
    }

    /// The node stays what it is, and its agent comes back with the same certificate.
    private func killAgent(_ bed: PathTests.Bed, _ random: inout SeededRandom) async throws {
        let address = try #require(
            try await bed.json(NodeDetail.self, ["node", "show", bed.node]).agent?.addresses.first
        ).description
        try await Task.sleep(for: .milliseconds(Int.random(in: 0...5000, using: &random)))
        let told = try await bed.ssh(
            address,
            """
            sum=$(sha256sum /state/muster/agent.pem); old=$(systemctl show -P MainPID muster-agent); kill -9 "$old"
            for i in $(seq 300); do
                new=$(systemctl show -P MainPID muster-agent); [ "$new" != "$old" ] && [ "$new" != 0 ] && break; sleep 0.1
            done
            [ "$new" != "$old" ] && [ "$sum" = "$(sha256sum /state/muster/agent.pem)" ] && echo "another process, one key"
            """)
        #expect(told.contains("another process, one key"), "\(told)")
        try await waitUntil("the agent's stream", within: .seconds(180)) {
            let detail = try await bed.json(NodeDetail.self, ["node", "show", bed.node])
            return detail.node.state == "active" && detail.agent?.isConnected == true && detail.agent?.isReady == true
        }
    }
}
