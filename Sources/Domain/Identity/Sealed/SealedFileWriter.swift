import Glibc
import Primitives

/// Writes a file of any size that only the holder of a key can read and nobody can change unnoticed (mode 0600).
///
/// The file takes its name once it is whole and on the disk; what is not finished leaves nothing behind.
public struct SealedFileWriter: ~Copyable, Sendable {
    /// Bytes of a chunk.
    static let chunkSize = 1 << 20

    private let path: String
    private let file: SealedDescriptor
    private let cipher: SealedFileCipher
    private let chunkSize: Int
    private var pending: [UInt8] = []
    private var number: UInt32 = 0
    /// The bytes of the file so far.
    public private(set) var size: UInt64

    /// Begins the file `path`, in the place of one that is there; deriving a passphrase's key takes some tenths of a second.
    public init(
        _ path: String, key: SealedFileKey, random: RandomBytes = .system
    ) throws(SealedFileError) {
        try self.init(path, key: key, chunkSize: Self.chunkSize, cost: SealedFileHeader.cost, random: random)
    }

    init(
        _ path: String, key: SealedFileKey, chunkSize: Int, cost: ScryptCost, random: RandomBytes = .system
    ) throws(SealedFileError) {
        let header = SealedFileHeader(for: key, chunkSize: chunkSize, cost: cost, random: random)
        let bytes = try header.encoded()
        let cipher = try header.cipher(key, header: bytes)
        let temporary = "\(path).\(getpid()).tmp"
        let flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW
        let file = try SealedDescriptor(temporary, flags: flags, isTemporary: true)
        try file.write(bytes)
        self.path = path
        self.cipher = cipher
        self.chunkSize = chunkSize
        self.file = file
        size = UInt64(bytes.count)
    }

    /// Appends bytes.
    public mutating func append(_ bytes: some Collection<UInt8>) throws(SealedFileError) {
        pending.append(contentsOf: bytes)
        // The last chunk is sealed as such, so one is always kept back.
        while pending.count > chunkSize {
            try write(cipher.seal(Array(pending.prefix(chunkSize)), number, isLast: false))
            pending.removeFirst(chunkSize)
            number += 1
        }
    }

    /// Ends the file and gives it its name; it is on the disk when this returns.
    public consuming func finish() throws(SealedFileError) {
        try write(cipher.seal(pending, number, isLast: true))
        try file.take(name: path)
    }

    private mutating func write(_ bytes: [UInt8]) throws(SealedFileError) {
        try file.write(bytes)
        size += UInt64(bytes.count)
    }
}

/// An open file, closed when it goes out of scope; a temporary one that has not got its name is removed then.
struct SealedDescriptor: ~Copyable, Sendable {
    private let descriptor: Int32
    private let path: String
    private let isTemporary: Bool

    /// Opens a file; one that is made gets mode 0600.
    init(_ path: String, flags: Int32, isTemporary: Bool = false) throws(SealedFileError) {
        descriptor = open(path, flags | O_CLOEXEC, 0o600)
        self.path = path
        self.isTemporary = isTemporary
        guard descriptor >= 0 else { throw .failed(path, operation: "open", code: errno) }
    }

    deinit {
        close(descriptor)
        if isTemporary { unlink(path) }
    }

    func write(_ bytes: [UInt8]) throws(SealedFileError) {
        var offset = 0
        while offset < bytes.count {
            let written = bytes.withUnsafeBytes { buffer in
                Glibc.write(descriptor, buffer.baseAddress.map { $0 + offset }, buffer.count - offset)
            }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw .failed(path, operation: "write", code: errno) }
            offset += written
        }
    }

    /// The next `count` bytes, fewer only at the end of the file.
    func read(_ count: Int) throws(SealedFileError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var length = 0
        while length < count {
            let got = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(descriptor, buffer.baseAddress.map { $0 + length }, count - length)
            }
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw .failed(path, operation: "read", code: errno) }
            if got == 0 { break }
            length += got
        }
        return Array(bytes.prefix(length))
    }

    /// Gives the temporary file its name, in the place of another one; all of it is on the disk when this returns.
    func take(name: String) throws(SealedFileError) {
        guard fchmod(descriptor, 0o600) == 0, fsync(descriptor) == 0 else {
            throw .failed(path, operation: "sync", code: errno)
        }
        guard rename(path, name) == 0 else { throw .failed(name, operation: "make", code: errno) }
        let folder = name.lastIndex(of: "/").map { $0 == name.startIndex ? "/" : String(name[..<$0]) } ?? "."
        let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw .failed(folder, operation: "open", code: errno) }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw .failed(folder, operation: "sync", code: errno) }
    }
}
