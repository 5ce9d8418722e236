import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import ControlPlane
import FleetAPI
import FleetContract
import Identity
import Primitives
import ResourceModel
import TestSupport
import Testing

@testable import ConductorServer

/// The orders for a pivot in the operators' API.
@Suite struct FleetAPIPivotTests {
    /// A site of one conductor, `seed`, with the controllers c1 to c4, of which c4 is in a network of its own, c5 without an
    /// address, a node of another role, and what has addresses.
    private func withSite(_ body: @escaping @Sendable (FleetFixture) async throws -> Void) async throws {
        try await withFleet(
            controllers: { _ in
                ControllerServices(
                    pivot: PivotServices(seed: "seed", warnings: { ["\($0.count) controllers"] }) {
                        var found: [String: PivotController] = [:]
                        for number in UInt32(1)...3 {
                            found["c\(number)"] = PivotController(
                                address: IPv4Address(0x0A4D_000A + number), isReady: true, hasSecrets: number == 1)
                        }
                        found["c4"] = PivotController(
                            address: IPv4Address(0x0A63_0004), isReady: true, hasSecrets: false)
                        found["c5"] = PivotController(address: nil, isReady: true, hasSecrets: false)
                        found["c6"] = PivotController(address: nil, isReady: false, hasSecrets: false)
                        found["seed"] = found["c1"]
                        return found
                    })
            }
        ) { fleet in
            let pool = Segment.AddressRange(start: IPv4Address(0x0A4D_0064), end: IPv4Address(0x0A4D_00C8))
            var rack = try PivotScene.segment(pools: [pool])
            rack.spec.router = IPv4Address(0x0A4D_00FE)
            rack.spec.reservations = [
                .init(mac: MACAddress(bytes: [2, 0, 0, 0, 0, 1]), address: IPv4Address(0x0A4D_0007))
            ]
            try await fleet.put(rack)
            try await fleet.put(try PivotScene.segment("far", "10.99.0.0/24", server: IPv4Address(0x0A63_0001)))
            try await fleet.put(
                try PivotScene.node("n1", number: 9, .network) { $0.addresses = [IPv4Address(0x0A4D_0020)] })
            try await fleet.put(PivotScene.conductor("seed", "10.77.0.2").0)
            try await body(fleet)
        }
    }

    private func refused(_ client: FleetClient, _ request: PivotRequest, _ words: String) async {
        await #expect("\(request)") { try await client.pivot(request) } throws: { error in
            let text = (error as? ClientError)?.publicMessage ?? "\(error)"
            if !text.contains(words) { Issue.record("\(text)") }
            return text.contains(words)
        }
    }

    @Test("A dry run shows the whole way and writes nothing but its event")
    func dryRun() async throws {
        try await withSite { fleet in
            try await fleet.with { client in
                let plan = try await client.pivot(
                    .init(controllers: ["c3", "c1", "c2"], vip: "10.77.0.5/24", dryRun: true))
                #expect(plan.controllers == ["c1", "c2", "c3"] && !plan.isOrdered)
                #expect(plan.endpoints == ["https://10.77.0.5:9443"] && plan.warnings == ["3 controllers"])
                #expect(plan.controllerEndpoints == (11...13).map { "https://10.77.0.\($0):9443" })
                #expect(plan.steps.first?.step == "hand the site's secrets over to c2")
                #expect(plan.steps.filter(\.isPointOfNoReturn).map(\.step) == [PivotStep.openStore.description])
                #expect(
                    plan.steps.filter(\.isFrozen).map(\.step)
                        == [.freezeSeed, .stopSeedDHCP, .copyStore, .verifyStore, .openStore].map(
                            \PivotStep.description))
                #expect(plan.steps.last?.step == "end the seed")
                for number in UInt8(20)...26 {
                    try await fleet.put(
                        try PivotScene.node("off\(number)", number: number, .compute) { $0.isConnected = number == 20 })
                }
                let cut = try await client.pivot(.init(controllers: ["c2"], dryRun: true)).warnings.last
                #expect(cut?.hasPrefix("6 active nodes are not connected") == true, "\(cut ?? "")")
                #expect(cut?.contains("off21, off22, off23, off24, off25, …") == true, "\(cut ?? "")")
                let bare = try await client.pivot(.init(controllers: ["c2"], dryRun: true))
                #expect(bare.endpoints == ["https://10.77.0.12:9443"] && bare.controllerEndpoints == bare.endpoints)
                #expect(try await client.controllers().wanted == nil)
            }
            #expect(try await fleet.store.controlPlane() == nil)
        }
    }

    @Test("An order is written once, by an administrator, with an event, and undone by another")
    func order() async throws {
        try await withSite { fleet in
            let request = PivotRequest(controllers: ["c3", "c1", "c2"], vip: "10.77.0.5/24", routerID: 7)
            await #expect(throws: ClientError.self, "members may not") {
                try await fleet.with(.member) { try await $0.pivot(request) }
            }
            await #expect(throws: ClientError.self, "members may not") {
                try await fleet.with(.member) { try await $0.undoPivot() }
            }
            try await fleet.with { client in
                await #expect { try await client.undoPivot() } throws: {
                    ($0 as? ClientError)?.publicMessage.contains("not being moved") == true
                }
                #expect(try await client.pivot(request).isOrdered)
                let record = try #require(try await fleet.store.controlPlane())
                #expect(record.spec.controllers == ["c1", "c2", "c3"] && record.status.phase == .pivoting)
                #expect(
                    record.spec.vip == .init(address: IPv4Address(0x0A4D_0005), prefixLength: 24, routerID: 7))
                let report = try await client.controllers()
                #expect(report.phase == .pivoting && report.endpoints == ["https://10.77.0.5:9443"])
                await refused(client, request, "being moved already, to c1, c2, c3")
                await refused(client, .init(controllers: ["c1"], dryRun: true), "muster controller pivot --back")

                #expect(try await client.undoPivot().steps.map(\.step) == [PivotStep.dismissControllers.description])
                #expect(try await client.undoPivot().isOrdered, "the same once more")
                let undone = try #require(try await fleet.store.controlPlane())
                #expect(undone.spec.goesBack == true && undone.metadata.generation == record.metadata.generation.next)
                await refused(client, request, "is being undone")
            }
            let own = try await fleet.audit.events().events.map(\.spec).filter {
                $0.resource == ControlPlaneRecord.key(ControlPlaneRecord.name) && $0.verb == "pivot"
            }
            #expect(own.contains { $0.summary == "the site moves to c1, c2, c3, at 10.77.0.5" }, "\(own)")
            #expect(own.contains { $0.summary == "the site stays with its first conductor" })
            #expect(own.contains { $0.outcome != .ok }, "who may not is noted")
        }
    }

    @Test("What cannot be is refused, with what to do")
    func refusals() async throws {
        try await withSite { fleet in
            try await fleet.put(
                Lease(
                    metadata: Metadata(
                        name: Lease.name(segment: "rack", address: IPv4Address(0x0A4D_0030)), schemaVersion: 1,
                        created: PivotScene.time),
                    spec: .init(
                        segment: "rack", address: IPv4Address(0x0A4D_0030), mac: MACAddress(bytes: [2, 0, 0, 0, 0, 2])),
                    status: .init(phase: .bound, expires: PivotScene.time, lastSeen: PivotScene.time)))
            let names: [([String], String)] = [
                ([], "with 0 members"), (["c1", "c2"], "name 1, 3 or 5"), (["c1", "c1", "c2"], "c1 is named twice"),
                (["c1", "c2", "c9"], "no node 'c9'"), (["c1", "c2", "n1"], "n1 has the role network"),
                (["c1", "c2", "seed"], "--conductor-name"), (["c1", "c2", "c5"], "c5 has no address in a segment"),
                (["c1", "c2", "c6"], "muster node why c6"),
            ]
            let addresses: [(String, String)] = [
                ("10.77.0.5", "10.77.0.5/24"), ("x/24", "10.77.0.5/24"), ("10.78.0.5/24", "in no segment"),
                ("10.77.0.5/16", "give it as 10.77.0.5/24"), ("10.77.0.0/24", "host's address"),
                ("10.77.0.255/24", "host's address"), ("10.99.0.5/24", "another network than the controller"),
                ("10.77.0.1/24", "as its server"), ("10.77.0.254/24", "gateway"), ("10.77.0.7/24", "keeps it for"),
                ("10.77.0.100/24", "in a pool"), ("10.77.0.32/24", "n1 has it"), ("10.77.0.48/24", "by DHCP"),
                ("10.77.0.2/24", "the conductor seed has it"),
            ]
            try await fleet.with { client in
                for (names, words) in names { await refused(client, .init(controllers: names), words) }
                for (vip, words) in addresses {
                    await refused(client, .init(controllers: ["c1", "c2", "c3"], vip: vip), words)
                }
                await refused(
                    client, .init(controllers: ["c1"], vip: "10.77.0.5/24", routerID: 256), "a number from 1 to 255")
            }
            #expect(try await fleet.store.controlPlane() == nil)
        }
    }

    @Test("A site whose conductors share a store has moved, and does not go back")
    func moved() async throws {
        try await withFleet(controllers: { store in
            let world = ControllerWorld(["c1"], store: store)
            return ControllerServices(membership: world, surroundings: world)
        }) { fleet in
            try await fleet.with { client in
                await refused(client, .init(controllers: ["c1"]), "has moved already")
                await #expect { try await client.undoPivot() } throws: {
                    ($0 as? ClientError)?.publicMessage.contains("no way back") == true
                }
            }
        }
    }
}
