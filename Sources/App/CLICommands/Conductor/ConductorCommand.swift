import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

struct ConductorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "conductor", abstract: "See which conductors run, and forget those that are gone.",
        subcommands: [ConductorList.self, ConductorForget.self])
}

struct ConductorList: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the conductors that run, and which of them leads.",
        discussion: """
            All conductors answer operators, machines and agents. One of them leads: it asks the BMCs, watches deadlines and \
            clears up. When it stops or is cut off, another one leads within seconds. A conductor that is gone leaves the \
            list ten seconds later.
            """)

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let conductors = try await client.conductors()
        if terminal.isJSON { return terminal.json(RecordList(items: conductors)) }
        guard !conductors.isEmpty else {
            return terminal.print("The conductor that answers has not registered itself yet; ask again.")
        }
        for line in Self.table(conductors, now: terminal.clock.now).lines(for: terminal) { terminal.print(line) }
    }

    static func table(_ conductors: [ConductorSummary], now: Timestamp) -> Table {
        var table = Table([
            .init("NAME", priority: 1), .init("LEADS", priority: 1), .init("VERSION", priority: 3),
            .init("RUNS FOR", priority: 2), .init("BEHIND", priority: 2), .init("API", priority: 2),
            .init("AGENTS", priority: 4),
        ])
        table.rows = conductors.map { conductor in
            let lag = conductor.lagMilliseconds.map { "\($0 / 1000) s" }
            return [
                .init(conductor.name, .bold), .init(conductor.isLeader ? "yes" : "-", .green),
                .init(conductor.version), .init(Ages.since(conductor.started, now: now)),
                .init(lag ?? "-", lag == nil ? .plain : .red), .init(conductor.addresses.api),
                .init(conductor.addresses.agents),
            ]
        }
        return table
    }
}

struct ConductorForget: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget", abstract: "Forget a conductor that is gone for good.",
        discussion: """
            Agents and machines are told of every conductor that ever ran, so that they find one after all were off, and the \
            site's blobs are asked for where they were last. This ends that for one that never comes back: a machine that is \
            lost, or the first conductor of a site that has moved. One that runs is refused. Controllers that are taken out \
            (muster controller shrink, replace) are forgotten by that.
            """)

    @Argument(help: ArgumentHelp("The conductor's name.", valueName: "conductor"))
    var name: String

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let reply = try await client.forgetConductor(name)
        terminal.isJSON ? terminal.json(reply) : terminal.print("\(reply.name): \(reply.message)")
    }
}
