import FoundationEssentials
import Primitives

/// A signed token in JWS's compact form (RFC 7515 section 7.1), taken apart and not believed yet.
///
/// The rules of RFC 8725: only these algorithms, all of them with public keys; nothing of the header names a key's place;
/// a header that asks for what is not known is refused.
struct SignedToken: Sendable {
    /// The most characters; it comes in a header.
    static let sizeMax = 16 * 1024

    /// The algorithms that are taken (RFC 7518 section 3.1, RFC 8037).
    enum Algorithm: String, Sendable, CaseIterable {
        case rs256 = "RS256"
        case ps256 = "PS256"
        case es256 = "ES256"
        case eddsa = "EdDSA"
    }

    /// What its header says.
    let algorithm: Algorithm
    /// Which key has signed it, as the header says.
    let keyID: String?
    /// What was signed.
    let signed: [UInt8]
    /// The signature.
    let signature: [UInt8]
    /// What it says.
    let payload: [UInt8]

    /// Takes `text` apart; throws `FederationError.refused`.
    init(_ text: String) throws(FederationError) {
        guard text.utf8.count <= Self.sizeMax else { throw .refused("it is longer than \(Self.sizeMax) characters") }
        let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Base64.urlSafe.decode(parts[0]),
            let payload = Base64.urlSafe.decode(parts[1]), let signature = Base64.urlSafe.decode(parts[2])
        else { throw .refused("it is no signed JSON Web Token; send the provider's access token or ID token") }
        guard let members = Self.object(header) else { throw .refused("its header is no JSON object") }
        guard let name = members["alg"]?.string, let algorithm = Algorithm(rawValue: name) else {
            let known = Algorithm.allCases.map(\.rawValue).joined(separator: ", ")
            throw .refused("its algorithm is none of \(known)")
        }
        guard members["crit"] == nil else { throw .refused("its header has 'crit'") }
        if let type = members["typ"] {
            // Tokens for something else, such as for a log-out, have types of their own (RFC 8725 section 3.11).
            guard let type = type.string, ["jwt", "at+jwt", "application/at+jwt"].contains(type.lowercased()) else {
                throw .refused("its type is neither JWT nor at+jwt")
            }
        }
        self.algorithm = algorithm
        keyID = members["kid"]?.string
        signed = Array(parts[0]) + [UInt8(ascii: ".")] + Array(parts[1])
        self.signature = signature
        self.payload = payload
    }

    /// What it says, as an object; nil: it is none.
    var claims: [String: JSONValue]? { Self.object(payload) }

    private static func object(_ bytes: [UInt8]) -> [String: JSONValue]? {
        (try? JSONDecoder().decode(JSONValue.self, from: Data(bytes)))?.object
    }
}
