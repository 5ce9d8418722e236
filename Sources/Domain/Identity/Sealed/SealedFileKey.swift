import Crypto
import CryptoExtras
import FoundationEssentials
import Glibc
import Primitives

/// What a sealed file is opened with.
public enum SealedFileKey: Sendable {
    /// A text that somebody knows; the key is made of it by scrypt (RFC 7914).
    case passphrase(SecretText)
    /// The bytes of a file that somebody keeps; the key is made of them by HKDF (RFC 5869).
    case file([UInt8])

    /// Bytes that a passphrase has at least.
    public static let passphraseSizeMin = 12
    /// Bytes that a key file has at least.
    public static let keyFileSizeMin = 32

    /// Reads a passphrase: the first line of a private file. Throws `SealedFileError` and `PrivateFileError`.
    public static func passphrase(inFile path: String) throws -> SealedFileKey {
        guard let bytes = try PrivateFile.read(path) else { throw SealedFileError.noKey(path) }
        let line = String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        guard line.utf8.count >= passphraseSizeMin else { throw SealedFileError.weak(path, sizeMin: passphraseSizeMin) }
        return .passphrase(SecretText(line))
    }

    /// Reads a private file of random bytes. Throws `SealedFileError` and `PrivateFileError`.
    public static func file(_ path: String) throws -> SealedFileKey {
        guard let bytes = try PrivateFile.read(path) else { throw SealedFileError.noKey(path) }
        guard bytes.count >= keyFileSizeMin else { throw SealedFileError.weak(path, sizeMin: keyFileSizeMin) }
        return .file(bytes)
    }
}

/// What stands before the sealed chunks, in the clear and authenticated with each of them.
struct SealedFileHeader: Codable, Hashable {
    static let magic = Array("muster-sealed 1\n".utf8)
    /// Bytes of the header's JSON at most.
    static let sizeMax = 4096
    /// What a passphrase's key costs: 128 MiB, and some tenths of a second.
    static let cost = ScryptCost(logN: 17, blockSize: 8, parallelism: 1)

    /// How the key is made.
    struct Derivation: Codable, Hashable {
        var method: Method
        var salt: String
        var logN: Int?
        var blockSize: Int?
        var parallelism: Int?

        enum Method: String, Codable {
            case scrypt
            case hkdf
        }
    }

    var derivation: Derivation
    /// The first 7 bytes of each nonce.
    var nonce: String
    /// Bytes of a chunk before it is sealed.
    var chunkSize: Int

    init(for key: SealedFileKey, chunkSize: Int, cost: ScryptCost, random: RandomBytes) {
        let salt = Hex.encode(random(32))
        derivation =
            switch key {
            case .passphrase:
                Derivation(
                    method: .scrypt, salt: salt, logN: cost.logN, blockSize: cost.blockSize,
                    parallelism: cost.parallelism)
            case .file: Derivation(method: .hkdf, salt: salt)
            }
        nonce = Hex.encode(random(7))
        self.chunkSize = chunkSize
    }

    /// The header as it stands in the file.
    func encoded() throws(SealedFileError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        guard let json = try? encoder.encode(self) else { throw .damaged("its header cannot be written") }
        return Self.magic + [UInt8(truncatingIfNeeded: json.count >> 8), UInt8(truncatingIfNeeded: json.count)] + json
    }

    /// Reads the JSON of a header; throws `.damaged`.
    init(json: [UInt8]) throws(SealedFileError) {
        guard let header = try? JSONDecoder().decode(Self.self, from: Data(json)),
            Hex.decode(header.nonce)?.count == 7, (1...(16 << 20)).contains(header.chunkSize)
        else { throw .damaged("its header is damaged") }
        self = header
    }

    /// The cipher of this file with `key`. Throws `.wrongKind`, `.damaged` or `.outOfMemory`.
    func cipher(_ key: SealedFileKey, header: [UInt8]) throws(SealedFileError) -> SealedFileCipher {
        guard let salt = Hex.decode(derivation.salt) else { throw .damaged("its header is damaged") }
        let symmetric: SymmetricKey
        switch (key, derivation.method) {
        case (.passphrase(let text), .scrypt):
            let cost = ScryptCost(
                logN: derivation.logN ?? 0, blockSize: derivation.blockSize ?? 0,
                parallelism: derivation.parallelism ?? 0)
            guard cost.isBounded else { throw .damaged("its header asks for more than a passphrase may cost") }
            do {
                symmetric = try KDF.Scrypt.deriveKey(
                    from: Array(text.revealed.utf8), salt: salt, outputByteCount: 32, rounds: 1 << cost.logN,
                    blockSize: cost.blockSize, parallelism: cost.parallelism)
            } catch {
                throw .outOfMemory(cost.memory)
            }
        case (.file(let bytes), .hkdf):
            symmetric = HKDF<SHA256>.deriveKey(
                inputKeyMaterial: SymmetricKey(data: bytes), salt: salt, info: Array("muster-sealed 1".utf8),
                outputByteCount: 32)
        case (.passphrase, .hkdf): throw .wrongKind(wanted: "a key file")
        case (.file, .scrypt): throw .wrongKind(wanted: "a passphrase")
        }
        return SealedFileCipher(
            key: symmetric, prefix: Hex.decode(nonce) ?? [], context: Array(SHA256.hash(data: header)))
    }
}

/// Seals and opens chunks by AES-256-GCM (NIST SP 800-38D): each nonce has the chunk's number and whether it is the last
/// (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár 2015), so that none can be left out, put elsewhere or
/// cut off.
struct SealedFileCipher: Sendable {
    static let tagSize = 16

    let key: SymmetricKey
    let prefix: [UInt8]
    let context: [UInt8]

    private func nonce(_ number: UInt32, isLast: Bool) throws -> AES.GCM.Nonce {
        let count = (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * UInt32($0))) }
        return try AES.GCM.Nonce(data: prefix + count + [isLast ? 1 : 0])
    }

    func seal(_ bytes: [UInt8], _ number: UInt32, isLast: Bool) throws(SealedFileError) -> [UInt8] {
        do {
            let box = try AES.GCM.seal(
                bytes, using: key, nonce: nonce(number, isLast: isLast), authenticating: context)
            return Array(box.ciphertext + box.tag)
        } catch {
            throw .damaged("it cannot be sealed")
        }
    }

    /// nil when the chunk is not this one of this file.
    func open(_ bytes: [UInt8], _ number: UInt32, isLast: Bool) -> [UInt8]? {
        guard bytes.count >= Self.tagSize,
            let nonce = try? nonce(number, isLast: isLast),
            let box = try? AES.GCM.SealedBox(
                nonce: nonce, ciphertext: bytes.dropLast(Self.tagSize), tag: bytes.suffix(Self.tagSize)),
            let opened = try? AES.GCM.open(box, using: key, authenticating: context)
        else { return nil }
        return Array(opened)
    }
}

/// Why a sealed file is not written or not read.
public enum SealedFileError: UserFacingError, Hashable {
    /// There is no such passphrase or key file.
    case noKey(String)
    /// The passphrase or key file is too short.
    case weak(String, sizeMin: Int)
    /// The file was sealed with another kind of key.
    case wrongKind(wanted: String)
    /// The key is another one, or the file's beginning was changed.
    case wrongKey
    /// The file was changed, or its end is missing.
    case changed(atByte: UInt64)
    /// It is none of these files, or damaged.
    case damaged(String)
    /// There was no memory for the passphrase's key.
    case outOfMemory(ByteCount)
    /// A system call failed.
    case failed(String, operation: String, code: Int32)

    public var publicMessage: String {
        switch self {
        case .noKey(let path): "There is no file \(path)."
        case .weak(let path, let sizeMin): "\(path) is too short: at least \(sizeMin) bytes are needed."
        case .wrongKind(let wanted): "The file was sealed with \(wanted); give that."
        case .wrongKey:
            "The passphrase or key file is not the one that the file was sealed with, or its beginning was changed."
        case .changed(let byte):
            "The file was changed or cut off at or after byte \(byte); nothing of it can be trusted. Take another copy of it."
        case .damaged(let why): "The file cannot be read: \(why)."
        case .outOfMemory(let size): "There is no memory of \(size) for the passphrase's key."
        case .failed(let path, let operation, let code):
            "Cannot \(operation) \(path): \(String(cString: strerror(code)))."
        }
    }
}
