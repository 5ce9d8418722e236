import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import Fleet
import FleetContract
import Identity
import Primitives
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@Suite struct FleetAPISiteTests {
    private func site() throws -> SiteDocument {
        let segment = Segment.Spec(
            interface: "br0", network: try IPv4Network("10.77.0.0/24"), server: try IPv4Address("10.77.0.1"),
            pools: [.init(start: try IPv4Address("10.77.0.50"), end: try IPv4Address("10.77.0.99"))])
        return SiteDocument(
            site: .init(name: "lab", sshKeys: []), segments: [.init(name: "provisioning", spec: segment)],
            bmcs: [
                .init(name: "b1", address: "http://10.77.0.2:8000", username: "admin", password: Password("geheim"))
            ],
            rules: [.init(name: "r1", spec: .init(order: 1, match: [], role: .network))])
    }

    @Test func siteChecksCompareWithWhatWasApplied() async throws {
        try await withFleet { fleet in
            let site = try site()
            try await fleet.with { (client: FleetClient) async throws in
                let before = try #require(try await client.checkSite(site).rows.first)
                #expect(before.problem == SiteCheckReply.Problem.siteNotApplied.rawValue)
                #expect(before.outcome == .warning && before.found.contains("create segment provisioning"))
                _ = try await client.applySite(site)
                let after = try #require(try await client.checkSite(site).rows.first)
                #expect(after.outcome == .ok && after.problem == nil)
            }
        }
    }

    @Test func applyingIsPlannedDoneAndAudited() async throws {
        try await withFleet { fleet in
            let site = try site()
            try await fleet.with { (client: FleetClient) async throws in
                let dry = try await client.applySite(site, dryRun: true)
                #expect(dry.isDryRun)
                #expect(dry.changes.count == 5)
                #expect(try await client.segments().isEmpty)
                #expect(try await client.applySite(site).changes == dry.changes)
                #expect(try await client.applySite(site).changes.isEmpty)
                #expect(
                    try await client.segments().map { SiteDocument.SegmentEntry(name: $0.name, spec: $0.spec) }
                        == site.segments)
                #expect(try await client.segments().map(\.status.state) == [.waiting])
                #expect(try await client.events(ofSegment: "provisioning").isEmpty)
                #expect(try await client.rules() == site.rules)
                #expect(try await client.bmcs().map(\.name) == ["b1"])
            }
            #expect(try await fleet.vault.open("bmc.b1").revealed == "geheim")
            let all = "create password b1, create bmc b1, create segment provisioning, create rule r1, create site site"
            #expect(
                try await fleet.audit.events().events.map(\.spec.summary) == [
                    "dry run: \(all)", all, "nothing to change",
                ])
            for path in ["bmcs", "audit", "rules"] {
                let answer = try await fleet.raw("GET", "/fleet/v1/\(path)", token: fleet.tokens[.admin])
                #expect(!answer.body.contains("geheim"))
            }
            for document in try await fleet.store.list(kind: nil, after: nil, limit: 500).documents {
                #expect(!String(decoding: document.value, as: UTF8.self).contains("geheim"))
            }
        }
    }

    @Test func aNewPasswordIsSealedAnew() async throws {
        try await withFleet { fleet in
            try await fleet.with { (client: FleetClient) async throws in
                var site = try site()
                _ = try await client.applySite(site)
                site.bmcs[0].password = Password("neu")
                #expect(try await client.applySite(site).changes.map(\.kind) == ["password"])
                site.bmcs[0].password = nil
                #expect(try await client.applySite(site).changes.isEmpty)
            }
            #expect(try await fleet.vault.open("bmc.b1").revealed == "neu")
        }
    }

    @Test func aWrongSiteIsRefusedWithAllItsProblems() async throws {
        try await withFleet { fleet in
            var wrong = try site()
            wrong.site.name = "no good"
            wrong.rules[0].spec.bmc = "b2"
            let site = wrong
            let error = await #expect(throws: ClientError.self) {
                try await fleet.with { try await $0.applySite(site) }
            }
            guard case .refused("invalid_site", let message)? = error else {
                Issue.record("a refusal was expected, not \(String(describing: error))")
                return
            }
            #expect(message.contains("site.name: 'no good'"))
            #expect(message.contains("rules[0].gives.bmc: 'b2' is not a BMC of this site"))
            #expect(try await fleet.store.fetch(Site.self, Site.name) == nil)
        }
    }

    @Test func powerOfABMCIsOrderedWhereItBelongs() async throws {
        try await withFleet { fleet in
            try await fleet.with { (client: FleetClient) async throws in
                _ = try await client.applySite(try site())
                _ = try await client.powerBMC("b1", .on)
                let bmc = try #require(try await fleet.store.fetch(BMC.self, "b1")).value
                #expect(bmc.spec.power == Node.PowerRequest(number: 1, action: .on))
                #expect(try await client.applySite(try site()).changes.isEmpty)
                try await fleet.addNode("n1", number: 1) { $0.spec.bmc = "b1" }
                let error = await #expect(throws: ClientError.self) { try await client.powerBMC("b1", .off) }
                #expect(error?.publicMessage.contains("muster node power n1 off") == true)
            }
        }
    }

    @Test func leasesAndConflictsNameTheirNodes() async throws {
        try await withFleet { fleet in
            let now = fleet.clock.now
            let id = try await fleet.addNode("n1", number: 1)
            let identity = try #require(try await fleet.node(id)).status.identity
            let mac = try #require(identity.macs.first)
            try await fleet.put(
                Lease(
                    metadata: Metadata(name: "s-10.77.0.50", schemaVersion: 1, created: now),
                    spec: .init(segment: "s", address: try IPv4Address("10.77.0.50"), mac: mac),
                    status: .init(phase: .bound, expires: now, lastSeen: now)))
            try await fleet.put(
                IdentityConflict(
                    metadata: Metadata(name: "c1", schemaVersion: 1, created: now),
                    spec: .init(claim: identity, nodes: [id], reason: "same serial"),
                    status: .init(lastSeen: now, count: 2)))
            try await fleet.with(.reader) { (client: FleetClient) async throws in
                #expect(try await client.leases().map(\.node) == ["n1"])
                #expect(try await client.conflicts().map(\.nodeNames) == [["n1"]])
                #expect(try await client.why("n1").causes.contains { $0.subject == "identity" && $0.isProblem })
            }
        }
    }
}
