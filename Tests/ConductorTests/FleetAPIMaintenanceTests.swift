import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import FleetContract
import Primitives
import TestSupport
import Testing

@Suite struct FleetAPIMaintenanceTests {
    @Test func `who, why and since when are kept until it ends`() async throws {
        try await withFleet { fleet in
            let id = try await fleet.addNode("n1", number: 1)
            let begun = fleet.clock.now
            try await fleet.with { (client: FleetClient) async throws in
                _ = try await client.change(
                    "n1", NodePatch(isInMaintenance: true, maintenanceReason: "a fan is loud"))
                fleet.clock.advance(by: .seconds(60))
                // Said again, it goes on as it began.
                _ = try await client.change("n1", NodePatch(isInMaintenance: true))
                let why = try await client.why("n1")
                #expect(why.headline.contains("in maintenance (a fan is loud)"))
                let cause = try #require(why.causes.first)
                #expect(cause.subject == "maintenance" && cause.since == begun)
                #expect(cause.what == "ordered by operator:test-admin, a fan is loud")
                let shown = try await client.node("n1")
                #expect(shown.node.isInMaintenance && shown.node.maintenance?.reason == "a fan is loud")
                #expect(shown.node.maintenance?.since == begun)
            }
            let metrics = try await fleet.raw("GET", "/metrics", token: fleet.tokens[.reader])
            #expect(metrics.body.contains("muster_node_maintenance{node=\"n1\"} 1"), "\(metrics.body)")
            try await fleet.with { (client: FleetClient) async throws in
                _ = try await client.change("n1", NodePatch(isInMaintenance: false))
                #expect(try await client.node("n1").node.maintenance == nil)
            }
            #expect(try await fleet.node(id)?.spec.maintenance == nil)
        }
    }

    @Test func `a reason that says nothing is refused`() async throws {
        try await withFleet { fleet in
            try await fleet.addNode("n1", number: 1)
            try await fleet.with { (client: FleetClient) async throws in
                for reason in ["", "two\nlines", String(repeating: "x", count: 201)] {
                    let error = await #expect(throws: ClientError.self) {
                        try await client.change("n1", NodePatch(isInMaintenance: true, maintenanceReason: reason))
                    }
                    #expect(error?.publicMessage.contains("1 to 200") == true)
                }
                let alone = await #expect(throws: ClientError.self) {
                    try await client.change("n1", NodePatch(maintenanceReason: "a fan"))
                }
                #expect(alone?.publicMessage.contains("--maintenance on") == true)
            }
        }
    }
}
