import BlobStore
import FoundationEssentials
import Identity
import Primitives
import ResourceModel

/// What a backup is of; its first record.
struct BackupSummary: Codable, Sendable, Hashable {
    /// The version of this form.
    static let version = 1

    var version = BackupSummary.version
    /// The conductor's version that made it.
    var conductor: String
    /// The site's name; nil: none was applied yet.
    var site: String?
    /// When it was made.
    var time: Timestamp
    /// The revision that the documents are as of.
    var revision: Revision
    /// Which blobs are in it.
    var blobs: BackupBlobs
}

/// Which blobs go into a backup.
public enum BackupBlobs: String, Codable, Sendable, Hashable, CaseIterable {
    /// None: images are pushed again after a restore, and inventories come with the machines' next boot.
    case none
    /// Manifests of images and inventories of machines, which are small: images are whole again once they are pushed.
    case manifests
    /// All that the catalog names.
    case all
}

/// How many of each kind of record there are; the last record.
struct BackupCounts: Codable, Sendable, Hashable {
    /// Documents by their kind.
    var documents: [String: Int] = [:]
    var files = 0
    var blobs = 0
    var blobBytes: UInt64 = 0
    /// Blobs that the catalog names and that were on no conductor which could be asked.
    var missingBlobs = 0
}

/// One thing in a backup.
enum BackupRecord: Sendable, Hashable {
    case summary(BackupSummary)
    case document(ResourceKey)
    /// A file of the state directory.
    case file(String)
    case blob(Digest)
    case end(BackupCounts)

    /// The most bytes of a record's header.
    static let headerSizeMax = 256 << 10

    /// The number that a record begins with.
    private var type: UInt8 {
        switch self {
        case .summary: 1
        case .document: 2
        case .file: 3
        case .blob: 4
        case .end: 5
        }
    }

    /// The bytes of a body at most.
    var sizeMax: UInt64 {
        switch self {
        case .summary, .end: 0
        case .document: StoreLimits.documentSizeMax.bytes
        case .file: UInt64(PrivateFile.sizeMax)
        case .blob: BlobLimits.blobSizeMax.bytes
        }
    }

    /// The bytes before a body of `size` bytes: the type, the length of the header in 4 bytes, big endian, the header as
    /// JSON, and the length of the body in 8.
    func head(bodySize size: UInt64) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        let json =
            switch self {
            case .summary(let summary): try encoder.encode(summary)
            case .document(let key): try encoder.encode(key)
            case .file(let name): try encoder.encode([name])
            case .blob(let digest): try encoder.encode([digest])
            case .end(let counts): try encoder.encode(counts)
            }
        return [type] + Self.bytes(UInt64(json.count), 4) + json + Self.bytes(size, 8)
    }

    init(type: UInt8, header: [UInt8]) throws {
        let (decoder, json) = (JSONDecoder(), Data(header))
        switch type {
        case 1: self = .summary(try decoder.decode(BackupSummary.self, from: json))
        case 2:
            let key = try decoder.decode(ResourceKey.self, from: json)
            try key.validate()
            self = .document(key)
        case 3: self = .file(try decoder.decode([String].self, from: json).first ?? "")
        case 4:
            guard let digest = try decoder.decode([Digest].self, from: json).first else {
                throw BackupError.damaged("a blob without a name")
            }
            self = .blob(digest)
        case 5: self = .end(try decoder.decode(BackupCounts.self, from: json))
        default: throw BackupError.damaged("a record of the unknown type \(type)")
        }
    }

    private static func bytes(_ number: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: number >> (8 * UInt64(count - 1 - $0))) }
    }
}

/// Reads a backup record by record.
struct BackupReader: ~Copyable, Sendable {
    private var file: SealedFileReader
    /// What is left of the body of the record that was given last.
    private var bodyLeft: UInt64 = 0
    private(set) var bodySize: UInt64 = 0

    /// Opens a backup; throws `SealedFileError`.
    init(_ path: String, key: SealedFileKey) throws(SealedFileError) { file = try SealedFileReader(path, key: key) }

    /// The next record; nil at the end of the file.
    mutating func next() throws -> BackupRecord? {
        while !(try readBody().isEmpty) {}
        guard let type = try file.read(1).first else { return nil }
        let length = try number(4)
        guard length <= UInt64(BackupRecord.headerSizeMax) else {
            throw BackupError.damaged("a header that is too long")
        }
        let header = try file.read(Int(length))
        let record = try BackupRecord(type: type, header: header)
        bodyLeft = try number(8)
        bodySize = bodyLeft
        guard bodyLeft <= record.sizeMax else { throw BackupError.damaged("a record that is too long") }
        return record
    }

    /// The next part of the body, empty at its end.
    mutating func readBody(_ count: Int = 256 << 10) throws -> [UInt8] {
        let bytes = try file.read(Int(min(UInt64(count), bodyLeft)))
        guard !bytes.isEmpty || bodyLeft == 0 else { throw BackupError.damaged("a record that ends too early") }
        bodyLeft -= UInt64(bytes.count)
        return bytes
    }

    private mutating func number(_ count: Int) throws -> UInt64 {
        let bytes = try file.read(count)
        guard bytes.count == count else { throw BackupError.damaged("a record that ends too early") }
        return bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }
}

/// Why there is no backup, or none is restored.
public enum BackupError: UserFacingError, Hashable {
    /// The records are not what a backup has.
    case damaged(String)
    /// A newer version has made it.
    case tooNew(Int)
    /// The catalog would not come to rest.
    case notQuiet
    /// Something is there already that would be overwritten.
    case occupied(String)
    /// There is no state in this directory.
    case noState(String)
    /// A blob in it is another one than its name says.
    case wrongBlob(Digest)
    /// Blobs that the catalog names are on no conductor that can be asked.
    case missingBlobs(Int)

    public var publicMessage: String {
        switch self {
        case .damaged(let what): "The file is no backup that can be used: it has \(what)."
        case .tooNew(let version):
            "The backup has format \(version), this program knows up to \(BackupSummary.version); restore it with the newer "
                + "version that made it."
        case .notQuiet: "The store did not tell its changes in time; try again."
        case .occupied(let what):
            "\(what) is there already; a backup is restored into an empty place only. Give another state directory, or move "
                + "that away."
        case .noState(let path): "\(path) has no master.key, so it is no conductor's state directory."
        case .wrongBlob(let digest): "The blob \(digest) in the backup has another content than its name says."
        case .missingBlobs(let count):
            "\(count) blobs that the catalog names are not on this conductor and cannot be fetched from another. Make the "
                + "backup where they are, push the images again, or take --blobs manifests."
        }
    }
}
