import Glibc
import LinuxSystem
import Primitives
import TPM

/// A TPM 2.0 behind a file descriptor: the kernel's `/dev/tpmrm0`, or a socket that speaks the same bytes.
public final class TPMDevice: TPMTransport {
    /// The TPM with the kernel's resource manager before it: keys and sessions end with the descriptor.
    public static let path = "/dev/tpmrm0"

    private let descriptor: Int32

    /// The machine's own TPM; nil when there is none. Throws `SystemError` when it cannot be opened.
    public static func open(_ path: String = TPMDevice.path) throws(SystemError) -> TPMDevice? {
        let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC)
        if descriptor < 0 {
            if errno == ENOENT { return nil }
            throw SystemError("open \(path)", errno: errno)
        }
        return TPMDevice(descriptor: descriptor)
    }

    /// A TPM behind an open descriptor, which is closed with this object.
    public init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// Sends `command` and waits for its answer; the kernel gives a TPM up after its own time limits. Throws `SystemError`
    /// and `WireError`.
    public func exchange(_ command: [UInt8]) throws -> [UInt8] {
        // The driver takes a command in one piece only.
        let sent = command.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard sent == command.count else { throw SystemError("write to the TPM", errno: sent < 0 ? errno : EIO) }
        var answer: [UInt8] = []
        var wanted = 10
        while answer.count < wanted {
            var piece = [UInt8](repeating: 0, count: TPMCommand.sizeMax)
            let count = read(descriptor, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw SystemError("read from the TPM", errno: count < 0 ? errno : EIO) }
            answer += piece[0..<count]
            if answer.count >= 10 { wanted = try TPMAnswer.length(header: Array(answer.prefix(10))) }
        }
        return answer
    }
}
