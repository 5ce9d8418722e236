import CLinux
import Glibc
import Primitives

/// A program that is run to its end, with limits on its time and its output.
///
/// It gets a session of its own, default signals and none blocked, `/dev/null` or a pipe as input, no descriptor of this
/// process, and no variables but `PATH`, `LC_ALL=C` and those that are named here. Secrets go by variables, by its input
/// or by files, never by arguments, which everybody on the host can read.
public struct ProgramRun: Sendable {
    /// The program's absolute path, or its name, which is looked for where Debian keeps programs.
    public var program: String
    /// What it is told, without its own name.
    public var arguments: [String]
    /// Further variables.
    public var variables: [String: String]
    /// Variables that hold secrets.
    public var secrets: [String: SecretText]
    /// What it reads from its standard input, at most `inputMax` bytes; nil: nothing.
    public var input: SecretText?
    /// After this its whole session is killed.
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

    /// The most bytes of input: what a pipe takes before anybody reads (pipe(7)).
    public static let inputMax = 4096

    /// Where Debian keeps programs.
    public static let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"]

    /// A run that is yet to be made.
    public init(
        _ program: String, _ arguments: [String], variables: [String: String] = [:],
        secrets: [String: SecretText] = [:], input: SecretText? = nil, patience: Duration = .seconds(30),
        outputMax: Int = 4 << 20
    ) {
        self.program = program
        self.arguments = arguments
        self.variables = variables
        self.secrets = secrets
        self.input = input
        self.patience = patience
        self.outputMax = outputMax
    }

    /// Runs it on a thread of its own; it is killed when the task is cancelled.
    ///
    /// Throws `ProgramError` when it cannot be started, takes too long, says too much or was cancelled; how it ended
    /// otherwise is in the outcome.
    public func finish() async throws(ProgramError) -> Outcome {
        let stop = try ProgramStop(name)
        let result: Result<Outcome, ProgramError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let code = OwnThread.start {
                    let result: Result<Outcome, ProgramError>
                    do throws(ProgramError) { result = .success(try run(until: stop)) } catch {
                        result = .failure(error)
                    }
                    continuation.resume(returning: result)
                }
                if code != 0 { continuation.resume(returning: .failure(.system(name, code))) }
            }
        } onCancel: {
            stop.stop()
        }
        return try result.get()
    }

    /// Runs it and waits; blocks the thread, until `stop` is told to stop at the latest. Throws as `finish()`.
    public func run(until stop: ProgramStop? = nil) throws(ProgramError) -> Outcome {
        let output = try Pipe(name)
        let errors = try Pipe(name)
        let feed = try input.map { (text) throws(ProgramError) in try Pipe(name, holding: text, inputMax: Self.inputMax)
        }
        let pid = try spawn(input: feed?.read ?? -1, output: output.write, errors: errors.write)
        output.closeWrite()
        errors.closeWrite()
        let process = clinux_pidfd_open(pid)
        guard process >= 0 else {
            Self.kill(pid, process)
            throw .system(name, -process)
        }
        defer { close(process) }
        var reader = Reader(limit: outputMax)
        let deadline = ContinuousClock.now + patience
        while true {
            let left = (deadline - ContinuousClock.now).milliseconds
            guard left > 0 else {
                Self.kill(pid, process)
                throw .timeout(name, patience)
            }
            var polled = [
                output.polled, errors.polled, pollfd(fd: process, events: Int16(POLLIN), revents: 0),
                pollfd(fd: stop?.end ?? -1, events: Int16(POLLIN), revents: 0),
            ]
            let count = poll(&polled, nfds_t(polled.count), Int32(clamping: left))
            if count < 0, errno != EINTR {
                let code = errno
                Self.kill(pid, process)
                throw .system(name, code)
            }
            guard count > 0 else { continue }
            let hasEnded = polled[2].revents != 0
            reader.read(output, into: \.output)
            reader.read(errors, into: \.errors)
            if reader.isTooMuch {
                Self.kill(pid, process)
                throw .tooMuchOutput(name, outputMax)
            }
            if hasEnded { break }
            if polled[3].revents != 0 {
                Self.kill(pid, process)
                throw .cancelled(name)
            }
        }
        var code: Int32 = 0
        while waitpid(pid, &code, 0) < 0 {
            guard errno == EINTR else { throw .system(name, errno) }
        }
        reader.read(output, into: \.output)
        reader.read(errors, into: \.errors)
        let signal = code & 0x7F
        return Outcome(
            status: signal == 0 ? (code >> 8) & 0xFF : 128 + signal, output: reader.output, errors: reader.errors)
    }

    private var name: String { program.split(separator: "/").last.map(String.init) ?? program }

    /// The path of the program that is called `program`, or has that path; nil: no such name is in `folders`.
    public static func path(of program: String) -> String? {
        if program.hasPrefix("/") { return program }
        return folders.map { "\($0)/\(program)" }.first { access($0, X_OK) == 0 }
    }

    private func spawn(input: Int32, output: Int32, errors: Int32) throws(ProgramError) -> pid_t {
        guard let path = Self.path(of: program) else { throw .notInstalled(name) }
        var environment = ["PATH": Self.folders.joined(separator: ":"), "LC_ALL": "C"]
        environment.merge(variables) { $1 }
        for (name, secret) in secrets { environment[name] = secret.revealed }
        let argv: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        let envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0)=\($1)") } + [nil]
        defer {
            for case .some(let text) in envp { explicit_bzero(text, strlen(text)) }
            for pointer in argv + envp { free(pointer) }
        }
        let pid = clinux_spawn_piped(path, argv, envp, input, output, errors)
        guard pid > 0 else { throw -pid == ENOENT ? .notInstalled(name) : .system(name, -pid) }
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

/// Ends a run before its time, from any thread.
public final class ProgramStop: Sendable {
    /// Becomes readable when the run shall end.
    fileprivate let end: Int32
    private let write: Int32

    /// One for a run of the program `name`. Throws `ProgramError.system` when there are no descriptors left.
    public init(_ name: String) throws(ProgramError) {
        var ends: [Int32] = [0, 0]
        let code = clinux_pipe(&ends)
        guard code == 0 else { throw .system(name, code) }
        (end, write) = (ends[0], ends[1])
    }

    /// Has the run end, now or as soon as it begins.
    public func stop() {
        var byte: UInt8 = 1
        _ = Glibc.write(write, &byte, 1)
    }

    deinit {
        close(end)
        close(write)
    }
}

/// Why a program has no outcome.
public enum ProgramError: UserFacingError, Hashable {
    /// There is no such program.
    case notInstalled(String)
    /// It took longer than it may.
    case timeout(String, Duration)
    /// It wrote more than this many bytes.
    case tooMuchOutput(String, Int)
    /// The task that waited for it was cancelled.
    case cancelled(String)
    /// The system refused, with this errno.
    case system(String, Int32)

    public var publicMessage: String { "Could not run \(program): \(why)." }

    /// The program's name.
    public var program: String {
        switch self {
        case .notInstalled(let name), .timeout(let name, _), .tooMuchOutput(let name, _), .cancelled(let name),
            .system(let name, _):
            name
        }
    }

    /// The cause alone, for a sentence.
    public var why: String {
        switch self {
        case .notInstalled: "it is not installed"
        case .timeout(_, let patience):
            patience < .seconds(1)
                ? "it took more than \(patience.milliseconds) ms" : "it took more than \(patience.components.seconds) s"
        case .tooMuchOutput(_, let count): "it wrote more than \(count) bytes"
        case .cancelled: "it was broken off"
        case .system(_, let code): String(cString: strerror(code))
        }
    }
}
