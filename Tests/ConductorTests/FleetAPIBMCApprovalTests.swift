import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import FleetContract
import Identity
import Primitives
import ResourceModel
import TestSupport
import Testing

@Suite struct FleetAPIBMCApprovalTests {
    private let shown = Digest(bytes: [UInt8](repeating: 1, count: 32))
    private let other = Digest(bytes: [UInt8](repeating: 2, count: 32))

    private func bmc(_ fleet: FleetFixture, _ change: (inout BMC) -> Void = { _ in }) -> BMC {
        var bmc = BMC(
            metadata: Metadata(name: "r1", schemaVersion: 1, created: fleet.clock.now),
            spec: BMC.Spec(
                address: "https://10.77.0.2", system: nil, username: "admin", passwordSecret: "bmc.r1"),
            status: BMC.Status())
        bmc.status.refusedCertificate = BMC.RefusedCertificate(digest: shown, since: fleet.clock.now)
        change(&bmc)
        return bmc
    }

    @Test func whatIsShownAndWasComparedIsApproved() async throws {
        let (shown, other) = (shown, other)
        try await withFleet { fleet in
            try await fleet.put(bmc(fleet))
            try await fleet.with { (client: FleetClient) async throws in
                let refused = await #expect(throws: ClientError.self) {
                    try await client.approveBMC("r1", ApproveBMCRequest(fingerprint: other))
                }
                #expect(refused?.publicMessage.contains(shown.hex) == true)
                let record = try await client.approveBMC("r1", ApproveBMCRequest(fingerprint: shown))
                #expect(record.approvedCertificate?.digest == shown)
                #expect(record.approvedCertificate?.by == "operator:test-admin")
                _ = try await client.approveBMC("r1", ApproveBMCRequest(fingerprint: shown))
            }
            let stored = try #require(try await fleet.store.fetch(BMC.self, "r1")?.value)
            #expect(stored.metadata.generation == bmc(fleet).metadata.generation.next, "twice is once")
            let events = try await fleet.audit.events().events.filter { $0.spec.verb == "approve" }
            #expect(events.map(\.spec.summary).contains("certificate \(shown.hex)"))
        }
    }

    @Test func whatTheSiteFileNamesOrNobodyHasShownIsNotApproved() async throws {
        let (shown, other) = (shown, other)
        let cases: [(String, @Sendable (inout BMC) -> Void)] = [
            ("certificateDigest", { $0.spec.certificateDigest = other }),
            ("has shown no certificate", { $0.status.refusedCertificate = nil }),
            ("has no certificate", { $0.spec.address = "http://10.77.0.2" }),
        ]
        for (words, change) in cases {
            try await withFleet { fleet in
                try await fleet.put(bmc(fleet, change))
                try await fleet.with { (client: FleetClient) async throws in
                    let refused = await #expect(throws: ClientError.self) {
                        try await client.approveBMC("r1", ApproveBMCRequest(fingerprint: shown))
                    }
                    #expect(refused?.publicMessage.contains(words) == true, "\(words)")
                }
            }
        }
    }
}
