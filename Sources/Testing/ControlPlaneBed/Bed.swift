import FoundationEssentials
import Glibc
import Primitives
import VirtualRack

/// Controllers in network namespaces on one bridge: each has an etcd member, a conductor, HAProxy and keepalived, and a
/// client has a namespace of its own.
///
/// All processes live in one PID namespace whose init, the anchor, also holds the mounts and the bridge: when it is killed,
/// the kernel ends all of them, and namespaces, cables and mounts are gone. What is left are files in one directory, and
/// `down` finds anchor and files also when whoever made them was killed.
public struct Bed: Sendable {
    /// What it consists of.
    public let plan: BedPlan

    /// The bed in `directory`, with the programs of `programs`; throws `BedError.failed`.
    public init(
        controllers: Int, agents: Int = 0, directory: String, programs: String, membersInMemory: Bool = false
    ) throws(BedError) {
        guard [1, 3, 5].contains(controllers) else { throw .failed("A bed has 1, 3 or 5 controllers.") }
        guard (0...10_000).contains(agents) else { throw .failed("A bed has 0 to 10000 simulated agents.") }
        plan = BedPlan(
            count: controllers, root: try Self.absolute(directory), programs: try Self.absolute(programs),
            membersInMemory: membersInMemory, agents: agents)
    }

    /// The bed that is up in `directory`; throws `BedError.notUp`.
    public static func existing(_ directory: String) throws(BedError) -> Bed {
        let root = try absolute(directory)
        guard let record = BedRecord.load("\(root)/bed.json") else { throw .notUp(root) }
        return try Bed(
            controllers: record.count, agents: record.agents ?? 0, directory: root, programs: record.programs)
    }

    private static func absolute(_ path: String) throws(BedError) -> String {
        let whole = path.hasPrefix("/") ? path : "\(FileManager.default.currentDirectoryPath)/\(path)"
        let absolute = URL(filePath: whole).standardized.path
        let isPlain = absolute.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x27 && $0 != 0x5C }
        guard isPlain, absolute != "/" else { throw .failed("'\(absolute.printable(limit: 200))' cannot hold a bed.") }
        return absolute
    }

    /// A place on the bed's network.
    public enum Place: Hashable, Sendable {
        case hub
        case client
        /// Where the simulated agents are.
        case agents
        /// A node whose agent is a program of its own.
        case node(String)
        case controller(String)

        var name: String {
            switch self {
            case .hub: "hub"
            case .client: "client"
            case .agents: "agents"
            case .node(let name): name
            case .controller(let name): name
            }
        }
    }

    /// A place by its name.
    static func place(_ name: String, in plan: BedPlan) -> Place {
        switch name {
        case "client": .client
        case "agents": .agents
        case _ where plan.agentPrograms.contains(name): .node(name)
        default: .controller(name)
        }
    }

    /// What runs on a controller.
    public enum Part: String, CaseIterable, Sendable, Hashable, Codable {
        case etcd, conductor, haproxy, keepalived
    }

    // MARK: Processes

    /// The process that holds a place's network namespace; throws `BedError.notUp`.
    func holder(_ place: Place) throws(BedError) -> RackProcess {
        guard let record = BedRecord.load(plan.record), record.anchor.isRunning,
            let holder = record.holders[place.name], holder.isRunning
        else { throw .notUp(plan.root) }
        return holder
    }

    /// Runs a program to its end at a place.
    @discardableResult
    public func run(_ command: [String], at place: Place, timeout: Duration = .seconds(30)) async throws -> String {
        try await Commands.run(try enter(place, command), timeout: timeout)
    }

    /// A command line that runs `command` at a place.
    public func enter(_ place: Place, _ command: [String]) throws(BedError) -> [String] {
        ["nsenter", "--net=/proc/\(try holder(place).pid)/ns/net", "--"] + command
    }

    /// Starts a program at a place that goes on when this process ends, and ends with the bed.
    @discardableResult
    public func spawn(
        _ command: [String], as name: String, at place: Place, environment: [String: String] = [:]
    ) throws -> RackProcess {
        let process = try Launch.detached(
            command, name: name, environment: Launch.environment.merging(environment) { $1 }, directory: "/",
            logFile: plan.log(name), inside: try holder(place).pid, [.net, .pid, .mnt])
        try JSONEncoder().encode(process).write(to: URL(filePath: plan.process(name)), options: .atomic)
        return process
    }

    /// The program started last under this name; nil when there was none.
    public func process(_ name: String) -> RackProcess? {
        FileManager.default.contents(atPath: plan.process(name))
            .flatMap { try? JSONDecoder().decode(RackProcess.self, from: $0) }
    }

    /// A part of a controller as a process.
    public func process(_ part: Part, of controller: String) -> RackProcess? {
        process("\(controller)-\(part.rawValue)")
    }

    /// Starts a part of a controller unless it runs; returns whether it had to be started.
    @discardableResult
    public func start(_ part: Part, of controller: String) throws -> Bool {
        if let running = process(part, of: controller), running.isRunning { return false }
        let command =
            switch part {
            case .etcd: plan.etcd(controller)
            case .conductor: plan.conductor(controller)
            case .haproxy: plan.proxy(controller)
            case .keepalived: plan.keepalived(controller)
            }
        let shim = ["LD_PRELOAD": "\(plan.programs)/libclock-skew.so", "CLOCK_SKEW_FILE": plan.clockFile(controller)]
        let environment = part == .conductor && hasClocks ? shim : [:]
        try spawn(
            command, as: "\(controller)-\(part.rawValue)", at: .controller(controller), environment: environment)
        return true
    }

    /// Whether conductors' clocks can be set wrong: the library for that was built.
    public var hasClocks: Bool { FileManager.default.fileExists(atPath: "\(plan.programs)/libclock-skew.so") }

    /// Holds the bed's lock while `body` runs; throws `BedError.failed` when someone else holds it.
    func locked<Value>(_ body: () async throws -> Value) async throws -> Value {
        let descriptor = open(plan.lock, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            if descriptor >= 0 { close(descriptor) }
            throw BedError.failed("Another muster-bed is at work on \(plan.root): wait until it has finished.")
        }
        defer { close(descriptor) }
        return try await body()
    }
}

/// What `up` leaves for the programs that come after it.
struct BedRecord: Codable, Sendable {
    var count: Int
    var agents: Int?
    var programs: String
    var anchor: RackProcess
    /// The processes that hold the places' networks, by the places' names.
    var holders: [String: RackProcess]

    static func load(_ path: String) -> BedRecord? {
        FileManager.default.contents(atPath: path).flatMap { try? JSONDecoder().decode(Self.self, from: $0) }
    }

    func save(_ path: String) throws {
        try JSONEncoder().encode(self).write(to: URL(filePath: path), options: .atomic)
    }
}
