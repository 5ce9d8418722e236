import Crypto
import Primitives

/// The keys that identity tokens are sealed with: the first one seals, all of them open.
///
/// Its JSON form holds the keys in the clear and belongs into the vault; descriptions show the names only.
public struct TokenKeyRing: Sendable, Hashable {
    /// The most keys of a ring.
    public static let countMax = 16

    /// One AES-256 key and its name.
    struct Key: Sendable, Hashable {
        static let size = 32
        /// The first 32 bits of the key's SHA-256 digest; a token says with it which key opens it.
        let id: UInt32
        let bytes: [UInt8]

        init(bytes: [UInt8]) {
            self.bytes = bytes
            id = SHA256.hash(data: bytes).prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
        }
    }

    /// The keys, newest first; at least one.
    let keys: [Key]

    /// A ring with one new key.
    public init(random: RandomBytes) { keys = [Key(bytes: random(Key.size))] }

    private init(keys: [Key]) { self.keys = keys }

    /// The names of the keys, newest first, as tokens and logs have them: 8 hexadecimal digits each.
    public var keyIDs: [String] { keys.map { Self.name($0.id) } }

    /// A ring with a new key that seals from now on, and the newest of these keys to open older tokens: `keep` of them,
    /// at most `countMax` - 1.
    ///
    /// A token opens as long as its key is in the ring: with one rotation a day and tokens of an hour, `keep` 1 is
    /// enough. Rotate before 2³² tokens were sealed with one key (NIST SP 800-38D section 8.3).
    public func rotate(random: RandomBytes, keep: Int) -> TokenKeyRing {
        var new = Key(bytes: random(Key.size))
        while keys.contains(where: { $0.id == new.id }) { new = Key(bytes: random(Key.size)) }
        return TokenKeyRing(keys: [new] + keys.prefix(min(max(0, keep), Self.countMax - 1)))
    }

    static func name(_ id: UInt32) -> String {
        Hex.encode((0..<4).map { UInt8(truncatingIfNeeded: id >> UInt32(24 - 8 * $0)) })
    }
}

extension TokenKeyRing: Codable {
    private enum CodingKeys: String, CodingKey {
        case keys
    }

    /// Reads `{"keys": [64 hexadecimal digits, …]}`, newest first.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let texts = try container.decode([String].self, forKey: .keys)
        let keys = texts.compactMap { Hex.decode($0) }.filter { $0.count == Key.size }.map(Key.init)
        guard (1...Self.countMax).contains(texts.count), keys.count == texts.count,
            Set(keys.map(\.id)).count == keys.count
        else {
            throw DecodingError.dataCorruptedError(
                forKey: .keys, in: container,
                debugDescription: "expected 1 to \(Self.countMax) different keys of 64 hexadecimal digits")
        }
        self.keys = keys
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(keys.map { Hex.encode($0.bytes) }, forKey: .keys)
    }
}

extension TokenKeyRing: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "<token keys \(keyIDs.joined(separator: ", "))>" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["keyIDs": keyIDs]) }
}
