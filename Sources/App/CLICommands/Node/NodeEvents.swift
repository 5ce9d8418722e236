import ArgumentParser
import ClientSDK
import FleetContract
import Primitives

struct NodeEvents: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "List what happened to a machine, the newest last.")

    @OptionGroup var node: NodeArgument

    @Option(help: "How many of the newest.")
    var limit = 50

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let events = try await client.events(of: node.name, limit: limit)
        EventText.print(Array(events.reversed()), withNames: false, terminal)
    }
}

/// Events as people read them.
enum EventText {
    static func print(_ events: [EventRecord], withNames: Bool, _ terminal: Terminal) {
        if terminal.isJSON { return terminal.json(RecordList(items: events)) }
        for line in table(events, withNames: withNames).lines(for: terminal) { terminal.print(line) }
    }

    static func table(_ events: [EventRecord], withNames: Bool) -> Table {
        let names = withNames ? [Table.Column("NODE", priority: 1)] : []
        var table = Table(
            [.init("TIME", priority: 2)] + names + [
                .init("EVENT", priority: 3), .init("WHAT", priority: 1, least: 20),
            ])
        table.rows = events.map { event in
            let name: [Table.Cell] = withNames ? [.init(event.nodeName ?? event.node.raw, .bold)] : []
            return [.init(event.time.description)] + name + [.init(event.type), .init(event.message)]
        }
        return table
    }
}
