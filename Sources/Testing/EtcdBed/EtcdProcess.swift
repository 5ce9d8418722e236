import CLinux
import Glibc

/// A program that dies with this process at the latest, however this one ends.
///
/// It is the child of a shell that reads a pipe of ours: at the pipe's end, which the kernel makes when we die, the shell
/// kills it. (PR_SET_PDEATHSIG would look at the thread that started it, and Swift's threads come and go.)
final class EtcdProcess: Sendable {
    /// The program's PID.
    let pid: pid_t
    private let shell: pid_t
    private let leash: Int32

    /// Starts `command`, whose output is appended to the file `log`; throws `EtcdBedError`.
    init(_ command: [String], log: String) throws(EtcdBedError) {
        let script = "\"$@\" >>\"$LOG\" 2>&1 </dev/null & pid=$!; echo $pid; exec >&-; read -r line; kill -9 $pid; wait"
        let leash = try Self.pipe()
        let output = try Self.pipe()
        let errors = open("/dev/null", O_WRONLY | O_CLOEXEC)
        let words = ["/bin/sh", "-c", script, "etcd-bed"] + command
        let variables = ["LOG=\(log)", "PATH=/usr/bin:/bin"]
        let argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        let envp: [UnsafeMutablePointer<CChar>?] = variables.map { strdup($0) } + [nil]
        defer {
            for pointer in argv + envp { free(pointer) }
            for descriptor in [leash.read, output.read, errors] { close(descriptor) }
        }
        shell = clinux_spawn_piped("/bin/sh", argv, envp, leash.read, output.write, errors)
        self.leash = leash.write
        close(output.write)
        guard shell > 0 else {
            close(leash.write)
            throw EtcdBedError(
                "\(command.joined(separator: " ")) cannot be started: \(String(cString: strerror(-shell)))")
        }
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = read(output.read, &bytes, bytes.count)
        let text = String(decoding: bytes.prefix(max(0, count)).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        guard let number = pid_t(text) else {
            close(leash.write)
            throw EtcdBedError("\(command.joined(separator: " ")) cannot be started")
        }
        pid = number
    }

    /// Sends a signal to the program.
    func signal(_ number: Int32) { _ = kill(pid, number) }

    /// Kills the program and waits for its end.
    func end() {
        _ = kill(pid, SIGCONT)
        close(leash)
        var code: Int32 = 0
        while waitpid(shell, &code, 0) < 0, errno == EINTR {}
    }

    private static func pipe() throws(EtcdBedError) -> (read: Int32, write: Int32) {
        var ends: [Int32] = [0, 0]
        let code = clinux_pipe(&ends)
        // The shell waits in its read.
        guard code == 0, fcntl(ends[0], F_SETFL, 0) == 0 else {
            throw EtcdBedError("no pipe: \(String(cString: strerror(code == 0 ? errno : code)))")
        }
        return (ends[0], ends[1])
    }
}

/// Why a cluster under test does not run.
public struct EtcdBedError: Error, CustomStringConvertible {
    /// What went wrong.
    public let description: String

    init(_ description: String) { self.description = description }
}
