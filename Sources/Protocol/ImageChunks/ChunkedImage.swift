import Glibc
import Primitives

/// Cuts image files into chunks.
public enum ChunkedImage {
    /// Reads the image at `path` once, hands each chunk with its stored form to `emit` in disk order, and returns the
    /// manifest. Holes of the file are skipped by the file system's own knowledge. Memory stays below 4 MiB plus the
    /// manifest. Throws `ChunkError`, or what `emit` throws.
    public static func chunk(
        file path: String, emit: (ImageChunk, [UInt8]) throws -> Void
    ) throws -> ChunkManifest {
        let file = try ImageFile(path: path)
        guard file.size <= ChunkLimit.imageSize else {
            throw ChunkError.limit(what: "image size", found: file.size, limit: ChunkLimit.imageSize)
        }
        let compressor = ZstdCompressor()
        var window = Window(file: file)
        var chunks: [ImageChunk] = []
        while try window.fill() {
            switch Chunker.next(window.bytes) {
            case .zero(let length):
                window.advance(length)
            case .data(let length):
                try ChunkManifest.check(count: chunks.count + 1)
                let bytes = UnsafeRawBufferPointer(rebasing: window.bytes.prefix(length))
                let frame = compressor.compress(bytes)
                let chunk = ImageChunk(
                    offset: window.offset, length: length, raw: ChunkDigest(of: bytes),
                    stored: frame.withUnsafeBytes { ChunkDigest(of: $0) }, storedLength: frame.count)
                chunks.append(chunk)
                try emit(chunk, frame)
                window.advance(length)
            }
        }
        return try ChunkManifest(imageSize: file.size, chunks: chunks)
    }
}

/// `SEEK_DATA` of lseek(2), which the Glibc module leaves out.
private let seekData: Int32 = 3

/// An open image file.
private final class ImageFile {
    let path: String
    let size: UInt64
    // SAFETY: the descriptor is closed once, with this object.
    private let descriptor: Int32

    init(path: String) throws(ChunkError) {
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        self.path = path
        guard descriptor >= 0 else { throw .unreadable(path: path, errno: errno) }
        let end = lseek(descriptor, 0, SEEK_END)
        guard end >= 0 else {
            let code = errno
            close(descriptor)
            throw .unreadable(path: path, errno: code)
        }
        size = UInt64(end)
    }

    deinit { close(descriptor) }

    /// The first byte at or after `offset` that is not in a hole; the size when there is none.
    func nextData(from offset: UInt64) -> UInt64 {
        let found = lseek(descriptor, Int(offset), seekData)
        if found >= 0 { return UInt64(found) }
        return errno == ENXIO ? size : offset
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(ChunkError) {
        var done = 0
        while done < buffer.count {
            let got = pread(descriptor, buffer.baseAddress! + done, buffer.count - done, Int(offset) + done)
            if got < 0, errno == EINTR { continue }
            guard got > 0 else { throw .unreadable(path: path, errno: got == 0 ? EIO : errno) }
            done += got
        }
    }
}

/// The part of a file that is in memory.
private struct Window: ~Copyable {
    private static let capacity = 4 * ChunkLimit.maximumLength

    private let file: ImageFile
    // SAFETY: allocated once for this value and freed with it; `start..<end` is the part that was read.
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 4096)
    private var start = 0
    private var end = 0
    /// Where `start` lies in the file.
    private(set) var offset: UInt64 = 0

    init(file: ImageFile) { self.file = file }

    deinit { memory.deallocate() }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[start..<end]) }

    mutating func advance(_ count: Int) {
        start += count
        offset += UInt64(count)
    }

    /// Makes at least the longest chunk, or all that is left, available; false at the end of the file.
    mutating func fill() throws(ChunkError) -> Bool {
        if start == end {
            let data = file.nextData(from: offset)
            offset = max(offset, data - data % UInt64(ChunkLimit.page))
            (start, end) = (0, 0)
        }
        guard offset < file.size else { return false }
        let left = file.size - offset
        guard end - start < ChunkLimit.maximumLength, UInt64(end - start) < left else { return true }
        if start > 0 {
            memory.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory[start..<end]))
            (start, end) = (0, end - start)
        }
        let wanted = Int(min(UInt64(Self.capacity), left))
        try file.read(
            into: UnsafeMutableRawBufferPointer(rebasing: memory[end..<wanted]), at: offset + UInt64(end))
        end = wanted
        return true
    }
}
