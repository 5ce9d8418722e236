import FoundationEssentials
import ResourceModel
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// A file that is written beside its place and moved there once it is whole and on the disk.
final class SnapshotFile: Sendable {
    private let path: String
    private let descriptor: Int32
    private let size = Mutex(0)

    private var part: String { "\(path).part" }

    init(_ path: String) throws(StoreError) {
        self.path = path
        descriptor = open("\(path).part", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Self.failure(path) }
    }

    deinit {
        close(descriptor)
        unlink(part)
    }

    func append(_ data: Data) throws(StoreError) {
        var rest = [UInt8](data)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Self.failure(path) }
            rest = rest.dropFirst(count)
        }
        size.withLock { $0 += data.count }
    }

    /// Throws `StoreError.unavailable` when what came is no whole snapshot: pages of 512 bytes and a SHA-256.
    func finish() throws(StoreError) {
        let count = size.withLock { $0 }
        guard count > 512, count % 512 == 32 else {
            throw .unavailable("etcd's snapshot was broken off; try again")
        }
        guard fsync(descriptor) == 0, rename(part, path) == 0 else { throw Self.failure(path) }
    }

    private static func failure(_ path: String) -> StoreError {
        let code = errno
        guard code != ENOSPC, code != EDQUOT else { return .diskFull(path) }
        return .unavailable("cannot write \(path): \(String(cString: strerror(code)))")
    }
}
