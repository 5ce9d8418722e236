import CLinux
import Glibc
import LinuxSystem
import Primitives
import ProgramRuns

/// One program that outlives the agent, and that the next agent finds again: a unit of systemd where that runs, else a
/// process of its own.
///
/// All calls block, on the role's own thread (`RoleWorker`), none longer than `patience` and one run of `systemctl`.
struct AdoptedService: Hashable, Sendable {
    /// What people call it, for example `HAProxy`.
    var title: String
    /// The program's path.
    var program: String
    /// What it is told where no unit starts it.
    var arguments: [String]
    /// What its command line holds beside the program and no other program's does: the path of its configuration.
    var sign: String
    /// Where its PID, its sockets and, without systemd, its messages are.
    var runtime: String
    /// systemd's unit; nil: a process of its own.
    var unit: String?
    /// Whether it leaves the foreground and writes its PID itself.
    var detaches = false
    /// Further variables of a process of its own; a unit has them from a file.
    var variables: [String: String] = [:]
    /// How long it may take to start, to do what it is told, and to end.
    var patience: Duration = .seconds(15)

    /// The variable by which a program that cannot be asked tells which configuration it was started with.
    static let markVariable = "MUSTER_MARK"
    /// Microseconds between two looks.
    static let pause: UInt32 = 20_000
    /// The most bytes of a file of messages; it begins anew when the program is started after that.
    private static let messagesMax = 8 << 20

    /// Where its PID is.
    var pidPath: String { "\(runtime)/pid" }
    /// Where its messages are without systemd.
    var messagesPath: String { "\(runtime)/messages" }

    /// Whether systemd runs this host.
    static var hasSystemd: Bool { access("/run/systemd/system", F_OK) == 0 }

    /// Its PID; nil when it does not run.
    var process: pid_t? {
        guard let text = SystemFile.text(pidPath, limit: 64), let pid = pid_t(text.prefix { $0.isNumber }), pid > 1
        else {
            return nil
        }
        var code: Int32 = 0
        // One that this agent has started and that has ended stays a zombie until it is asked for.
        if waitpid(pid, &code, WNOHANG) == pid { return nil }
        guard let line = SystemFile.bytes("/proc/\(pid)/cmdline", limit: 16_384) else { return nil }
        let words = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        return words.contains(program) && words.contains { $0.contains(sign) } ? pid : nil
    }

    /// The mark that it was started with; nil when it does not run or was started by somebody else.
    var startedMark: String? {
        guard let process, let block = SystemFile.bytes("/proc/\(process)/environ", limit: 1 << 20) else { return nil }
        let prefix = Array("\(Self.markVariable)=".utf8)
        return block.split(separator: 0).first { $0.starts(with: prefix) }
            .map { String(decoding: $0.dropFirst(prefix.count), as: UTF8.self) }
    }

    /// The same service, started with `mark`.
    func marked(_ mark: String) -> AdoptedService {
        var copy = self
        copy.variables[Self.markVariable] = mark
        return copy
    }

    /// Makes `folders` and its own.
    func makeFolders(_ folders: [String]) throws(SystemError) {
        for folder in folders + [runtime] where !SystemFile.makeDirectory(folder) {
            throw SystemError("make \(folder)", errno: errno)
        }
    }

    /// Starts it; a unit that runs is started anew. Throws `SystemError` with its own last words when it does not stay.
    func start() throws(SystemError) {
        if let unit {
            try systemctl("restart", unit)
        } else if detaches {
            let outcome = try ProgramRun(program, arguments, variables: variables, patience: patience).outcome()
            guard outcome.status == 0 else {
                throw SystemError("start \(title)", errno: 0, detail: Self.alerts(outcome))
            }
        } else {
            try spawn()
        }
    }

    /// Has it run, and goes on running for `stay`: for programs that end soon after the start when something is amiss.
    func startAndWatch(for stay: Duration = .seconds(1)) throws(SystemError) {
        try start()
        let end = ContinuousClock.now + stay
        // What systemd starts writes its PID a moment later.
        var hasRun = unit == nil
        while ContinuousClock.now < end || !hasRun {
            if process != nil {
                hasRun = true
            } else if hasRun || ContinuousClock.now >= end + patience {
                throw SystemError("start \(title)", errno: 0, detail: lastWords)
            }
            usleep(Self.pause)
        }
    }

    /// Sends a signal; nothing when it does not run.
    func signal(_ number: Int32, to what: String) throws(SystemError) {
        guard let process else { return }
        guard kill(process, number) == 0 else { throw SystemError("\(what) \(title)", errno: errno) }
    }

    /// Ends it; nothing when it does not run.
    func stop() throws(SystemError) {
        guard let process else { return }
        if let unit { return try systemctl("stop", unit) }
        _ = kill(process, SIGTERM)
        try wait("stop", detail: "it still runs as process \(process)") { self.process == nil }
        unlink(pidPath)
    }

    /// Looks until `isDone`, for `patience` at most.
    func wait(_ what: String, detail: String, until isDone: () -> Bool) throws(SystemError) {
        let deadline = ContinuousClock.now + patience
        while !isDone() {
            guard ContinuousClock.now < deadline else {
                throw SystemError("\(what) \(title)", errno: 0, detail: detail)
            }
            usleep(Self.pause)
        }
    }

    /// The end of its messages in one line, or where they are.
    var lastWords: String {
        if let unit { return "see its messages: journalctl -u \(unit)" }
        let bytes = SystemFile.bytes(messagesPath, limit: Self.messagesMax * 2) ?? []
        let lines = String(decoding: bytes.suffix(2000), as: UTF8.self).split(separator: "\n").suffix(3)
        return lines.isEmpty ? "it said nothing" : lines.joined(separator: " ").printable(limit: 400)
    }

    private func systemctl(_ verb: String, _ unit: String) throws(SystemError) {
        let outcome = try ProgramRun("/usr/bin/systemctl", [verb, unit], patience: patience).outcome()
        guard outcome.status == 0 else { throw SystemError("\(verb) \(unit)", errno: 0, detail: outcome.words) }
    }

    private func spawn() throws(SystemError) {
        var status = stat()
        let isLong = stat(messagesPath, &status) == 0 && status.st_size > Self.messagesMax
        let messages = open(
            messagesPath, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (isLong ? O_TRUNC : 0), 0o600)
        guard messages >= 0 else { throw SystemError("write \(messagesPath)", errno: errno) }
        defer { close(messages) }
        let environment = variables.merging(["PATH": ProgramRun.folders.joined(separator: ":"), "LC_ALL": "C"]) {
            first, _ in first
        }
        let argv: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        let envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0)=\($1)") } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        let pid = clinux_spawn_detached(program, argv, envp, runtime, messages, [], 0, 0)
        guard pid > 0 else {
            throw SystemError(
                "start \(title)", errno: -pid, detail: -pid == ENOENT ? "\(program) is not installed" : nil)
        }
        try SystemFile.replace(pidPath, content: Array("\(pid)\n".utf8), mode: 0o600)
    }

    /// HAProxy's alerts without its notices, or all that a program said.
    static func alerts(_ outcome: ProgramRun.Outcome) -> String {
        let lines = String(decoding: outcome.errors + outcome.output, as: UTF8.self).split(separator: "\n")
        let alerts = lines.filter { $0.hasPrefix("[ALERT]") }.map { line in
            line.drop { $0 != ":" }.drop { $0 == ":" || $0 == " " }
        }
        return alerts.isEmpty ? outcome.words : alerts.joined(separator: " ").printable(limit: 400)
    }
}
