import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

struct ConductorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "conductor", abstract: "See which conductors run.", subcommands: [ConductorList.self])
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
