import CLinux
import FoundationEssentials
import Glibc
import Primitives

/// A program of the rack that runs detached from whoever started it and dies with the rack at the latest.
///
/// The process is known by PID and start time, so that a PID that was given to another process is never signalled.
public struct RackProcess: Sendable, Hashable {
    /// The name it was started under.
    public let name: String
    /// Its PID outside the rack's PID namespace.
    public let pid: Int32
    /// The file that standard output and standard error are appended to.
    public let logFile: String
    let startTime: UInt64

    /// A process that runs already; nil when there is none of that number.
    package init?(name: String, running pid: Int32, logFile: String = "") {
        guard let start = Self.startTime(ofRunning: pid) else { return nil }
        self.init(name: name, pid: pid, logFile: logFile, startTime: start)
    }

    init(name: String, pid: Int32, logFile: String, startTime: UInt64) {
        (self.name, self.pid, self.logFile, self.startTime) = (name, pid, logFile, startTime)
    }

    /// Whether it has not ended.
    public var isRunning: Bool { Self.startTime(ofRunning: pid) == startTime }

    /// Sends `number` (for example `SIGKILL`); returns false when the process has already ended.
    @discardableResult
    public func signal(_ number: Int32) -> Bool {
        let descriptor = clinux_pidfd_open(pid)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        // The descriptor stands for one process for good: what is checked now is what is signalled.
        return isRunning && clinux_pidfd_signal(descriptor, number) == 0
    }

    /// Waits until it has ended; throws `RackError.timedOut` when it still runs after `limit`.
    public func waitForEnd(within limit: Duration = .seconds(30)) async throws {
        try await waitUntil("The end of \(name) (PID \(pid))", within: limit, hint: "Its log is \(logFile).") {
            !isRunning
        }
    }

    /// The last lines of its log.
    public func logTail(characters: Int = 1500) -> String {
        let data = FileManager.default.contents(atPath: logFile) ?? Data()
        return Commands.tail(String(decoding: data.suffix(characters * 2), as: UTF8.self), limit: characters)
    }

    /// Field 22 of /proc/PID/stat (proc(5)), nil when there is no such process or it is a zombie.
    package static func startTime(ofRunning pid: Int32) -> UInt64? {
        guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { return nil }
        let text = String(decoding: data, as: UTF8.self)
        // The second field, the program's name, may hold anything; the last parenthesis ends it.
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X" else { return nil }
        return UInt64(fields[19])
    }
}

extension RackProcess: Codable {}

/// Polls `condition` until it holds, with `pause` between; throws `RackError.timedOut` after `limit`.
package func waitUntil(
    _ what: @autoclosure () -> String, within limit: Duration, hint: @autoclosure () -> String = "",
    every pause: Duration = .milliseconds(25), _ condition: () async throws -> Bool
) async throws {
    let clock = ContinuousClock()
    let deadline = clock.now.advanced(by: limit)
    while try await !condition() {
        guard clock.now < deadline else { throw RackError.timedOut(what: what(), after: limit, hint: hint()) }
        try await Task.sleep(for: pause)
    }
}

/// Starts detached programs.
package enum Launch {
    /// Namespaces of a process that a program can be started in.
    package enum Namespace: String, CaseIterable {
        case net, pid, mnt
    }

    /// Starts `command` in the given namespaces of process `anchor`, or, without one, in new ones of all kinds.
    package static func detached(
        _ command: [String], name: String, environment: [String: String], directory: String, logFile: String,
        inside anchor: Int32?, _ namespaces: [Namespace]
    ) throws(RackError) -> RackProcess {
        guard let program = Commands.find(command[0]) else {
            throw .failed("There is no program '\(command[0].printable(limit: 200))' to run.")
        }
        let output = open(logFile, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard output >= 0 else { throw .failed("\(logFile) cannot be written: \(text(errno)).") }
        defer { close(output) }
        var joined: [Int32] = []
        defer { for descriptor in joined { close(descriptor) } }
        for namespace in namespaces {
            guard let anchor else { break }
            let descriptor = open("/proc/\(anchor)/ns/\(namespace.rawValue)", O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw .failed("The rack's namespaces are gone: \(text(errno)).") }
            joined.append(descriptor)
        }
        let pid = withStrings(command) { arguments in
            withStrings(environment.map { "\($0)=\($1)" }) { variables in
                clinux_spawn_detached(
                    program, arguments, variables, directory, output, joined, Int32(joined.count), anchor == nil ? 1 : 0
                )
            }
        }
        guard pid > 0 else { throw .failed("`\(Commands.line(command))` cannot be started: \(text(-pid)).") }
        return RackProcess(
            name: name, pid: pid, logFile: logFile, startTime: RackProcess.startTime(ofRunning: pid) ?? 0)
    }

    /// This process's environment.
    package static var environment: [String: String] { ProcessInfo.processInfo.environment }

    private static func text(_ number: Int32) -> String { String(cString: strerror(number)) }

    private static func withStrings<Result>(
        _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
        defer { for pointer in pointers { free(pointer) } }
        pointers.append(nil)
        return pointers.withUnsafeBufferPointer { body($0.baseAddress!) }
    }
}
