import Glibc
import Primitives

/// Programs of the distribution that are run to their end.
public enum Program {
    /// How a program ended.
    public struct Outcome: Sendable, Hashable {
        /// The exit code; 128 and the signal's number when a signal ended it.
        public var status: Int32
        /// What it wrote to its output and error output, at most 64 KiB, without blanks at the end.
        public var output: String

        /// An end.
        public init(status: Int32, output: String) {
            self.status = status
            self.output = output
        }
    }

    /// The output that is kept.
    private static let outputMax = 65_536

    /// Runs the program at `path` with no input, and waits for its end on this thread; it is killed when that takes
    /// longer than `limit`. Throws `SystemError`.
    public static func run(
        _ path: String, _ arguments: [String], within limit: Duration
    ) throws(SystemError) -> Outcome {
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else {
            throw SystemError("make a pipe for \(path)", errno: errno)
        }
        defer { close(ends[0]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
        var words: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        defer { words.forEach { free($0) } }
        var child = pid_t()
        let failure = posix_spawn(&child, path, &actions, nil, &words, environ)
        close(ends[1])
        guard failure == 0 else { throw SystemError("run \(path)", errno: failure) }
        let (output, isOver) = read(ends[0], until: ContinuousClock.now + limit)
        if !isOver { kill(child, SIGKILL) }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        guard isOver else {
            throw SystemError("run \(path)", errno: ETIMEDOUT, detail: "it took longer than \(limit)")
        }
        let signal = status & 0x7F
        return Outcome(status: signal == 0 ? status >> 8 & 0xFF : 128 + signal, output: text(output))
    }

    /// What comes from the pipe until all its writers are gone; false when that took too long.
    private static func read(_ descriptor: Int32, until deadline: ContinuousClock.Instant) -> ([UInt8], Bool) {
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let left = (deadline - ContinuousClock.now).milliseconds
            guard left > 0 else { return (output, false) }
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&waiting, 1, Int32(min(left, 60_000))) > 0 else { continue }
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return (output, true) }
            output += buffer[0..<count].prefix(max(0, outputMax - output.count))
        }
    }

    private static func text(_ bytes: [UInt8]) -> String {
        let end = bytes.lastIndex { $0 > 0x20 }.map { $0 + 1 } ?? 0
        return String(decoding: bytes[..<end], as: UTF8.self)
    }
}
