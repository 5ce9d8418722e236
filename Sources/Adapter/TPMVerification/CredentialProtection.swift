import Crypto
import CryptoExtras
import FoundationEssentials
import Primitives
import TPM
import WireCoding

/// Makes a secret that only one TPM can open (TPM 2.0 Part 1, "Credential Protection"; TPM2_MakeCredential in software).
///
/// Every primitive is swift-crypto's; only their order and the two key derivations of the specification stand here.
/// RSA endorsement keys cannot be used: OAEP with the label that TPMs ask for is not in swift-crypto.
enum CredentialProtection {
    /// `secret` for the TPM that holds `endorsementKey`, opened only together with the key named `name`.
    ///
    /// - Parameter ephemeral: the private key of the exchange, for tests; nil: a new one.
    /// Throws `AttestationRefusal.badKey` for a key that is not on its curve.
    static func protect(
        _ secret: [UInt8], for endorsementKey: TPMPublic, name: [UInt8], ephemeral: Data? = nil
    ) throws(AttestationRefusal) -> ProtectedCredential {
        do {
            switch endorsementKey.curve {
            case .p256:
                let own = try ephemeral.map { try P256.KeyAgreement.PrivateKey(rawRepresentation: $0) } ?? .init()
                let theirs = try P256.KeyAgreement.PublicKey(x963Representation: endorsementKey.point)
                let shared = try own.sharedSecretFromKeyAgreement(with: theirs)
                return try seal(
                    secret, Exchange(shared, own.publicKey.x963Representation, endorsementKey), name, SHA256.self)
            case .p384:
                let own = try ephemeral.map { try P384.KeyAgreement.PrivateKey(rawRepresentation: $0) } ?? .init()
                let theirs = try P384.KeyAgreement.PublicKey(x963Representation: endorsementKey.point)
                let shared = try own.sharedSecretFromKeyAgreement(with: theirs)
                return try seal(
                    secret, Exchange(shared, own.publicKey.x963Representation, endorsementKey), name, SHA384.self)
            }
        } catch {
            throw .badKey("\(error)")
        }
    }

    /// What both sides know after the key exchange.
    private struct Exchange {
        let shared: [UInt8]
        let ownX: [UInt8]
        let ownY: [UInt8]
        let theirX: [UInt8]
        let keyBits: Int

        init(_ shared: SharedSecret, _ point: Data, _ key: TPMPublic) {
            self.shared = shared.withUnsafeBytes { Array($0) }
            let length = key.curve.coordinateLength
            ownX = Array(point.dropFirst().prefix(length))
            ownY = Array(point.suffix(length))
            theirX = TPMPublic.padded(key.x, key.curve)
            keyBits = Int(key.aesBits ?? 128)
        }
    }

    private static func seal<Hash: HashFunction>(
        _ secret: [UInt8], _ exchange: Exchange, _ name: [UInt8], _ hash: Hash.Type
    ) throws -> ProtectedCredential {
        let seed = agreed(hash, exchange.shared, "IDENTITY", exchange.ownX, exchange.theirX)
        let key = derived(hash, seed, "STORAGE", name, bits: exchange.keyBits)
        var plain = ByteWriter(limit: 128)
        try plain.writeUInt16(UInt16(secret.count))
        try plain.write(secret)
        let zeros = try AES._CFB.IV(ivBytes: [UInt8](repeating: 0, count: 16))
        let encrypted = Array(try AES._CFB.encrypt(plain.bytes, using: SymmetricKey(data: key), iv: zeros))
        let macKey = derived(hash, seed, "INTEGRITY", [], bits: Hash.Digest.byteCount * 8)
        let mac = Array(HMAC<Hash>.authenticationCode(for: encrypted + name, using: SymmetricKey(data: macKey)))
        var blob = ByteWriter(limit: 512)
        try blob.writeUInt16(UInt16(mac.count))
        try blob.write(mac)
        try blob.write(encrypted)
        var point = ByteWriter(limit: 512)
        for coordinate in [exchange.ownX, exchange.ownY] {
            try point.writeUInt16(UInt16(coordinate.count))
            try point.write(coordinate)
        }
        return ProtectedCredential(blob: blob.bytes, secret: point.bytes)
    }

    /// KDFe (Part 1, "KDFe for ECDH") for as many bits as the hash gives.
    private static func agreed<Hash: HashFunction>(
        _ hash: Hash.Type, _ shared: [UInt8], _ use: String, _ partyU: [UInt8], _ partyV: [UInt8]
    ) -> [UInt8] {
        var state = Hash()
        state.update(data: [0, 0, 0, 1] + shared + Array(use.utf8) + [0] + partyU + partyV)
        return Array(state.finalize())
    }

    /// KDFa (Part 1, "KDFa()") for at most as many bits as the hash gives: one round is enough.
    private static func derived<Hash: HashFunction>(
        _ hash: Hash.Type, _ seed: [UInt8], _ label: String, _ context: [UInt8], bits: Int
    ) -> [UInt8] {
        let count = withUnsafeBytes(of: UInt32(bits).bigEndian) { Array($0) }
        let message = [0, 0, 0, 1] + Array(label.utf8) + [0] + context + count
        let whole = HMAC<Hash>.authenticationCode(for: message, using: SymmetricKey(data: seed))
        return Array(Array(whole).prefix(bits / 8))
    }
}
