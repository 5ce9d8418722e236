import ResourceModel
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// Keeps a second process away from a store; the system lets go of it when the process ends, however it ends.
final class StoreLock: Sendable {
    private let descriptor: Mutex<Int32?>

    /// Locks `<path>.lock`; throws `StoreError.inUse(path)` when it is locked already.
    init(path: String) throws(StoreError) {
        let file = open("\(path).lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw .system("open", "\(path).lock") }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            close(file)
            errno = code
            throw code == EWOULDBLOCK ? .inUse(path) : .system("lock", "\(path).lock")
        }
        descriptor = Mutex(file)
    }

    deinit { release() }

    func release() {
        if let file = descriptor.withLock({ $0.take() }) { close(file) }
    }
}
