import CryptoExtras
import FoundationEssentials
import Primitives

/// What a password's hash costs (RFC 7914 section 2).
public struct ScryptCost: Sendable, Hashable {
    /// The logarithm of N, which multiplies both time and memory.
    public var logN: Int
    /// The block size r.
    public var blockSize: Int
    /// The parallelism p, which multiplies the time only.
    public var parallelism: Int

    /// The cost N = 2^`logN`, r = `blockSize`, p = `parallelism`.
    public init(logN: Int, blockSize: Int, parallelism: Int) {
        self.logN = logN
        self.blockSize = blockSize
        self.parallelism = parallelism
    }

    /// The cost of new passwords: 32 MiB, and the time of bcrypt's cost 12 (0.24 s each on the machine where both were
    /// measured).
    public static let standard = ScryptCost(logN: 15, blockSize: 8, parallelism: 4)
    /// Next to nothing, for tests and simulations.
    public static let trivial = ScryptCost(logN: 4, blockSize: 1, parallelism: 1)

    /// The most memory that a hash may take.
    public static let memoryMax: ByteCount = .mebibytes(256)
    /// The most work a hash may be, in salsa20/8 blocks: 16 times the standard's.
    public static let workMax = 16 * standard.work

    /// The memory of one hash.
    public var memory: ByteCount { ByteCount(bytes: UInt64(128 * blockSize) * (UInt64(1) << UInt64(logN))) }

    var work: Int { 4 * blockSize * parallelism << logN }

    /// Whether a hash of this cost is computed at all; the bounds keep a stored hash from taking the machine down.
    var isBounded: Bool {
        guard (1...24).contains(logN), (1...32).contains(blockSize), (1...64).contains(parallelism) else {
            return false
        }
        // RFC 7914 section 2: N < 2^(128 r / 8).
        return logN < 16 * blockSize && memory <= Self.memoryMax && work <= Self.workMax
            // What BoringSSL's caller leaves for the blocks beside the table, a page, holds them.
            && (parallelism > 1 || blockSize <= 16)
    }
}

/// Hashes passwords with scrypt (RFC 7914) and checks them against their hashes.
///
/// A hash is `$scrypt$ln=15,r=8,p=4$salt$digest` with salt and digest in base64 without padding, as passlib and Keystone
/// have it, so that hashes move from and to them. A password is its UTF-8 bytes as they come, without normalisation; NUL
/// characters at its end do not count (HMAC pads keys with them, RFC 2104). The calls take as long as the cost says: make
/// them by way of `PasswordDesk`.
public struct ScryptHasher: Sendable {
    /// The longest password, in bytes of UTF-8.
    public static let passwordSizeMax = 4096
    /// The longest hash that is read, in bytes.
    public static let hashSizeMax = 512

    static let saltSize = 16
    static let digestSize = 32

    /// What new hashes cost.
    public let cost: ScryptCost

    /// A hasher whose new hashes cost `cost`.
    public init(cost: ScryptCost = .standard) { self.cost = cost }

    /// The hash of `password` with a random salt. Throws `PasswordHashError`.
    public func hash(_ password: String, random: RandomBytes) throws(PasswordHashError) -> String {
        let password = Array(password.utf8)
        guard password.count <= Self.passwordSizeMax else { throw .passwordTooLong }
        let salt = random(Self.saltSize)
        let digest = try Self.derive(password, salt: salt, size: Self.digestSize, cost)
        return ScryptHash(cost: cost, salt: salt, digest: digest).text
    }

    /// Whether `password` is the one of the hash `stored`, which may have another cost than this hasher's.
    ///
    /// A password that is too long is none. Throws `PasswordHashError.notAHash` or `.costTooHigh`.
    public func verify(_ password: String, _ stored: String) throws(PasswordHashError) -> Bool {
        guard let hash = ScryptHash(stored) else { throw .notAHash }
        let password = Array(password.utf8)
        guard password.count <= Self.passwordSizeMax else { return false }
        let digest = try Self.derive(password, salt: hash.salt, size: hash.digest.count, hash.cost)
        return ConstantTime.equal(digest, hash.digest)
    }

    /// A hash that no password has, of the same cost as real ones.
    func unmatchable(random: RandomBytes) -> String {
        ScryptHash(cost: cost, salt: random(Self.saltSize), digest: random(Self.digestSize)).text
    }

    private static func derive(
        _ password: [UInt8], salt: [UInt8], size: Int, _ cost: ScryptCost
    ) throws(PasswordHashError) -> [UInt8] {
        guard cost.isBounded else { throw .costTooHigh }
        do {
            let key = try KDF.Scrypt.deriveKey(
                from: password, salt: salt, outputByteCount: size, rounds: 1 << cost.logN, blockSize: cost.blockSize,
                parallelism: cost.parallelism)
            return key.withUnsafeBytes { Array($0) }
        } catch {
            // With bounded parameters only the memory can be missing.
            throw .outOfMemory(cost.memory)
        }
    }
}

/// A stored hash, read.
struct ScryptHash {
    let cost: ScryptCost
    let salt: [UInt8]
    let digest: [UInt8]

    init(cost: ScryptCost, salt: [UInt8], digest: [UInt8]) {
        self.cost = cost
        self.salt = salt
        self.digest = digest
    }

    /// Reads `$scrypt$ln=…,r=…,p=…$salt$digest`; nil when `text` is not of this form.
    init?(_ text: String) {
        guard text.utf8.count <= ScryptHasher.hashSizeMax else { return nil }
        let parts = text.split(separator: "$", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[0].isEmpty, parts[1] == "scrypt", let cost = Self.cost(parts[2]),
            let salt = Self.bytes(parts[3]), let digest = Self.bytes(parts[4]), !salt.isEmpty,
            (16...64).contains(digest.count)
        else { return nil }
        self.init(cost: cost, salt: salt, digest: digest)
    }

    var text: String {
        "$scrypt$ln=\(cost.logN),r=\(cost.blockSize),p=\(cost.parallelism)$\(Base64.standard.encode(salt))"
            + "$\(Base64.standard.encode(digest))"
    }

    private static func cost(_ text: Substring) -> ScryptCost? {
        var values: [Substring: Int] = [:]
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let pair = part.split(separator: "=", omittingEmptySubsequences: false)
            guard pair.count == 2, values[pair[0]] == nil, (1...9).contains(pair[1].utf8.count),
                pair[1].utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
            else { return nil }
            values[pair[0]] = Int(pair[1])
        }
        guard values.count == 3, let logN = values["ln"], let blockSize = values["r"], let parallelism = values["p"]
        else { return nil }
        return ScryptCost(logN: logN, blockSize: blockSize, parallelism: parallelism)
    }

    /// Base64 without padding; old versions of passlib write `.` for `+`.
    private static func bytes(_ text: Substring) -> [UInt8]? {
        Base64.standard.decode(text.utf8.map { $0 == UInt8(ascii: ".") ? UInt8(ascii: "+") : $0 })
    }
}

/// Why a password is not hashed or not checked.
public enum PasswordHashError: UserFacingError, Hashable {
    /// It is longer than `ScryptHasher.passwordSizeMax`.
    case passwordTooLong
    /// The stored text is not a scrypt hash.
    case notAHash
    /// The stored hash would take too much memory or time.
    case costTooHigh
    /// There was no memory for it.
    case outOfMemory(ByteCount)

    public var publicMessage: String {
        switch self {
        case .passwordTooLong: "The password is longer than \(ScryptHasher.passwordSizeMax) bytes."
        case .notAHash, .costTooHigh: "The user's password cannot be checked; set it anew."
        case .outOfMemory: "The password cannot be checked now; try again."
        }
    }

    public var diagnostic: String {
        switch self {
        case .passwordTooLong: publicMessage
        case .notAHash: "The stored password is not a scrypt hash ($scrypt$ln=…,r=…,p=…$salt$digest)."
        case .costTooHigh:
            "The stored password's hash wants more than \(ScryptCost.memoryMax), more than 16 times the usual work, "
                + "or parameters out of RFC 7914's range."
        case .outOfMemory(let size): "There is no memory of \(size) for a password's hash."
        }
    }
}
