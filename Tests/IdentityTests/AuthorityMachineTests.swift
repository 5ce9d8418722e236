import AgentProtocol
import CatalogIdentity
import Identity
import Primitives
import TestSupport
import Testing

@Suite struct AuthorityMachineTests {
    private static let day: Duration = .seconds(86_400)
    private let begun = Timestamp(millisecondsSinceEpoch: 1_800_000_000_000)
    private let old = Digest(bytes: [UInt8](repeating: 1, count: 32))
    private let new = Digest(bytes: [UInt8](repeating: 2, count: 32))

    private func authority(_ number: Int) -> SiteAuthority.Authority {
        SiteAuthority.Authority(
            number: number, fingerprint: number == 1 ? old : new, certificatePEM: "", notAfter: begun)
    }

    private var introducing: SiteAuthority.State {
        .introducing(newer: authority(2), older: authority(1), cross: "")
    }

    private func site(_ state: SiteAuthority.State, _ rotation: SiteAuthority.Rotation?) -> SiteAuthority {
        var site = SiteAuthority(created: begun, first: authority(1))
        site.spec.rotation = rotation
        site.status = SiteAuthority.Status(state: state, since: begun)
        return site
    }

    private var order: SiteAuthority.Rotation { SiteAuthority.Rotation(number: 2, by: "admin", at: begun) }

    /// A node that is enrolled with a certificate of `authority` that has `days` to live, and has told to trust this.
    private func node(
        _ authority: Digest, trusts: [Digest]?, days: Int = 7, _ change: (inout NodeCertificates) -> Void = { _ in }
    ) -> AuthorityDependents.Facts {
        var certificates = NodeCertificates(node: nodeA.raw, created: begun)
        certificates.add(
            NodeCertificates.Issued(
                serial: "01", authority: authority, at: begun, notAfter: begun.advanced(by: Self.day * days)))
        certificates.status.trusted = trusts
        change(&certificates)
        return AuthorityDependents.Facts(
            node: nodeA, isEnrolled: true, certificates: certificates, ramdiskSince: nil)
    }

    private func reasons(
        _ facts: AuthorityDependents.Facts, after days: Int = 0
    ) -> Set<AuthorityDependents.Reason> {
        let now = begun.advanced(by: Self.day * days + .seconds(1))
        return AuthorityDependents(of: introducing, since: begun, [facts], now: now).dependents.first?.reasons ?? []
    }

    @Test func eachStateGoesToTheNextOnceNothingHangsOnIt() {
        let trusting = AuthorityDependents([.init(node: nodeA, reasons: [.holdsOlderCertificate], until: nil)])
        let stranger = AuthorityDependents([.init(node: nodeA, reasons: [.trustsOlderOnly], until: nil)])
        let booted = AuthorityDependents([.init(node: nodeA, reasons: [.bootedBefore], until: nil)])
        let none = AuthorityDependents()
        let replacing = SiteAuthority.State.replacing(newer: authority(2), older: authority(1))
        let steps: [(SiteAuthority.State, SiteAuthority.Rotation?, AuthorityDependents, AuthorityMachine.Step)] = [
            (.steady(authority(1)), nil, none, .rest),
            (.steady(authority(1)), order, stranger, .introduce(number: 2)),
            (.steady(authority(2)), order, none, .rest),
            (introducing, order, stranger, .rest), (introducing, order, booted, .rest),
            (introducing, order, trusting, .serve), (introducing, order, none, .serve),
            (replacing, order, trusting, .rest), (replacing, order, stranger, .rest), (replacing, order, none, .drop),
        ]
        for (state, rotation, hanging, step) in steps {
            #expect(AuthorityMachine.next(site(state, rotation), hanging: hanging) == step, "\(state)")
        }
        for (state, forced) in [(introducing, SiteAuthority.Step.serve), (replacing, .drop)] {
            var hurried = order
            hurried.forced = [forced]
            #expect(AuthorityMachine.next(site(state, hurried), hanging: stranger) != .rest)
            hurried.forced = [forced == .serve ? .drop : .serve]
            #expect(AuthorityMachine.next(site(state, hurried), hanging: stranger) == .rest, "each is forced alone")
        }
    }

    @Test func aNodeHangsOnTheOlderAuthorityUntilItsCertificateEnds() {
        let off = node(old, trusts: nil)
        #expect(reasons(off) == [.trustsOlderOnly, .holdsOlderCertificate])
        #expect(reasons(off, after: 6) == [.trustsOlderOnly, .holdsOlderCertificate])
        #expect(reasons(off, after: 7).isEmpty, "it needs a deployment by then, with or without a rotation")
        #expect(reasons(node(old, trusts: [new, old])) == [.holdsOlderCertificate])
        #expect(reasons(node(new, trusts: [new, old])).isEmpty)
        #expect(reasons(node(new, trusts: [old])) == [.trustsOlderOnly])
        let revoked = node(old, trusts: nil) { $0.revokeAll(at: begun, by: "admin", reason: "stolen") }
        #expect(reasons(revoked).isEmpty, "what was revoked opens nothing")
        let renewed = node(old, trusts: [new]) { certificates in
            certificates.add(
                NodeCertificates.Issued(
                    serial: "02", authority: new, at: begun, notAfter: begun.advanced(by: Self.day)))
            certificates.status.held = "01"
        }
        #expect(reasons(renewed) == [.holdsOlderCertificate], "the answer with the new one may be lost")
    }

    @Test func aNodeOfTheTimeBeforeTheListHangsForOneLife() {
        let unlisted = AuthorityDependents.Facts(
            node: nodeA, isEnrolled: true, certificates: nil, ramdiskSince: nil)
        #expect(reasons(unlisted, after: 6) == [.trustsOlderOnly, .holdsOlderCertificate])
        #expect(reasons(unlisted, after: 7).isEmpty)
        let never = AuthorityDependents.Facts(node: nodeA, isEnrolled: false, certificates: nil, ramdiskSince: nil)
        #expect(reasons(never).isEmpty)
    }

    @Test func ramdisksAndDeploymentsOfBeforeAreWaitedFor() {
        func ramdisk(_ seconds: Int) -> AuthorityDependents.Facts {
            AuthorityDependents.Facts(
                node: nodeA, isEnrolled: false, certificates: nil, ramdiskSince: begun.advanced(by: .seconds(seconds)))
        }
        #expect(reasons(ramdisk(-3600)) == [.bootedBefore])
        #expect(reasons(ramdisk(899)) == [.bootedBefore], "its boot script may be of before")
        #expect(reasons(ramdisk(900)).isEmpty)
        func deployment(_ trusted: [Digest]) -> AuthorityDependents.Facts {
            node(old, trusts: nil) { certificates in
                certificates.revokeAll(at: begun, by: "conductor", reason: "deployed anew")
                certificates.status.trusted = trusted
                certificates.status.enrolsUntil = begun.advanced(by: .seconds(3600))
            }
        }
        #expect(reasons(deployment([old])) == [.trustsOlderOnly])
        #expect(reasons(deployment([new, old])).isEmpty)
        #expect(reasons(deployment([old]), after: 1).isEmpty, "its token has ended")
    }
}
