import Crypto
import CryptoExtras
import Foundation
import Identity
import Primitives
import Synchronization

/// An identity provider in memory: publishes keys, signs tokens, and counts who asks.
final class TestIssuer: IssuerDocuments {
    static let url = "https://sso.example/realms/staff"
    static let keysURL = "https://keys.example/staff.json"

    /// A key with its name at the provider.
    struct Key: Sendable {
        enum Material: Sendable {
            case rsa(_RSA.Signing.PrivateKey, isPSS: Bool = false)
            case p256(P256.Signing.PrivateKey)
        }
        let id: String
        let material: Material

        /// As it is published.
        var published: JSONValue {
            func text(_ bytes: some Sequence<UInt8>) -> JSONValue { .string(Base64.urlSafe.encode(bytes)) }
            switch material {
            case .rsa(let key, _):
                guard let numbers = try? key.publicKey.getKeyPrimitives() else { return .null }
                return [
                    "kid": .string(id), "kty": "RSA", "use": "sig", "n": text(numbers.modulus),
                    "e": text(numbers.publicExponent),
                ]
            case .p256(let key):
                let point = key.publicKey.rawRepresentation
                return [
                    "kid": .string(id), "kty": "EC", "crv": "P-256", "x": text(point.prefix(32)),
                    "y": text(point.suffix(32)),
                ]
            }
        }

        /// The signature of `text`, and the algorithm's name.
        func sign(_ text: String) throws -> (algorithm: String, signature: [UInt8]) {
            switch material {
            case .rsa(let key, let isPSS):
                let signature = try key.signature(
                    for: SHA256.hash(data: Data(text.utf8)), padding: isPSS ? .PSS : .insecurePKCS1v1_5)
                return (isPSS ? "PS256" : "RS256", Array(signature.rawRepresentation))
            case .p256(let key): return ("ES256", Array(try key.signature(for: Data(text.utf8)).rawRepresentation))
            }
        }
    }

    static let rsa = Result { Key(id: "rsa-1", material: .rsa(try _RSA.Signing.PrivateKey(keySize: .bits2048))) }
    static let p256 = Key(id: "ec-1", material: .p256(P256.Signing.PrivateKey()))

    private struct State {
        var keys: [Key]
        var addresses: [String] = []
        var bodies: [String: String] = [:]
        var isDown = false
        var failures: [FederationError] = []
    }
    private let state: Mutex<State>

    init() throws { state = Mutex(State(keys: [try Self.rsa.get(), Self.p256])) }

    /// What was asked for so far.
    var addresses: [String] { state.withLock { $0.addresses } }

    /// What was reported of it.
    var failures: [FederationError] { state.withLock { $0.failures } }

    func note(_ failure: FederationError) { state.withLock { $0.failures.append(failure) } }
    func publish(_ keys: [Key]) { state.withLock { $0.keys = keys } }
    func answer(_ address: String, _ body: String) { state.withLock { $0.bodies[address] = body } }
    func setDown(_ isDown: Bool) { state.withLock { $0.isDown = isDown } }

    func document(at address: String, of issuer: IssuerSettings.Issuer) async throws(IssuerFetchError) -> [UInt8] {
        let body = state.withLock { state -> [UInt8]? in
            state.addresses.append(address)
            guard !state.isDown else { return nil }
            if let body = state.bodies[address] { return Array(body.utf8) }
            switch address {
            case "\(Self.url)/.well-known/openid-configuration":
                return (["issuer": .string(Self.url), "jwks_uri": .string(Self.keysURL)] as JSONValue).text
            case Self.keysURL: return (["keys": .array(state.keys.map(\.published))] as JSONValue).text
            default: return nil
            }
        }
        guard let body else { throw IssuerFetchError("\(address) does not answer") }
        return body
    }

    /// A token of these claims; `header` adds to its header or takes the place of what is there.
    func token(_ claims: [String: JSONValue], key: Key? = nil, header: [String: JSONValue] = [:]) throws -> String {
        let key = try key ?? Self.rsa.get()
        let algorithm = try key.sign("").algorithm
        let members = ["alg": .string(algorithm), "kid": .string(key.id), "typ": "JWT"].merging(header) { $1 }
        let text = [JSONValue.object(members), .object(claims)].map { Base64.urlSafe.encode($0.text) }
            .joined(separator: ".")
        return "\(text).\(Base64.urlSafe.encode(try key.sign(text).signature))"
    }
}
