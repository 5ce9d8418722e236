import AgentProtocol
import CatalogIdentity
import Primitives
import ResourceModel
import TestSupport
import Testing

@testable import Identity

@Suite struct CertificateRegisterTests {
    private let store = FakeStore()
    private let clock = ManualWallClock()
    private let authority = Digest(bytes: [UInt8](repeating: 1, count: 32))

    private var register: CertificateRegister { CertificateRegister(store: store, clock: clock) }

    private func issued(_ serial: String) -> IssuedNode {
        IssuedNode(
            certificatePEM: "", notBefore: clock.now, notAfter: clock.now.advanced(by: .seconds(7 * 86_400)),
            serial: serial)
    }

    /// Orders a deployment, which may ask for a certificate within an hour.
    private func deploy() async throws {
        try await register.beginDeployment(
            of: nodeA, trusting: [authority], until: clock.now.advanced(by: EnrolmentTokens.lifetime))
    }

    private func certificates(_ node: NodeID = nodeA) async throws -> NodeCertificates {
        try #require(try await store.fetch(NodeCertificates.self, node.raw)?.value)
    }

    @Test func whatWasRevokedIsRefusedAndWhatComesAfterIsNot() async throws {
        try await register.note(issued("01"), of: authority, for: nodeA)
        try await register.note(issued("02"), of: authority, for: nodeA, presented: "01")
        try await register.note(issued("09"), of: authority, for: nodeB)
        #expect(try await certificates().accepts("01"))
        #expect(try await certificates().accepts("unlisted"), "of the time before certificates were listed")
        let (count, revision) = try await register.revokeAll(of: nodeA, by: "operator:admin", reason: "stolen")
        #expect(count == 2)
        #expect(revision != nil)
        let revoked = try await certificates()
        for serial in ["01", "02", "unlisted"] { #expect(!revoked.accepts(serial), "\(serial)") }
        #expect(revoked.shutOut?.reason == "stolen")
        #expect(try await certificates(nodeB).accepts("09"), "another node's is its own affair")
        await #expect(throws: CertificateRefusal.revoked, "a token that was redeemed just before gets none") {
            try await register.note(issued("03"), of: authority, for: nodeA)
        }
        try await deploy()
        try await register.note(issued("03"), of: authority, for: nodeA)
        #expect(try await certificates().accepts("03"))
        #expect(try await certificates().shutOut == nil)
    }

    @Test func aRevokedCertificateRenewsNothingAndIsNotListedAgain() async throws {
        try await register.note(issued("01"), of: authority, for: nodeA)
        try await register.revokeAll(of: nodeA, by: "conductor", reason: "deployed anew")
        await #expect(throws: CertificateRefusal.revoked) {
            try await register.note(issued("02"), of: authority, for: nodeA, presented: "01")
        }
        let old = NodeCertificates.Issued(
            serial: "01", authority: authority, at: clock.now, notAfter: clock.now.advanced(by: .seconds(60)))
        await #expect(throws: CertificateRefusal.revoked) {
            try await register.noteHeld(old, by: nodeA, known: nil)
        }
        #expect(try await !certificates().accepts("01"))
    }

    @Test func theListsEndWithTheLivesOfTheirCertificates() async throws {
        for number in 0..<NodeCertificates.issuedCountMax {
            try await register.note(issued("\(number)"), of: authority, for: nodeA)
        }
        await #expect(throws: CertificateRefusal.tooMany) {
            try await register.note(issued("more"), of: authority, for: nodeA)
        }
        try await register.revokeAll(of: nodeA, by: "operator:admin", reason: "stolen")
        try await deploy()
        try await register.note(issued("new"), of: authority, for: nodeA)
        clock.advance(by: .seconds(7 * 86_400) + NodeCertificates.grace)
        try await register.prune { _ in true }
        #expect(try await certificates().spec.revoked.count == NodeCertificates.revokedCountMax)
        clock.advance(by: .seconds(1))
        try await register.prune { _ in true }
        let pruned = try await certificates()
        #expect(pruned.spec.revoked.isEmpty)
        #expect(pruned.status.issued.isEmpty)
        #expect(!pruned.accepts("1"), "what is on no list any more stays refused, also by a clock that runs behind")
        try await register.prune { $0 != nodeA }
        #expect(try await store.fetch(NodeCertificates.self, nodeA.raw) == nil)
    }

    @Test func ofManyAtOnceEachIsListed() async throws {
        let register = register
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<8 {
                let certificate = issued("\(number)")
                group.addTask { try await register.note(certificate, of: authority, for: nodeA) }
            }
            try await group.waitForAll()
        }
        #expect(Set(try await certificates().status.issued.map(\.serial)) == Set((0..<8).map { "\($0)" }))
    }

    @Test func aDeploymentBeginsWithNothingThatIsGood() async throws {
        try await register.note(issued("01"), of: authority, for: nodeA)
        try await deploy()
        #expect(try await !certificates().accepts("01"))
        #expect(try await certificates().status.trusted == [authority])
        for serial in ["02", "03"] { try await register.note(issued(serial), of: authority, for: nodeA) }
        #expect(try await certificates().accepts("02"), "its answer may have been lost")
        clock.advance(by: EnrolmentTokens.lifetime)
        await #expect(throws: CertificateRefusal.revoked) {
            try await register.note(issued("04"), of: authority, for: nodeA)
        }
        try await register.note(issued("04"), of: authority, for: nodeA, presented: "03")
    }
}
