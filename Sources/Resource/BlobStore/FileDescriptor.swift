import Glibc

/// An open file that is closed when it goes out of scope.
struct FileDescriptor: ~Copyable {
    let number: Int32

    /// Opens `path`; throws `BlobError.file` with the call that failed.
    init(_ path: String, _ flags: Int32, mode: mode_t = 0o600) throws(BlobError) {
        number = Glibc.open(path, flags | O_CLOEXEC, mode)
        guard number >= 0 else { throw BlobError.failed("open", path) }
    }

    deinit { close(number) }

    var size: UInt64 {
        get throws(BlobError) {
            var info = stat()
            guard fstat(number, &info) == 0 else { throw BlobError.failed("fstat", "descriptor") }
            return UInt64(info.st_size)
        }
    }

    /// Exactly `count` bytes from `offset`; throws `BlobError.truncated` when the file ends before.
    func read(at offset: UInt64, count: Int) throws(BlobError) -> [UInt8] {
        var failure: BlobError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let got = pread(
                    number, buffer.baseAddress?.advanced(by: filled), count - filled, off_t(offset) + off_t(filled))
                if got < 0, errno == EINTR { continue }
                guard got > 0 else {
                    failure = got == 0 ? .truncated : BlobError.failed("pread", "descriptor")
                    return
                }
                filled += got
            }
        }
        if let failure { throw failure }
        return bytes
    }

    func write(_ bytes: [UInt8]) throws(BlobError) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.write(number, buffer.baseAddress?.advanced(by: written), buffer.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw BlobError.failed("write", "descriptor") }
            written += count
        }
    }

    func sync() throws(BlobError) {
        guard fsync(number) == 0 else { throw BlobError.failed("fsync", "descriptor") }
    }
}
