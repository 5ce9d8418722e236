import ArgumentParser
import ClientSDK
import FleetContract
import Primitives

struct NodeLogs: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Show the log lines that a machine's agents have sent.",
        discussion: """
            The conductor keeps the newest 4 MiB of each program of a node, of a machine that nobody has let in 256 KiB.
            """)

    @OptionGroup var node: NodeArgument

    @Option(help: "Only of this program, for example network-agent.")
    var source: String?

    @Option(help: "Only of the ramdisk (discovery) or of the installed system (agent).")
    var boot: Boot?

    @OptionGroup var window: LineWindow

    @Flag(name: .shortAndLong, help: "Go on with what comes, until interrupted.")
    var follow = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    enum Boot: String, ExpressibleByArgument, CaseIterable {
        case discovery
        case agent
    }

    func validate() throws {
        if source != nil, boot != nil { throw ValidationError("--source and --boot exclude each other.") }
    }

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let filter = LineFilter(
            lines: window.count, source: source, boot: boot?.rawValue, since: try window.start(terminal.clock.now))
        let reply = try await client.logs(of: node.name, filter)
        if !follow, terminal.isJSON { return terminal.json(reply) }
        if !follow, reply.lines.isEmpty { return terminal.print("No such lines are kept of this machine.") }
        show(reply.lines, isMixed: reply.sources.count > 1 || follow && source == nil, terminal)
        guard follow else { return }
        try await Following(terminal: terminal).run(from: reply.next) { place in
            let more = try await client.logs(
                of: node.name, LineFilter(lines: 1000, source: source, boot: boot?.rawValue, after: place))
            show(more.lines, isMixed: source == nil, terminal)
            return more.next
        }
    }

    private func show(_ lines: [LogReply.Line], isMixed: Bool, _ terminal: Terminal) {
        for line in lines {
            if terminal.isJSON {
                terminal.print(JSONText.line(line))
            } else {
                terminal.print(isMixed ? "\(line.source): \(line.text)" : line.text)
            }
        }
    }
}

/// How far back and how many lines.
struct LineWindow: ParsableArguments {
    @Option(help: "How many of the newest lines; 200 unless given.")
    var lines: Int?

    /// How many are asked for.
    var count: Int { lines ?? 200 }

    @Option(help: "None older: how far back, such as 10m or 2h, or a time such as 2026-11-24T20:00:00Z.")
    var since: String?

    func validate() throws {
        guard (1...FleetLimit.logLineCount).contains(count) else {
            throw ValidationError("--lines must be 1 to \(FleetLimit.logLineCount).")
        }
    }

    func start(_ now: Timestamp) throws -> Timestamp? {
        try since.map { (text) throws(InvalidValue) in
            if text.contains("T") { return try Timestamp(rfc3339: text) }
            return now.advanced(by: .zero - (try Ages.parse(text)))
        }
    }
}

/// Asks again and again for what has come since, also while the conductor restarts.
struct Following {
    let terminal: Terminal

    private static let pause: Duration = .seconds(1)
    /// How long a conductor that does not answer is waited for.
    private static let outageMax: Duration = .seconds(300)

    /// `step` shows what came after a place and returns the next place. Ends when interrupted or by an error that waiting
    /// does not help.
    func run(from start: String?, _ step: (String) async throws -> String?) async throws {
        var place = start ?? ""
        var silent: Timestamp?
        while true {
            try await Task.sleep(for: Self.pause)
            do {
                place = try await step(place) ?? place
                silent = nil
            } catch let error as ClientError {
                guard error.mayPass else { throw error }
                let since = silent ?? terminal.clock.now
                if silent == nil { Terminal.standardError("the conductor does not answer; waiting for it") }
                silent = since
                guard terminal.clock.now.since(since) < Self.outageMax else { throw error }
            }
        }
    }
}
