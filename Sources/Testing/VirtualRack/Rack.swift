import FoundationEssentials
import Glibc
import Primitives

/// A virtual rack: machines of QEMU under a libvirtd of its own, with sushy-tools as their Redfish BMC, on a bridge in
/// a network namespace of its own.
///
/// All of its processes live in one PID namespace whose init, the anchor, also holds the network and mount namespaces:
/// when the anchor is killed, the kernel ends the processes and takes away bridge, taps and mounts. A value of this type
/// holds no state but paths, so any number of programs may work on the same rack; `up` and `down` exclude each other.
public struct Rack: Sendable {
    /// What the rack is made of.
    public let file: RackFile
    /// The absolute path of the directory with everything the rack writes.
    public let stateDirectory: String
    /// How it is brought up.
    public let options: Options

    /// Choices that are not part of the rack.
    public struct Options: Sendable {
        /// The Python environment for sushy-tools, made when it is not there.
        public var venv: String
        /// The pinned list of Python packages that the environment is made of.
        public var requirements: String
        /// What executes the machines; nil lets `KVMProbe` decide.
        public var accelerator: Accelerator?
        /// Called with a few words before every step that takes long.
        public var progress: @Sendable (String) -> Void

        /// Choices for a source tree at `package`, with the environment in its `.cache`.
        public init(package: String) {
            venv = "\(package)/.cache/sushy-venv"
            requirements = "\(package)/requirements.txt"
            accelerator = nil
            progress = { _ in }
        }
    }

    /// A rack whose files are under `stateDirectory`; throws `RackError.failed` for a directory that cannot serve.
    public init(file: RackFile, stateDirectory: String, options: Options) throws(RackError) {
        self.file = file
        self.options = options
        self.stateDirectory = try Self.checked(stateDirectory)
    }

    var layout: RackLayout { RackLayout(root: stateDirectory) }

    /// Makes the path absolute and refuses what could break the files it is written into, or be hidden inside the rack.
    static func checked(_ path: String) throws(RackError) -> String {
        let working = FileManager.default.currentDirectoryPath
        let absolute = URL(filePath: path.hasPrefix("/") ? path : "\(working)/\(path)").standardized.path
        guard absolute.hasOnlyPrintableScalars, !absolute.contains(where: { "\"'\\%".contains($0) }) else {
            throw .failed("The state directory '\(path.printable(limit: 200))' must not contain quotes, '\\' or '%'.")
        }
        let hidden = ["/run", "/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt"]
        guard absolute != "/", !hidden.contains(where: { absolute == $0 || absolute.hasPrefix("\($0)/") }) else {
            throw .failed("The state directory must not be \(absolute): inside the rack something else is there.")
        }
        return absolute
    }
}

/// What `up` leaves for the programs that come after it.
struct RackRecord: Codable, Sendable {
    var name: String
    var bridge: String
    var accelerator: Accelerator
    var anchor: RackProcess

    /// The record in `layout`, nil when there is none or it cannot be read.
    static func load(_ layout: RackLayout) -> RackRecord? {
        FileManager.default.contents(atPath: layout.record).flatMap { try? JSONDecoder().decode(Self.self, from: $0) }
    }

    func save(_ layout: RackLayout) throws {
        try JSONEncoder().encode(self).write(to: URL(filePath: layout.record), options: .atomic)
    }
}

extension Rack {
    /// The process that holds the rack's namespaces; throws `RackError.notUp` when there is none.
    var anchor: RackProcess {
        get throws(RackError) {
            guard let anchor = RackRecord.load(layout)?.anchor, anchor.isRunning else { throw .notUp(name: file.name) }
            return anchor
        }
    }

    /// Whether the rack's namespaces exist.
    public var isUp: Bool { (try? anchor) != nil }

    /// The path of the rack's network namespace, for `nsenter --net=PATH`.
    public var networkNamespacePath: String {
        get throws(RackError) { "/proc/\(try anchor.pid)/ns/net" }
    }

    /// Runs a program to its end in the rack's network namespace and gives its standard output.
    ///
    /// Throws `RackError.commandFailed` with its standard error when the exit status is not 0, and
    /// `RackError.timedOut` after killing it when it takes longer than `timeout`.
    @discardableResult
    public func run(
        inNamespace command: [String], input: String = "", timeout: Duration = .seconds(60)
    ) async throws -> String {
        try await Commands.run(try enter(command), input: input, timeout: timeout)
    }

    /// Like `run(inNamespace:)`, and gives the exit status and both outputs instead of throwing.
    public func outcome(
        inNamespace command: [String], input: String = "", timeout: Duration = .seconds(60)
    ) async throws -> CommandOutcome {
        try await Commands.outcome(try enter(command), input: input, timeout: timeout)
    }

    func enter(_ command: [String]) throws(RackError) -> [String] {
        ["nsenter", "--net=\(try networkNamespacePath)", "--"] + command
    }

    /// Runs a program in the rack's network and mount namespaces, where its libvirtd can be reached.
    @discardableResult
    func runInside(_ command: [String]) async throws -> String {
        let process = try anchor
        return try await Commands.run(["nsenter", "--net", "--mount", "--target", "\(process.pid)", "--"] + command)
    }

    /// Starts a program in the rack's network namespace that goes on when this process ends and dies with the rack.
    ///
    /// It sees the caller's files. Output is appended to `log/<name>.log` under the state directory. Throws
    /// `RackError.failed` when a program of that name still runs or the program cannot be started.
    @discardableResult
    public func spawn(
        inNamespace command: [String], name: String, environment: [String: String] = [:], directory: String = "/"
    ) throws -> RackProcess {
        // The rack's PID namespace needs its own /proc: libdispatch looks its threads up there and ends the process
        // when it finds none.
        let ownProc = ["unshare", "--mount", "--", "sh", "-c", "mount -t proc proc /proc && exec \"$@\"", "sh"]
        return try spawn(ownProc + command, name: name, environment: environment, directory: directory, [.net, .pid])
    }

    func spawn(
        _ command: [String], name: String, environment: [String: String] = [:], directory: String = "/",
        _ namespaces: [Launch.Namespace]
    ) throws -> RackProcess {
        if let running = self.process(named: name), running.isRunning {
            throw RackError.failed("'\(name)' already runs in the rack with PID \(running.pid): end it first.")
        }
        let process = try Launch.detached(
            command, name: name, environment: Launch.environment.merging(environment) { $1 }, directory: directory,
            logFile: layout.log(name), inside: try anchor.pid, namespaces)
        try JSONEncoder().encode(process).write(to: URL(filePath: layout.process(name)), options: .atomic)
        return process
    }

    /// The program started last under `name`, running or not; nil when there was none.
    public func process(named name: String) -> RackProcess? {
        FileManager.default.contents(atPath: layout.process(name))
            .flatMap { try? JSONDecoder().decode(RackProcess.self, from: $0) }
    }

    /// The programs started in the rack, by name.
    public var processes: [RackProcess] {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: layout.processes)) ?? []
        return files.filter { $0.hasSuffix(".json") }.sorted().compactMap { process(named: String($0.dropLast(5))) }
    }

    /// Holds the rack's lock while `body` runs; throws `RackError.failed` when someone else holds it.
    static func locked<Value>(_ layout: RackLayout, _ body: () async throws -> Value) async throws -> Value {
        let descriptor = open(layout.lock, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw RackError.failed("\(layout.lock) cannot be written: \(String(cString: strerror(errno))).")
        }
        defer { close(descriptor) }
        var opened = stat()
        var named = stat()
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0, fstat(descriptor, &opened) == 0,
            stat(layout.lock, &named) == 0, opened.st_ino == named.st_ino
        else {
            throw RackError.failed("Another muster-rack is at work on \(layout.root): wait until it has finished.")
        }
        return try await body()
    }
}
