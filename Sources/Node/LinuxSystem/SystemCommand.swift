import CLinux
import Glibc
import Primitives

/// A program that is run to its end, with limits on its time and its output.
///
/// It gets a session of its own, default signals, `/dev/null` as input, and no descriptor of this process.
public struct SystemCommand: Hashable, Sendable {
    /// The program's absolute path.
    public var program: String
    /// What it is told, without its own name.
    public var arguments: [String]
    /// After this it is killed.
    public var patience: Duration
    /// The most bytes that are read of its output, and of its errors.
    public var outputMax: Int

    /// What came of it.
    public struct Outcome: Hashable, Sendable {
        /// The exit code; 128 and the signal's number when a signal ended it.
        public var status: Int32
        /// What it wrote to its standard output.
        public var output: [UInt8]
        /// What it wrote to its standard error.
        public var errors: [UInt8]

        /// The errors, or without any the output, as one line fit to print.
        public var words: String {
            let text = String(decoding: errors.isEmpty ? output : errors, as: UTF8.self)
            let lines = text.split(whereSeparator: \.isNewline).map { $0.drop { $0 == " " } }.filter { !$0.isEmpty }
            return lines.joined(separator: " ").printable(limit: 400)
        }
    }

    /// A command.
    public init(
        _ program: String, _ arguments: [String], patience: Duration = .seconds(30), outputMax: Int = 4 << 20
    ) {
        self.program = program
        self.arguments = arguments
        self.patience = patience
        self.outputMax = outputMax
    }

    /// Runs it and waits; blocks the thread. Throws `SystemError` when it cannot be started, takes too long or says
    /// too much; how it ended otherwise is in the outcome.
    public func run() throws(SystemError) -> Outcome {
        let name = program.split(separator: "/").last.map(String.init) ?? program
        let output = try Pipe(name)
        let errors = try Pipe(name)
        let pid = try spawn(output: output.write, errors: errors.write, name)
        output.closeWrite()
        errors.closeWrite()
        let process = clinux_pidfd_open(pid)
        defer { if process >= 0 { close(process) } }
        var reader = Reader(limit: outputMax)
        let deadline = ContinuousClock.now + patience
        while process >= 0 {
            let left = (deadline - ContinuousClock.now).milliseconds
            guard left > 0 else {
                Self.kill(pid, process)
                throw SystemError("run \(name)", errno: 0, detail: "it took more than \(patience.components.seconds) s")
            }
            var polled = [output.polled, errors.polled, pollfd(fd: process, events: Int16(POLLIN), revents: 0)]
            let count = poll(&polled, nfds_t(polled.count), Int32(clamping: left))
            if count < 0, errno != EINTR {
                let code = errno
                Self.kill(pid, process)
                throw SystemError("wait for \(name)", errno: code)
            }
            let hasEnded = polled[2].revents != 0
            reader.read(output, into: \.output)
            reader.read(errors, into: \.errors)
            if reader.isTooMuch {
                Self.kill(pid, process)
                throw SystemError("run \(name)", errno: 0, detail: "it wrote more than \(outputMax) bytes")
            }
            if hasEnded { break }
        }
        var code: Int32 = 0
        while waitpid(pid, &code, 0) < 0 {
            guard errno == EINTR else { throw SystemError("wait for \(name)", errno: errno) }
        }
        reader.read(output, into: \.output)
        reader.read(errors, into: \.errors)
        let signal = code & 0x7F
        return Outcome(
            status: signal == 0 ? (code >> 8) & 0xFF : 128 + signal, output: reader.output, errors: reader.errors)
    }

    private func spawn(output: Int32, errors: Int32, _ name: String) throws(SystemError) -> pid_t {
        let words = [program] + arguments
        let environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "LVM_SUPPRESS_FD_WARNINGS=1"]
        let argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        let envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        let pid = clinux_spawn_piped(program, argv, envp, output, errors)
        guard pid > 0 else { throw SystemError("start \(name)", errno: -pid) }
        return pid
    }

    /// Ends the whole session, and collects the program unless the kernel holds it up.
    private static func kill(_ pid: pid_t, _ process: Int32) {
        _ = Glibc.kill(-pid, SIGKILL)
        _ = Glibc.kill(pid, SIGKILL)
        var polled = pollfd(fd: process, events: Int16(POLLIN), revents: 0)
        _ = poll(&polled, 1, 2000)
        var code: Int32 = 0
        _ = waitpid(pid, &code, WNOHANG)
    }
}

/// A pipe that closes with its object; the reading end does not block.
private final class Pipe {
    let read: Int32
    private(set) var write: Int32

    init(_ name: String) throws(SystemError) {
        var ends: [Int32] = [0, 0]
        let code = clinux_pipe(&ends)
        guard code == 0 else { throw SystemError("start \(name)", errno: code) }
        (read, write) = (ends[0], ends[1])
    }

    /// Set at the end of what is written.
    var isAtEnd = false

    var polled: pollfd { pollfd(fd: isAtEnd ? -1 : read, events: Int16(POLLIN), revents: 0) }

    func closeWrite() {
        if write >= 0 { close(write) }
        write = -1
    }

    deinit {
        close(read)
        closeWrite()
    }
}

private struct Reader {
    let limit: Int
    var output: [UInt8] = []
    var errors: [UInt8] = []

    init(limit: Int) { self.limit = limit }

    var isTooMuch: Bool { output.count > limit || errors.count > limit }

    mutating func read(_ pipe: Pipe, into target: WritableKeyPath<Reader, [UInt8]>) {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while !pipe.isAtEnd, self[keyPath: target].count <= limit {
            let count = Glibc.read(pipe.read, &buffer, buffer.count)
            if count < 0 {
                if errno == EINTR { continue }
                if errno != EAGAIN { pipe.isAtEnd = true }
                return
            }
            if count == 0 { pipe.isAtEnd = true }
            self[keyPath: target] += buffer[0..<count]
        }
    }
}
