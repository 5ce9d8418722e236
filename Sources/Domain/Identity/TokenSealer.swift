import Crypto
import FoundationEssentials
import Primitives

/// Makes and opens identity tokens, or receipts; what one says is inside it, so there is no table of tokens.
///
/// A token is `mst_` (a receipt `msr_`) and base64 for URLs of: version (1 byte), the key's name (4), nonce (12), the payload sealed with
/// AES-256-GCM (NIST SP 800-38D), tag (16). Version, name and purpose are authenticated too. It opens with a key that is in the
/// ring; whether it is still good (expiry, revocations) is for the caller to say.
public struct TokenSealer: Sendable {
    /// What is sealed; one is never taken for the other.
    public enum Purpose: String, Sendable, Hashable {
        /// A token: it is all that a request needs.
        case token
        /// A receipt for some of the methods that a user needs; it is good for the rest of the login and nothing else.
        case receipt

        /// What each begins with, so that scanners for leaked secrets know it.
        public var prefix: String {
            switch self {
            case .token: "mst_"
            case .receipt: "msr_"
            }
        }
    }

    /// The longest token, in bytes.
    public static let sizeMax = 8 * 1024

    private static let version: UInt8 = 1
    private static let headerSize = 5
    private static let nonceSize = 12
    private static let tagSize = 16

    private let keys: [(id: UInt32, key: SymmetricKey)]
    private let prefix: String
    private let context: [UInt8]

    /// Seals with the first key of `ring` and opens with all.
    public init(ring: TokenKeyRing, purpose: Purpose = .token) {
        keys = ring.keys.map { ($0.id, SymmetricKey(data: $0.bytes)) }
        prefix = purpose.prefix
        context = Array("muster/identity-\(purpose.rawValue)".utf8)
    }

    /// The names of the keys, the one that seals first.
    public var keyIDs: [String] { keys.map { TokenKeyRing.name($0.id) } }

    /// The token that says `payload`; throws `TokenError.tooLarge` when it would be longer than `sizeMax`.
    public func seal(_ payload: TokenPayload, random: RandomBytes) throws(TokenError) -> String {
        let (id, key) = keys[0]
        let header = [Self.version] + (0..<4).map { UInt8(truncatingIfNeeded: id >> UInt32(24 - 8 * $0)) }
        let plain = payload.encoded
        let size = (Self.headerSize + Self.nonceSize + plain.count + Self.tagSize) * 4 / 3 + 1 + prefix.utf8.count
        guard size <= Self.sizeMax else { throw .tooLarge }
        let nonce = random(Self.nonceSize)
        let box: AES.GCM.SealedBox
        do {
            box = try AES.GCM.seal(
                plain, using: key, nonce: AES.GCM.Nonce(data: nonce), authenticating: context + header)
        } catch {
            // Neither key, nonce nor text can have a size that the cipher refuses.
            throw .tooLarge
        }
        return prefix + Base64.urlSafe.encode(header + nonce + box.ciphertext + box.tag)
    }

    /// What `token` says; throws why it is none of this ring's.
    public func open(_ token: String) throws(TokenError) -> TokenPayload {
        guard token.utf8.count <= Self.sizeMax else { throw .tooLarge }
        // An array first: a part of a string is copied byte by byte.
        let text = Array(token.utf8)
        guard text.starts(with: prefix.utf8),
            let bytes = Base64.urlSafe.decode(text.dropFirst(prefix.utf8.count)), let version = bytes.first
        else { throw .notAToken }
        guard version == Self.version else { throw .unknownVersion(version) }
        guard bytes.count > Self.headerSize + Self.nonceSize + Self.tagSize else { throw .notAToken }
        let header = bytes[..<Self.headerSize]
        let id = header.dropFirst().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        guard let key = keys.first(where: { $0.id == id })?.key else { throw .unknownKey(TokenKeyRing.name(id)) }
        let plain: Data
        do {
            let box = try AES.GCM.SealedBox(combined: bytes[Self.headerSize...])
            plain = try AES.GCM.open(box, using: key, authenticating: context + header)
        } catch {
            throw .forged
        }
        guard let payload = TokenPayload(decoding: Array(plain)) else { throw .forged }
        return payload
    }
}

/// Why a text is not a token that can be opened.
public enum TokenError: UserFacingError, Hashable {
    /// It has not the form of a token, or was cut.
    case notAToken
    /// It was made by a version that this one does not know.
    case unknownVersion(UInt8)
    /// It was sealed with a key that is not in the ring: a retired one, or another installation's.
    case unknownKey(String)
    /// It was changed after it was sealed, or nobody sealed it.
    case forged
    /// It is, or would be, longer than `TokenSealer.sizeMax`.
    case tooLarge

    /// The same for every token that does not open.
    public var publicMessage: String {
        switch self {
        case .tooLarge: "The token is longer than \(TokenSealer.sizeMax) bytes."
        case .notAToken, .unknownVersion, .unknownKey, .forged: "The token is not valid; get a new one."
        }
    }

    public var diagnostic: String {
        switch self {
        case .notAToken: "The token has not the form of one."
        case .unknownVersion(let version): "The token has the version \(version), which is not known."
        case .unknownKey(let id): "The token is sealed with key \(id), which is not in the ring."
        case .forged: "The token's seal does not hold: it was changed or forged."
        case .tooLarge: publicMessage
        }
    }
}
