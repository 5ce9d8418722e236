import ArgumentParser
import ControlPlaneBed
import FoundationEssentials
import Glibc
import Primitives

/// Which bed a command is about.
struct BedOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Where the bed keeps its files.", valueName: "dir"))
    var directory = ".muster/bed"

    func existing() throws -> Bed { try Bed.existing(directory) }
}

struct Up: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring the bed up, in place of one that is there, and wait until the API answers.")
    @OptionGroup var options: BedOptions
    @Option(help: "How many controllers: 1, 3 or 5.") var controllers = 3
    @Option(help: "How many agents are simulated, beside two that are programs of their own; 0: there are none at all.")
    var agents = 50
    @Option(help: ArgumentHelp("The folder with the programs (default: that of this one).", valueName: "dir"))
    var programs: String?

    func run() async throws {
        let bed = try Bed(
            controllers: controllers, agents: agents, directory: options.directory,
            programs: programs ?? Program.folder)
        let start = ContinuousClock.now
        try await bed.up(program: Program.path) { say("  \($0)") }
        say("The bed is up after \((ContinuousClock.now - start).components.seconds) s.")
        say(StatusTable.text(await bed.status()))
    }
}

struct Down: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "End every process of the bed and remove its network and files, also of one that is half up.")
    @OptionGroup var options: BedOptions

    func run() async throws {
        try await Bed.down(try Bed(controllers: 1, directory: options.directory, programs: "/usr").plan.root)
        say("The bed is down and nothing is left of it.")
    }
}

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show members, leaders, who has the virtual address, and how far each is behind.")
    @OptionGroup var options: BedOptions
    @Flag(help: "Look again each second until interrupted.") var watch = false
    @Flag(help: "Print JSON.") var json = false

    func run() async throws {
        let bed = try options.existing()
        repeat {
            let status = await bed.status()
            if json {
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.sortedKeys]
                say(String(decoding: try encoder.encode(status), as: UTF8.self))
            } else {
                say((watch ? "\u{1B}[H\u{1B}[2J" : "") + StatusTable.text(status))
            }
            if watch { try await Task.sleep(for: .seconds(1)) }
        } while watch
    }
}

struct FaultCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fault", abstract: "Do something bad to the bed until `muster-bed heal`: \(Fault.forms).")
    @OptionGroup var options: BedOptions
    @Argument(help: "What and to whom.") var words: [String]

    func run() async throws {
        let injury = try await options.existing().inflict(try Fault(words: words))
        say("\(injury.fault) (\(injury.controller))")
    }
}

struct Heal: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "End all faults, start what does not run, and wait until each conductor answers.")
    @OptionGroup var options: BedOptions

    func run() async throws {
        try await options.existing().healAll()
        say("All conductors answer.")
    }
}

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Read and write while faults happen one after the other, and judge what the clients were answered.")
    @OptionGroup var options: BedOptions
    @Option(help: "Names what is written and chooses faults and what clients do.") var seed: UInt64 = 1
    @Option(help: "How many faults the seed chooses, unless --fault names them.") var faults = 4
    @Option(help: "How many of them there are at a time, each on a controller of its own.") var atOnce = 1
    @Option(
        help: ArgumentHelp(
            "A fault, such as 'kill conductor leader', or several at a time with '+' between; may be given again.",
            valueName: "words"))
    var fault: [String] = []
    @Option(help: "Seconds that each fault of --fault lasts.") var lasts = 5
    @Option(help: "Go on with faults that the seed chooses until the clients have made so many operations.")
    var operations = 0
    @Option(help: "How many times the usual clients there are.") var clients = 1
    @Flag(help: "Print JSON.") var json = false

    /// More than any number of operations takes.
    private static let faultCountMax = 10_000

    func validate() throws {
        guard (1...2).contains(atOnce), (1...10).contains(clients), operations >= 0 else {
            throw ValidationError("at-once: 1 or 2, clients: 1 to 10, operations: 0 or more")
        }
    }

    func run() async throws {
        let bed = try options.existing()
        var schedule = FaultSchedule(
            seed: seed, faults: operations > 0 ? Self.faultCountMax : faults, atOnce: atOnce,
            controllers: bed.plan.controllers, withClocks: bed.hasClocks)
        if !fault.isEmpty {
            schedule.steps = try fault.map { text in
                let faults = try text.split(separator: "+").map {
                    try Fault(words: $0.split(separator: " ").map(String.init))
                }
                return FaultSchedule.Step(quiet: .seconds(3), faults: faults, lasts: .seconds(lasts))
            }
        }
        let run = BedRun(bed, schedule, program: Program.path, scale: clients, operations: operations)
        let report = try await run.execute { say("  \($0)") }
        if json {
            say(String(decoding: try JSONEncoder().encode(report), as: UTF8.self))
        } else {
            say("\(report)")
        }
        if !report.isGood { throw ExitCode.failure }
    }
}

struct Soak: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring a bed up, run one schedule after the other, each of the next seed, and take the bed down.")
    @OptionGroup var options: BedOptions
    @Option(help: "How many controllers: 1, 3 or 5.") var controllers = 3
    @Option(help: "How many agents are simulated, beside two that are programs of their own; 0: there are none at all.")
    var agents = 10
    @Option(help: "The first seed; by the clock unless given.") var seed: UInt64?
    @Option(help: "How many schedules; as many as go into --minutes unless given.") var schedules: Int?
    @Option(help: "No schedule is begun after this many minutes.") var minutes = 60
    @Option(help: "How many faults in a schedule.") var faults = 4
    @Option(help: "How many of them there are at a time, each on a controller of its own.") var atOnce = 1
    @Option(help: ArgumentHelp("The folder with the programs (default: that of this one).", valueName: "dir"))
    var programs: String?

    func run() async throws {
        let bed = try Bed(
            controllers: controllers, agents: agents, directory: options.directory,
            programs: programs ?? Program.folder)
        try await bed.up(program: Program.path) { say("  \($0)") }
        var failure: (any Error)?
        do { try await soak(bed) } catch { failure = error }
        // What has failed is left to be looked at.
        if let failure { throw failure }
        try await Bed.down(bed.plan.root)
    }

    private func soak(_ bed: Bed) async throws {
        let first = seed ?? UInt64(SystemWallClock().now.millisecondsSinceEpoch / 1000)
        let end = ContinuousClock.now + .seconds(60 * minutes)
        var (count, operations) = (0, 0)
        var bad: [UInt64] = []
        while count < schedules ?? .max, ContinuousClock.now < end {
            let schedule = FaultSchedule(
                seed: first &+ UInt64(count), faults: faults, atOnce: atOnce, controllers: bed.plan.controllers,
                withClocks: bed.hasClocks)
            let report = try await BedRun(bed, schedule, program: Program.path).execute()
            say("\(report)")
            operations += report.operationCount
            if !report.isGood { bad.append(report.seed) }
            count += 1
        }
        say("\(count) schedules from seed \(first), \(operations) operations; bad: \(bad.isEmpty ? "none" : "\(bad)")")
        if !bad.isEmpty { throw ExitCode.failure }
    }
}

struct Client: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "The clients of a run, in the client's namespace.", shouldDisplay: false)
    @OptionGroup var options: BedOptions
    @Option var seed: UInt64
    @Option var scale = 1

    func run() async throws { try await BedRun.serveClient(try options.existing(), seed: seed, scale: scale) }
}

struct Agents: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "The simulated agents, in their namespace.", shouldDisplay: false)
    @OptionGroup var options: BedOptions

    func run() async throws { try await AgentCrowd(try options.existing()).run() }
}
