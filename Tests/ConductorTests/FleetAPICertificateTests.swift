import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import FleetContract
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@Suite struct FleetAPICertificateTests {
    private let digest = Digest(bytes: [UInt8](repeating: 1, count: 32))

    private func authority(_ number: Int, _ fleet: FleetFixture) -> SiteAuthority.Authority {
        SiteAuthority.Authority(
            number: number, fingerprint: Digest(bytes: [UInt8](repeating: UInt8(number), count: 32)),
            certificatePEM: "certificate \(number)\n", notAfter: fleet.clock.now.advanced(by: .seconds(86_400)))
    }

    @Test func aRevocationIsToldEverywhereAndTakesTheTokenToo() async throws {
        try await withFleet { fleet in
            let now = fleet.clock.now
            let id = try await fleet.addNode("n1", number: 1) { node in
                node.spec.approval = Node.Approval(by: "admin", at: now, number: 1)
                node.status.agent = Node.Agent(version: "1", bootID: "b", isConnected: true, since: now)
            }
            var certificates = NodeCertificates(node: id.raw, created: now)
            certificates.add(
                NodeCertificates.Issued(
                    serial: "4a01", authority: digest, at: now, notAfter: now.advanced(by: .seconds(86_400))))
            try await fleet.put(certificates)
            _ = try await EnrolmentTokens(store: fleet.store).make(for: id, generation: Generation(1), now: now)
            try await fleet.with { (client: FleetClient) async throws in
                #expect(try await client.node("n1").certificate?.serial == "4a01")
                let reply = try await client.revokeCertificate(of: "n1", RevokeRequest(reason: "stolen"))
                #expect(reply.message.contains("muster node deploy n1"))
                let shown = try #require(try await client.node("n1").certificate)
                #expect(shown.revoked == now)
                #expect(shown.revokedBy == "operator:test-admin")
                #expect(shown.reason == "stolen")
                let cause = try await client.why("n1").causes.first { $0.subject == "certificate" }
                #expect(cause?.isProblem == true)
                #expect(cause?.next == "muster node deploy n1")
                let events = try await client.events(of: "n1")
                #expect(events.map(\.type) == ["CertificateRevoked"])
                for reason in [String(repeating: "x", count: 201), "a\u{1B}[2J"] {
                    let refused = await #expect(throws: ClientError.self) {
                        try await client.revokeCertificate(of: "n1", RevokeRequest(reason: reason))
                    }
                    #expect(refused?.publicMessage.contains("reason") == true)
                }
            }
            #expect(try await fleet.store.fetch(EnrolmentToken.self, id.raw) == nil)
            let audit = try await fleet.audit.events().events.filter { $0.spec.verb == "rotate" }
            #expect(audit.first?.spec.summary == "1 certificates: stolen")
            #expect(audit.first?.spec.resource == NodeCertificates.key(id.raw))
        }
    }

    @Test func aCertificateThatHasEndedIsToldWithTheWayBack() async throws {
        try await withFleet { fleet in
            let now = fleet.clock.now
            let end = now.advanced(by: .seconds(7 * 86_400))
            let id = try await fleet.addNode("n1", number: 1) { node in
                node.spec.approval = Node.Approval(by: "admin", at: now, number: 1)
                node.status.agent = Node.Agent(version: "1", bootID: "b", isConnected: false, since: now)
            }
            var certificates = NodeCertificates(node: id.raw, created: now)
            certificates.add(NodeCertificates.Issued(serial: "4a01", authority: digest, at: now, notAfter: end))
            try await fleet.put(certificates)
            for (days, isTold) in [(6, false), (1, true)] {
                fleet.clock.advance(by: .seconds(days * 86_400))
                try await fleet.with { (client: FleetClient) async throws in
                    let cause = try await client.why("n1").causes.first { $0.subject == "certificate" }
                    #expect((cause != nil) == isTold)
                    if isTold { #expect(cause?.since == end && cause?.next == "muster node deploy n1") }
                }
            }
        }
    }

    @Test func aDeletedNodesCertificatesStayRefused() async throws {
        try await withFleet { fleet in
            let id = try await fleet.addNode("n1", number: 1)
            try await fleet.with { (client: FleetClient) async throws in _ = try await client.deleteNode("n1") }
            let stored = try await fleet.store.fetch(NodeCertificates.self, id.raw)
            #expect(stored?.value.accepts("4a01") == false)
        }
    }

    @Test func aRotationIsOrderedOnceThenHurried() async throws {
        try await withFleet { fleet in
            try await fleet.put(SiteAuthority(created: fleet.clock.now, first: authority(1, fleet)))
            try await fleet.with { (client: FleetClient) async throws in
                #expect(try await client.authority().state == "steady")
                let nothing = await #expect(throws: ClientError.self) {
                    try await client.rotateAuthority(RotateAuthorityRequest(force: true))
                }
                #expect(nothing?.exitCode == 4)
                let ordered = try await client.rotateAuthority(RotateAuthorityRequest())
                #expect(ordered.orderedBy == "operator:test-admin")
                #expect(!ordered.isHastened)
                let twice = await #expect(throws: ClientError.self) {
                    try await client.rotateAuthority(RotateAuthorityRequest())
                }
                #expect(twice?.publicMessage.contains("under way already") == true)
                #expect(try await client.rotateAuthority(RotateAuthorityRequest(hastens: true)).isHastened)
            }
            var known = try #require(try await fleet.store.fetch(SiteAuthority.self, SiteAuthority.name))
            known.value.status.state = .introducing(
                newer: authority(2, fleet), older: authority(1, fleet), cross: "cross\n")
            _ = try await fleet.store.commit(
                Transaction(conditions: [known.unchanged], operations: [try known.put()]))
            try await fleet.cache.barrier()
            try await fleet.with(.reader) { (client: FleetClient) async throws in
                let record = try await client.authority()
                #expect(record.state == "introducing")
                #expect(record.authorities.map(\.number) == [2, 1])
                #expect(record.bundle == "certificate 2\ncertificate 1\n")
                let refused = await #expect(throws: ClientError.self) {
                    try await client.rotateAuthority(RotateAuthorityRequest(force: true))
                }
                #expect(refused?.exitCode == 4, "a reader only reads")
            }
            try await fleet.with { (client: FleetClient) async throws in
                for _ in 0..<2 { _ = try await client.rotateAuthority(RotateAuthorityRequest(force: true)) }
            }
            let stored = try #require(try await fleet.store.fetch(SiteAuthority.self, SiteAuthority.name)?.value)
            #expect(stored.spec.rotation?.forced == [.serve], "the step that waits, and only that")
        }
    }
}
