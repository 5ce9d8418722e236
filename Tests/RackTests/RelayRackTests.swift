import CatalogBareMetal
import FleetContract
import Foundation
import Glibc
import Primitives
import Testing

@testable import VirtualRack

/// A machine behind a router with a DHCP relay (dhcrelay), switched by IPMI, becomes a node; its site file is made.
@Suite(
    .serialized, .enabled(if: geteuid() == 0, "a rack needs root"),
    .enabled(if: ProcessInfo.processInfo.environment["MUSTER_RACK_TESTS"] == "1", "make test-rack"))
struct RelayRackTests {
    @Test(.timeLimit(.minutes(20))) func `a machine behind a relay becomes an active node`() async throws {
        var file = try RackFile.load("\(PathTests.package)/Inventory/example-rack/rack-relay.yaml")
        file.name = "relay-\(getpid())"
        let state = FileManager.default.temporaryDirectory.appending(path: "muster-\(file.name)").path
        let rack = try Rack(file: file, stateDirectory: state, options: Rack.Options(package: PathTests.package))
        try await rack.whileUp {
            let bed = PathTests.Bed(rack)
            do { try await walk(bed) } catch {
                let log = rack.process(named: "conductor")?.logTail(characters: 6000) ?? ""
                let relay = rack.process(named: "relay")?.logTail(characters: 2000) ?? ""
                let console = (try? rack.console(machine: bed.node)) ?? ""
                Issue.record("conductor:\n\(log)\nrelay:\n\(relay)\nconsole:\n\(console.suffix(3000))")
                throw error
            }
        }
        #expect(!FileManager.default.fileExists(atPath: state))
    }

    private func walk(_ bed: PathTests.Bed) async throws {
        // Bringing up what is up changes nothing.
        #expect(try await bed.rack.up().done.isEmpty)
        try await bed.begin(images: ["network"], makesKey: true)
        try await bed.applySite(bed.siteWithKey)
        try await bed.waitForState("enroll", within: .seconds(400))
        try await bed.must(["node", "approve", bed.node, "--role", "network"])
        try await bed.waitForState("active", within: .seconds(900))
        let detail = try await bed.json(NodeDetail.self, ["node", "show", bed.node])
        let address = try #require(detail.agent?.addresses.first)
        #expect(bed.rack.file.network.subnet.contains(address), "\(address)")
        let relay = try #require(bed.rack.file.network.relay)
        let routes = try await bed.ssh("\(address)", "ip -4 route")
        #expect(routes.contains("default via \(relay.address) "), "\(routes)")
        let log = try #require(bed.rack.process(named: "relay")).logTail(characters: 20_000)
        #expect(log.contains("Forwarded BOOTREQUEST") && log.contains("Forwarded BOOTREPLY"), "\(log)")
    }
}
