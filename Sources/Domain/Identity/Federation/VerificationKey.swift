import Crypto
import CryptoExtras
import FoundationEssentials
import Primitives

/// A public key of an identity provider (JWK, RFC 7517) for the signatures of its tokens.
struct VerificationKey: Sendable {
    private enum Material: Sendable {
        case rsa(_RSA.Signing.PublicKey)
        case p256(P256.Signing.PublicKey)
        case ed25519(Curve25519.Signing.PublicKey)
    }

    /// Bytes of an RSA modulus: below are keys too weak, above those that cost too much to try.
    private static let modulusSizes = 256...1024

    /// Its name at the provider.
    let id: String?
    private let material: Material
    /// The one algorithm that it is for; nil: any that its type has.
    private let algorithm: SignedToken.Algorithm?

    /// The key that `jwk` describes; nil: it is none for signatures, or of a sort that is not taken.
    init?(_ jwk: JSONValue) {
        guard jwk["use"].map({ $0 == "sig" }) ?? true,
            jwk["key_ops"].map({ $0.array?.contains("verify") == true }) ?? true,
            let material = Self.material(jwk)
        else { return nil }
        if let name = jwk["alg"] {
            guard let algorithm = name.string.flatMap(SignedToken.Algorithm.init) else { return nil }
            self.algorithm = algorithm
        } else {
            algorithm = nil
        }
        id = jwk["kid"]?.string
        self.material = material
    }

    private static func material(_ jwk: JSONValue) -> Material? {
        func bytes(_ name: String) -> [UInt8]? { jwk[name]?.string.flatMap { Base64.urlSafe.decode($0.utf8) } }
        switch (jwk["kty"], jwk["crv"]) {
        case ("RSA", nil):
            guard let modulus = bytes("n").map({ Array($0.drop { $0 == 0 }) }), let exponent = bytes("e"),
                modulusSizes.contains(modulus.count), (1...4).contains(exponent.count),
                let key = try? _RSA.Signing.PublicKey(n: modulus, e: exponent)
            else { return nil }
            return .rsa(key)
        case ("EC", "P-256"):
            guard let x = bytes("x"), let y = bytes("y"), x.count == 32, y.count == 32,
                let key = try? P256.Signing.PublicKey(rawRepresentation: x + y)
            else { return nil }
            return .p256(key)
        case ("OKP", "Ed25519"):
            guard let x = bytes("x"), let key = try? Curve25519.Signing.PublicKey(rawRepresentation: x) else {
                return nil
            }
            return .ed25519(key)
        default: return nil
        }
    }

    /// Whether it may have signed a token with such a header.
    func fits(_ token: SignedToken) -> Bool {
        guard token.keyID == nil || token.keyID == id, algorithm == nil || algorithm == token.algorithm else {
            return false
        }
        return switch (material, token.algorithm) {
        case (.rsa, .rs256), (.rsa, .ps256), (.p256, .es256), (.ed25519, .eddsa): true
        default: false
        }
    }

    /// Whether it has signed the token.
    func verifies(_ token: SignedToken) -> Bool {
        switch (material, token.algorithm) {
        case (.rsa(let key), .rs256): Self.verifies(token, key, .insecurePKCS1v1_5)
        case (.rsa(let key), .ps256): Self.verifies(token, key, .PSS)
        case (.p256(let key), .es256):
            (try? P256.Signing.ECDSASignature(rawRepresentation: token.signature)).map {
                key.isValidSignature($0, for: token.signed)
            } ?? false
        case (.ed25519(let key), .eddsa): key.isValidSignature(token.signature, for: token.signed)
        default: false
        }
    }

    private static func verifies(
        _ token: SignedToken, _ key: _RSA.Signing.PublicKey, _ padding: _RSA.Signing.Padding
    ) -> Bool {
        key.isValidSignature(
            _RSA.Signing.RSASignature(rawRepresentation: token.signature), for: SHA256.hash(data: token.signed),
            padding: padding)
    }
}
