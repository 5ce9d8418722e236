import CLinux
import Glibc
import LinuxSystem
import Primitives
import ProgramRuns

/// One HAProxy in master-worker mode that outlives the agent: a unit of systemd where that runs, else a process of its
/// own.
///
/// All calls block, on the role's own thread (`RoleWorker`), and none longer than `patience` and two runs of programs:
/// HAProxy tells nobody when it has taken a configuration over, so its socket is asked until it has.
struct HAProxyService: Hashable, Sendable {
    /// The program.
    var program = "/usr/sbin/haproxy"
    /// Where the configuration is kept.
    var directory: String
    /// Where its sockets and its PID are.
    var runtime: String
    /// systemd's unit; nil: a process of its own.
    var unit: String?
    /// How long it may take to start, and to take a configuration over.
    var patience: Duration = .seconds(15)

    /// Microseconds between two looks.
    private static let pause: UInt32 = 20_000

    /// The configuration that it runs with.
    var configurationPath: String { "\(directory)/haproxy.cfg" }
    /// The socket for statistics.
    var socketPath: String { "\(runtime)/stats.sock" }
    private var pidPath: String { "\(runtime)/haproxy.pid" }

    /// The one of this node.
    static func ofNode() -> HAProxyService {
        HAProxyService(
            directory: "/state/muster/haproxy", runtime: "/run/muster/haproxy",
            unit: access("/run/systemd/system", F_OK) == 0 ? "muster-haproxy.service" : nil)
    }

    /// The master's PID; nil when it does not run.
    var master: pid_t? {
        guard let text = SystemFile.text(pidPath, limit: 64), let pid = pid_t(text.prefix { $0.isNumber }), pid > 1,
            let line = SystemFile.bytes("/proc/\(pid)/cmdline", limit: 8192)
        else { return nil }
        let words = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        return words.contains(program) && words.contains(configurationPath) ? pid : nil
    }

    /// The mark of the configuration that the running worker has; nil when none answers.
    var runningMark: String? {
        guard master != nil, let answer = try? HAProxySocket.ask("show info", at: socketPath) else { return nil }
        let lines = String(decoding: answer, as: UTF8.self).split(separator: "\n")
        return lines.first { $0.hasPrefix("description: ") }.map { String($0.dropFirst("description: ".count)) }
    }

    /// Has HAProxy run with `text`, whose mark is `mark`. A running one takes it over without losing a connection.
    ///
    /// Throws `SystemError`: a text that HAProxy refuses is not used, and what ran goes on as it was.
    func use(_ text: String, mark: String) throws(SystemError) {
        for folder in [directory, runtime] where !SystemFile.makeDirectory(folder) {
            throw SystemError("make \(folder)", errno: errno)
        }
        if SystemFile.bytes(configurationPath, limit: 1 << 20) != Array(text.utf8) {
            let candidate = "\(configurationPath).candidate"
            try SystemFile.replace(candidate, content: Array(text.utf8), mode: 0o600)
            defer { unlink(candidate) }
            let check = try ProgramRun(program, ["-c", "-f", candidate]).outcome()
            guard check.status == 0 else {
                throw SystemError(
                    "use the new configuration (what ran before goes on)", errno: 0, detail: Self.alerts(check))
            }
            guard rename(candidate, configurationPath) == 0 else {
                throw SystemError("write \(configurationPath)", errno: errno)
            }
        }
        if let master {
            guard kill(master, SIGUSR2) == 0 else { throw SystemError("reload HAProxy", errno: errno) }
        } else {
            try start()
        }
        let deadline = ContinuousClock.now + patience
        while runningMark != mark {
            guard ContinuousClock.now < deadline else {
                throw SystemError(
                    master == nil ? "start HAProxy" : "have HAProxy take its configuration over", errno: 0,
                    detail: "it has not done so after \(patience.components.seconds) s; another program may have its "
                        + "port. See its messages: journalctl -u muster-haproxy")
            }
            usleep(Self.pause)
        }
    }

    /// Ends it; nothing when it does not run.
    func stop() throws(SystemError) {
        if let unit {
            guard master != nil else { return }
            let outcome = try ProgramRun("/usr/bin/systemctl", ["stop", unit]).outcome()
            guard outcome.status == 0 else { throw SystemError("stop \(unit)", errno: 0, detail: outcome.words) }
        } else if let master {
            _ = kill(master, SIGTERM)
            let deadline = ContinuousClock.now + patience
            while self.master != nil {
                guard ContinuousClock.now < deadline else {
                    throw SystemError("stop HAProxy", errno: 0, detail: "it still runs as process \(master)")
                }
                usleep(Self.pause)
            }
        }
        // So that systemd does not start it at the next boot.
        unlink(configurationPath)
    }

    private func start() throws(SystemError) {
        let arguments: (program: String, words: [String]) =
            unit.map { ("/usr/bin/systemctl", ["restart", $0]) }
            ?? (program, ["-W", "-D", "-f", configurationPath, "-p", pidPath])
        let outcome = try ProgramRun(arguments.program, arguments.words, patience: patience).outcome()
        guard outcome.status == 0 else { throw SystemError("start HAProxy", errno: 0, detail: Self.alerts(outcome)) }
    }

    /// HAProxy's alerts without its notices.
    private static func alerts(_ outcome: ProgramRun.Outcome) -> String {
        let lines = String(decoding: outcome.errors + outcome.output, as: UTF8.self).split(separator: "\n")
        let alerts = lines.filter { $0.hasPrefix("[ALERT]") }.map { line in
            line.drop { $0 != ":" }.drop { $0 == ":" || $0 == " " }
        }
        return alerts.isEmpty ? outcome.words : alerts.joined(separator: " ").printable(limit: 400)
    }
}
