import CatalogIdentity
import Identity
import Logging
import NIOSSL
import Primitives
import Synchronization
import TestSupport
import Testing

@testable import ConductorServer

@Suite struct ServerCertificateTests {
    /// The machine's addresses, as they are at the moment.
    private final class Addresses: Sendable {
        let list = Mutex([IPv4Address(0x7F00_0001)])
    }

    private let clock = ManualWallClock()
    private let addresses = Addresses()

    private func certificate() throws -> ServerCertificate {
        let addresses = addresses
        return try ServerCertificate(
            authorities: SiteAuthorities(try .only(CertificateAuthority.makeRoot(name: "site", clock: clock))),
            names: ["conductor.site"],
            addresses: { addresses.list.withLock { $0 } }, clock: clock, logger: Logger(label: "test"))
    }

    @Test func `it is issued anew long before it ends, and not before`() throws {
        let certificate = try certificate()
        let first = certificate.context
        clock.advance(by: .seconds(29 * 86_400))
        try certificate.renewIfDue()
        #expect(certificate.context === first)
        clock.advance(by: .seconds(2 * 86_400))
        try certificate.renewIfDue()
        #expect(certificate.context !== first)
    }

    @Test func `other authorities that come into force are followed at once`() throws {
        let (old, new) = (
            try CertificateAuthority.makeRoot(name: "site", clock: clock),
            try CertificateAuthority.makeRoot(name: "site 2", clock: clock)
        )
        let authorities = SiteAuthorities(try .only(old))
        let certificate = try ServerCertificate(
            authorities: authorities, names: [], addresses: { [IPv4Address(0x7F00_0001)] }, clock: clock,
            logger: Logger(label: "test"))
        let records = (SiteAuthority.Authority(new, number: 2), SiteAuthority.Authority(old, number: 1))
        let states: [SiteAuthority.State] = [
            .introducing(newer: records.0, older: records.1, cross: try new.crossCertificate(of: old)),
            .replacing(newer: records.0, older: records.1), .steady(records.0),
        ]
        for state in states {
            let before = certificate.context
            authorities.replace(AuthoritySet(state: state, newest: new, older: state.older == nil ? nil : old))
            try certificate.renewIfDue()
            #expect(certificate.context !== before)
            let now = certificate.context
            try certificate.renewIfDue()
            #expect(certificate.context === now, "once")
        }
    }

    @Test func `an address that the machine gets is in it`() throws {
        let certificate = try certificate()
        let first = certificate.context
        addresses.list.withLock { $0.append(IPv4Address(0x0A4D_0001)) }
        try certificate.renewIfDue()
        let second = certificate.context
        #expect(second !== first)
        try certificate.renewIfDue()
        #expect(certificate.context === second)
    }
}

extension AuthoritySet {
    /// The set of a site that has one authority.
    static func only(_ authority: CertificateAuthority) throws -> AuthoritySet {
        AuthoritySet(state: .steady(SiteAuthority.Authority(authority, number: 1)), newest: authority, older: nil)
    }
}
