import GRDB
import Primitives
import ResourceModel

#if canImport(Glibc)
    import Glibc
#endif

extension StoreError {
    /// What the engine's error means for whoever asked, and what to do.
    static func engine(_ error: any Error, path: String) -> StoreError {
        if let error = error as? StoreError { return error }
        guard let error = error as? DatabaseError else {
            return .unavailable("\(path) failed: \(String(describing: error).printable(limit: 200))")
        }
        switch error.resultCode {
        case .SQLITE_FULL:
            return .diskFull(path)
        case .SQLITE_IOERR:
            return .unavailable("the disk failed under \(path) (\(error.extendedResultCode)); check dmesg and smartctl")
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            return .unavailable("\(path) is damaged; stop the conductor and restore a backup")
        case .SQLITE_READONLY, .SQLITE_CANTOPEN, .SQLITE_PERM, .SQLITE_AUTH:
            return .unavailable("\(path) may not be written; check its owner, rights and mount")
        default:
            return .unavailable("\(path) failed: \(error.description.printable(limit: 200))")
        }
    }

    /// The failure of a system call on `path`, from `errno`.
    static func system(_ action: String, _ path: String) -> StoreError {
        let code = errno
        guard code != ENOSPC, code != EDQUOT else { return .diskFull(path) }
        return .unavailable("cannot \(action) \(path): \(String(cString: strerror(code)))")
    }
}
