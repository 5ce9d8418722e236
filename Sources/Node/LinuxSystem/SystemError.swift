import Glibc
import Primitives
import ProgramRuns

/// A call into the kernel or a system library that failed.
public struct SystemError: UserFacingError, Hashable {
    /// What was to be done, for example `create the bridge br1001`.
    public let action: String
    /// The errno; 0 when only `detail` tells.
    public let errno: Int32
    /// The library's own words.
    public let detail: String

    /// An error of `action`; without a detail the errno's text is taken.
    public init(_ action: String, errno: Int32, detail: String? = nil) {
        self.action = action
        self.errno = errno
        self.detail = (detail ?? String(cString: strerror(errno))).printable(limit: 400)
    }

    public var publicMessage: String { "Could not \(action): \(detail)." }
}

extension ProgramRun {
    /// Runs it and waits; blocks the thread. Throws `SystemError` where `run()` throws `ProgramError`.
    public func outcome() throws(SystemError) -> Outcome {
        do { return try run() } catch {
            throw SystemError("run \(error.program)", errno: 0, detail: error.why)
        }
    }
}
