import Primitives
import Testing

@testable import Discovery

/// The authority that a boot script names, among those that the conductor hands out.
@Suite struct BootAuthorityTests {
    /// Whatever stands between the lines is taken for a certificate and judged by its digest alone.
    private static func pem(_ base64: String) -> String {
        "-----BEGIN CERTIFICATE-----\n\(base64)\n-----END CERTIFICATE-----\n"
    }

    private static let (one, two) = (pem("b25l"), pem("dHdv"))
    private static let digests = [
        one: "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed",
        two: "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3",
    ]

    @Test(arguments: [[one], [two], [one, two], [two, one], [one, one, one, two]])
    func theOneThatWasNamedIsFound(list: [String]) throws {
        for (pem, digest) in Self.digests {
            let found = Authority(list.joined(), fingerprint: try Digest(hex: digest))
            #expect(found?.pem == (list.contains(pem) ? pem : nil))
        }
    }

    @Test(arguments: [
        "", "nonsense", "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n",
        pem(""), pem("!"), one + one + one + one + two,
        String(repeating: "-----BEGIN CERTIFICATE-----\n", count: 10_000),
    ])
    func whatIsNotThereIsNotFound(text: String) throws {
        let digest = try Digest(hex: "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3")
        #expect(Authority(text, fingerprint: digest) == nil)
    }
}
