import Glibc
import Primitives

/// Reads a file of `SealedFileWriter`; nothing is given out before it was authenticated.
public struct SealedFileReader: ~Copyable, Sendable {
    private let file: SealedDescriptor
    private let cipher: SealedFileCipher
    private let sealedSize: Int
    private var number: UInt32 = 0
    private var offset: UInt64
    /// Of the file, not opened yet.
    private var sealed: [UInt8] = []
    private var isAtEnd = false
    /// Opened, not given out yet.
    private var opened: ArraySlice<UInt8> = []

    /// Opens the file `path` with `key`; whether it is the right one shows at the first read.
    ///
    /// Throws `SealedFileError.wrongKind` for a key of another kind, `.damaged` for another kind of file.
    public init(_ path: String, key: SealedFileKey) throws(SealedFileError) {
        let file = try SealedDescriptor(path, flags: O_RDONLY)
        let magic = SealedFileHeader.magic
        let start = try file.read(magic.count + 2)
        guard start.count == magic.count + 2, start.starts(with: magic) else {
            throw .damaged("it is none that Muster has sealed")
        }
        let length = Int(start[magic.count]) << 8 | Int(start[magic.count + 1])
        guard length <= SealedFileHeader.sizeMax else { throw .damaged("its header is damaged") }
        let json = try file.read(length)
        let header = try SealedFileHeader(json: json)
        cipher = try header.cipher(key, header: start + json)
        sealedSize = header.chunkSize + SealedFileCipher.tagSize
        offset = UInt64(start.count + json.count)
        self.file = file
    }

    /// The next `count` bytes, fewer only at the end. Throws `SealedFileError.wrongKey` and `.changed`.
    public mutating func read(_ count: Int) throws(SealedFileError) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            if opened.isEmpty {
                guard !isAtEnd else { break }
                try openNext()
                continue
            }
            let part = opened.prefix(count - bytes.count)
            bytes += part
            opened = opened.dropFirst(part.count)
        }
        return bytes
    }

    private mutating func openNext() throws(SealedFileError) {
        // One byte more tells whether this chunk is the last.
        sealed += try file.read(sealedSize + 1 - sealed.count)
        let isLast = sealed.count <= sealedSize
        let chunk = Array(sealed.prefix(sealedSize))
        guard let bytes = cipher.open(chunk, number, isLast: isLast) else {
            throw number == 0 ? .wrongKey : .changed(atByte: offset)
        }
        sealed.removeFirst(chunk.count)
        offset += UInt64(chunk.count)
        number += 1
        isAtEnd = isLast
        opened = bytes[...]
    }
}
