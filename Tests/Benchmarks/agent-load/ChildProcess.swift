import FoundationEssentials
import Glibc
import Primitives

/// This program, started again as a client, with pipes to its standard input and output.
final class ChildProcess {
    let processID: pid_t
    private let input: Int32
    private let output: Int32
    private var buffer: [UInt8] = []
    private var hasEnded = false

    init(arguments: [String]) throws {
        var toChild: [Int32] = [0, 0]
        var fromChild: [Int32] = [0, 0]
        guard pipe(&toChild) == 0, pipe(&fromChild) == 0 else { throw LoadError("no pipe") }
        for descriptor in toChild + fromChild { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        _ = fcntl(fromChild[0], F_SETFL, O_NONBLOCK)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, toChild[0], STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, fromChild[1], STDOUT_FILENO)
        var words: [UnsafeMutablePointer<CChar>?] = (["agent-load"] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, "/proc/self/exe", &actions, nil, &words, environ)
        close(toChild[0])
        close(fromChild[1])
        guard code == 0 else { throw LoadError("the clients cannot be started: \(String(cString: strerror(code)))") }
        processID = child
        input = toChild[1]
        output = fromChild[0]
    }

    deinit { end() }

    /// Tells the client to connect.
    func go() { _ = write(input, "\n", 1) }

    /// The next report; throws when it does not come in time, or tells of a failure.
    func report(_ event: ClientReport.Event, within limit: Duration) async throws -> ClientReport {
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            if let newline = buffer.firstIndex(of: 10) {
                let report = try JSONDecoder().decode(ClientReport.self, from: Data(buffer[..<newline]))
                buffer.removeFirst(newline + 1)
                guard report.event == event else {
                    throw LoadError("\(event) expected, \(report.event) came: \(report.message)")
                }
                return report
            }
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = read(output, &bytes, bytes.count)
            if count > 0 {
                buffer += bytes[0..<count]
            } else {
                guard count < 0, errno == EAGAIN else { throw LoadError("the clients ended before \(event)") }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        throw LoadError("no \(event) within \(limit)")
    }

    /// Makes the process stand still, as a machine does whose power is cut: its sockets stay, nobody answers.
    func freeze() { kill(processID, SIGSTOP) }

    /// Kills the process and waits for it.
    func end() {
        guard !hasEnded else { return }
        hasEnded = true
        kill(processID, SIGKILL)
        var status: Int32 = 0
        waitpid(processID, &status, 0)
        close(input)
        close(output)
    }
}
