import Crypto
import Primitives
import Synchronization

/// The keys that secrets' data keys are sealed with, held in a file of mode 0600.
///
/// The file has a first line `muster-master-key 1`, then one key a line as 64 hexadecimal digits; the first key is
/// the one in use, a second one is kept after a rotation.
public final class MasterKeys: Sendable {
    /// Where the keys are.
    public let path: String
    private let keys: Mutex<[MasterKey]>

    private static let header = "muster-master-key 1"

    private init(path: String, keys: [MasterKey]) {
        self.path = path
        self.keys = Mutex(keys)
    }

    /// Reads the key file; nil when there is none. Throws `PrivateFileError` when it is not private or damaged.
    public static func load(_ path: String) throws(PrivateFileError) -> MasterKeys? {
        guard let bytes = try PrivateFile.read(path) else { return nil }
        var lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")[...]
        let wrong = PrivateFileError.malformed(path, expected: "the line '\(header)' and 1 to 8 keys")
        guard lines.popFirst() == header[...], (1...8).contains(lines.count) else { throw wrong }
        let keys = lines.compactMap { Hex.decode($0) }.filter { $0.count == 32 }.map(MasterKey.init)
        guard keys.count == lines.count else { throw wrong }
        return MasterKeys(path: path, keys: keys)
    }

    /// Makes a key file with one random key; throws `PrivateFileError.exists` when there is a file.
    public static func create(_ path: String, random: RandomBytes = .system) throws(PrivateFileError) -> MasterKeys {
        let keys = [MasterKey(bytes: random(32))]
        try PrivateFile.create(path, encode(keys))
        return MasterKeys(path: path, keys: keys)
    }

    /// The key that new secrets are sealed with.
    var current: MasterKey { keys.withLock { $0[0] } }

    /// The key with the given name.
    func key(_ id: String) -> MasterKey? { keys.withLock { keys in keys.first { $0.id == id } } }

    /// The file's content, for a further conductor of the site.
    var content: SecretText { SecretText(String(decoding: keys.withLock { Self.encode($0) }, as: UTF8.self)) }

    /// Puts a new random key first and keeps the others.
    func rotate(random: RandomBytes) throws(PrivateFileError) {
        let key = MasterKey(bytes: random(32))
        try change { keys in [key] + keys }
    }

    /// Forgets all keys but the one in use and the one before it; those in `needed` are kept too.
    func retire(keeping needed: Set<String>) throws(PrivateFileError) {
        try change { keys in
            keys.enumerated().filter { $0.offset < 2 || needed.contains($0.element.id) }.map(\.element)
        }
    }

    private func change(_ change: ([MasterKey]) -> [MasterKey]) throws(PrivateFileError) {
        try keys.withLock { keys throws(PrivateFileError) in
            let next = change(keys)
            guard next.count <= 8 else {
                throw .malformed(path, expected: "at most 8 keys; let a rotation finish before the next")
            }
            try PrivateFile.replace(path, Self.encode(next))
            keys = next
        }
    }

    private static func encode(_ keys: [MasterKey]) -> [UInt8] {
        Array((([header] + keys.map { Hex.encode($0.bytes) }).joined(separator: "\n") + "\n").utf8)
    }
}

/// One master key and its name.
struct MasterKey: Sendable, CustomStringConvertible, CustomReflectable {
    /// The first 16 hexadecimal digits of the key's SHA-256 digest.
    let id: String
    fileprivate let bytes: [UInt8]

    init(bytes: [UInt8]) {
        self.bytes = bytes
        id = Hex.encode(SHA256.hash(data: bytes).prefix(8))
    }

    /// The key for the cipher.
    var symmetric: SymmetricKey { SymmetricKey(data: bytes) }

    var description: String { "<master key \(id)>" }
    var customMirror: Mirror { Mirror(self, children: ["id": id]) }
}
