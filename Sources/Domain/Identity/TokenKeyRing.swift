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
        /// When it was made; nil: nobody has written it down.
        let made: Timestamp?

        init(bytes: [UInt8], made: Timestamp?) {
            self.bytes = bytes
            self.made = made
            id = SHA256.hash(data: bytes).prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
        }
    }

    /// The keys, newest first; at least one.
    let keys: [Key]

    /// How far a clock may be set back without any loss of tokens: older keys stay this much longer.
    static let clockSlack: Duration = .seconds(3600)

    /// A ring with one new key, made at `time`.
    public init(random: RandomBytes, at time: Timestamp) { keys = [Key(bytes: random(Key.size), made: time)] }

    private init(keys: [Key]) { self.keys = keys }

    /// The names of the keys, newest first, as tokens and logs have them: 8 hexadecimal digits each.
    public var keyIDs: [String] { keys.map { Self.name($0.id) } }

    /// The ring that is right at `time`: with a new key when the newest one is `age` old, and without those that no
    /// token of `lifetime` can be sealed with any more.
    ///
    /// A key seals until the next one is made, so it goes `lifetime` and an hour after that. Keys from the future, of a
    /// clock that was wrong, are replaced as well. Rotate before 2³² tokens were sealed with one key (NIST SP 800-38D
    /// section 8.3).
    public func turned(at time: Timestamp, age: Duration, lifetime: Duration, random: RandomBytes) -> TokenKeyRing {
        var next = keys
        let isDue = keys[0].made.map {
            $0.advanced(by: age) <= time || time.advanced(by: Self.clockSlack) < $0
        }
        if isDue ?? true {
            var new = Key(bytes: random(Key.size), made: time)
            while keys.contains(where: { $0.id == new.id }) { new = Key(bytes: random(Key.size), made: time) }
            next.insert(new, at: 0)
        }
        let end = next.indices.dropFirst().first { index in
            next[index - 1].made.map { $0.advanced(by: lifetime).advanced(by: Self.clockSlack) <= time } ?? false
        }
        return TokenKeyRing(keys: Array(next.prefix(min(end ?? next.count, Self.countMax))))
    }

    static func name(_ id: UInt32) -> String {
        Hex.encode((0..<4).map { UInt8(truncatingIfNeeded: id >> UInt32(24 - 8 * $0)) })
    }
}

extension TokenKeyRing: Codable {
    private enum CodingKeys: String, CodingKey {
        case keys, made
    }

    /// Reads `{"keys": [64 hexadecimal digits, …], "made": [milliseconds since 1970, …]}`, newest first; the times may be
    /// missing.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let texts = try container.decode([String].self, forKey: .keys)
        let times = try container.decodeIfPresent([Timestamp?].self, forKey: .made) ?? texts.map { _ in nil }
        let keys = zip(texts, times).compactMap { text, time in
            Hex.decode(text).flatMap { $0.count == Key.size ? Key(bytes: $0, made: time) : nil }
        }
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
        try container.encode(keys.map(\.made), forKey: .made)
    }
}

extension TokenKeyRing: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "<token keys \(keyIDs.joined(separator: ", "))>" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["keyIDs": keyIDs]) }
}
