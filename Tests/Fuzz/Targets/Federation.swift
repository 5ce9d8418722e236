import FoundationEssentials
import Identity
import OpenIDIssuers
import Primitives

extension FuzzTarget {
    /// The operator's file of issuers: refused with its name, or issuers that may be asked.
    static let issuerFile = FuzzTarget("issuer-file", sizeMax: 16384) { bytes in
        do {
            let settings = try IssuerSettings(String(decoding: bytes, as: UTF8.self), path: "oidc.yaml")
            for (url, issuer) in settings.issuers {
                try require(url == issuer.url && url.hasPrefix("https://"), "'\(url)' to be an https address")
                try require(!issuer.audiences.isEmpty, "an audience of \(url)")
            }
        } catch let error as IssuerSettingsError {
            try require(error.publicMessage.contains("oidc.yaml"), "the file's name in \(error)")
        }
    }

    /// A token of a provider, and what that says of itself and its keys, as JSON: what is believed is the issuer's, for this
    /// audience and this time.
    static let providerToken = FuzzTarget("provider-token", sizeMax: 16384) { bytes in
        guard let input = try? JSONDecoder().decode(ProviderInput.self, from: Data(bytes)) else { return }
        let verifier = OpenIDVerifier(
            settings: IssuerSettings([.init(url: ProviderInput.issuer, audiences: ["muster"])]),
            documents: input, clock: FixedClock())
        guard let claims = try? await verifier.claims(of: input.token, from: [ProviderInput.issuer]) else { return }
        try require(claims["iss"]?.string == ProviderInput.issuer, "claims of the issuer")
        let audiences = claims["aud"]?.array ?? claims["aud"].map { [$0] } ?? []
        try require(audiences.contains("muster"), "claims for this audience")
        let assertion = FederationAssertion(claims: claims)
        try require(assertion.values["REMOTE_USER"] == claims["sub"]?.string.map { [$0] }, "the subject as it is")
        var other = Array(input.token.utf8)
        let place = (other.firstIndex(of: UInt8(ascii: ".")) ?? 0) + 1
        other[place] = other[place] == UInt8(ascii: "e") ? UInt8(ascii: "f") : UInt8(ascii: "e")
        let changed = String(decoding: other, as: UTF8.self)
        try require(
            (try? await verifier.claims(of: changed, from: [ProviderInput.issuer])) == nil,
            "no changed token to be taken")
    }
}

private struct ProviderInput: Decodable, IssuerDocuments {
    static let issuer = "https://sso.example"

    var token: String
    var discovery: JSONValue?
    var keys: JSONValue?

    func document(at address: String, of issuer: IssuerSettings.Issuer) async throws(IssuerFetchError) -> [UInt8] {
        address.hasSuffix("/.well-known/openid-configuration") ? (discovery ?? .null).text : (keys ?? .null).text
    }
}

/// Stands at 2026-01-01T00:00:00Z.
private struct FixedClock: WallClock {
    let now = Timestamp(millisecondsSinceEpoch: 1_767_225_600_000)
}
