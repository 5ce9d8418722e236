import CatalogBareMetal
@testable import Fleet
import FleetContract
import Primitives
import ResourceModel
import Testing

/// What a site file says of TPMs.
@Suite struct SiteTPMTests {
    private static let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    private static let key = String(repeating: "ab", count: 32)

    private static func text(_ tpm: String) -> String { "site: { name: s }\ntpm:\n\(tpm)\n" }

    private static let whole = text(
        """
          authorities: [{ name: maker, certificateFile: maker.pem }]
          keys: [\(key.uppercased())]
          requiredPCRs: [0, 7]
        """)

    private func resolve(_ text: String, _ file: String) throws -> SiteDocument {
        try SiteFile(yaml: text).resolved(in: .init(file: { _ in file }, variable: { _ in nil }))
    }

    @Test func `authorities, keys and required PCRs are read`() throws {
        let document = try resolve(Self.whole, Self.certificate)
        #expect(document.tpmAuthorities == [.init(name: "maker", certificate: Self.certificate)])
        #expect(document.site.tpm == TPMPolicy(keys: [try Digest(hex: Self.key)], requiredPCRs: [0, 7]))
    }

    @Test(arguments: [
        ("  requiredPCRs: [8]", "tpm.requiredPCRs[0]: '8' is not one of 0 to 7"),
        ("  keys: [abc]", "64 lowercase hexadecimal digits"),
        ("  authorities: [{ name: a }]", "'certificateFile' is missing"),
        ("  authority: []", "authority"),
    ])
    func `what is wrong is told`(tpm: String, message: String) {
        let error = #expect(throws: SiteError.self) { try SiteFile(yaml: Self.text(tpm)) }
        #expect(error?.publicMessage.contains(message) == true, "\(error?.publicMessage ?? "")")
    }

    @Test func `a file that is no certificate, or holds several, is refused`() {
        for file in ["", "hello", Self.certificate + Self.certificate] {
            #expect(throws: SiteError.self) { try resolve(Self.whole, file) }
        }
    }

    @Test func `an authority is written once, kept without its file, and deleted when it is not named`() throws {
        let now = Timestamp(millisecondsSinceEpoch: 1)
        let document = try resolve(Self.whole, Self.certificate)
        let made = try SitePlan.make(desired: document, current: CurrentSite(), now: now)
        #expect(made.changes.contains { $0.kind == "TPM authority" && $0.action == .create })
        var current = CurrentSite(
            site: Stored(
                new: Site(metadata: Metadata(name: "site", schemaVersion: 1, created: now), spec: document.site)))
        var kept = document
        kept.tpmAuthorities = [.init(name: "maker", certificate: nil)]
        #expect(throws: SiteError.self) { try SitePlan.make(desired: kept, current: current, now: now) }
        current.tpmAuthorities = [
            Stored(
                new: TPMAuthority(
                    metadata: Metadata(name: "maker", schemaVersion: 1, created: now),
                    spec: TPMAuthority.Spec(certificate: Self.certificate)))
        ]
        #expect(try SitePlan.make(desired: kept, current: current, now: now).changes.isEmpty)
        kept.tpmAuthorities = nil
        let gone = try SitePlan.make(desired: kept, current: current, now: now).changes
        #expect(gone.map(\.action) == [.delete])
    }
}
