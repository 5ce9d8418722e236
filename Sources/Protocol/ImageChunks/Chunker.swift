import Glibc
import Primitives

/// Finds where an image is cut: after pages whose content says so, before and after zero pages.
///
/// A cut depends on one page and on how far the chunk has come, so a change moves cuts near it only, and an
/// insertion of whole pages is caught up with after a few chunks.
public enum Chunker {
    /// What lies at the start of a run of bytes.
    public enum Piece: Hashable {
        /// So many bytes of zero pages.
        case zero(Int)
        /// One chunk of so many bytes.
        case data(Int)
    }

    /// The next piece of `bytes`, which begin at a cut.
    ///
    /// `bytes` hold at least `ChunkLimit.maximumLength` bytes or all that is left of the image; the last page may be
    /// short.
    public static func next(_ bytes: UnsafeRawBufferPointer) -> Piece {
        var length = 0
        while length < bytes.count {
            let page = UnsafeRawBufferPointer(rebasing: bytes[length...].prefix(ChunkLimit.page))
            if isZero(page) { return length == 0 ? .zero(zeroRun(bytes)) : .data(length) }
            length += page.count
            if length >= ChunkLimit.maximumLength { break }
            if length >= ChunkLimit.minimumLength, isCut(after: page) { break }
        }
        return .data(length)
    }

    private static func zeroRun(_ bytes: UnsafeRawBufferPointer) -> Int {
        var length = 0
        while length < bytes.count {
            let page = UnsafeRawBufferPointer(rebasing: bytes[length...].prefix(ChunkLimit.page))
            guard isZero(page) else { break }
            length += page.count
        }
        return length
    }

    /// Whether every byte is zero: the first one is, and each equals the next.
    private static func isZero(_ page: UnsafeRawBufferPointer) -> Bool {
        guard let start = page.baseAddress, page[0] == 0 else { return false }
        return memcmp(start, start + 1, page.count - 1) == 0
    }

    /// One page in sixteen ends a chunk: a multiplicative hash of one word in every 64 bytes has four zero bits.
    private static func isCut(after page: UnsafeRawBufferPointer) -> Bool {
        guard page.count == ChunkLimit.page, let start = page.baseAddress else { return true }
        var hash: UInt64 = 0x9E37_79B9_7F4A_7C15
        var offset = 0
        while offset < ChunkLimit.page {
            hash = (hash ^ start.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) &* 0xBF58_476D_1CE4_E5B9
            hash ^= hash &>> 29
            offset &+= 64
        }
        return hash &>> 60 == 0
    }
}

/// A text for an errno, for example `No such file or directory`.
func systemMessage(_ errno: Int32) -> String { String(cString: strerror(errno)) }
