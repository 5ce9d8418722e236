import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

struct SegmentCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "segment", abstract: "See the segments, whether they are served, and what happened on them.",
        subcommands: [SegmentList.self, SegmentEvents.self])
}

struct SegmentList: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the segments and whether their machines are answered.")

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let segments = try await client.segments()
        if terminal.isJSON { return terminal.json(RecordList(items: segments)) }
        guard !segments.isEmpty else {
            return terminal.print("There is no segment; describe some in the site file, then 'muster site apply'.")
        }
        for line in Self.table(segments).lines(for: terminal) { terminal.print(line) }
    }

    static func table(_ segments: [SegmentRecord]) -> Table {
        var table = Table([
            .init("NAME", priority: 1), .init("STATE", priority: 1), .init("MODE", priority: 3),
            .init("NETWORK", priority: 2), .init("THROUGH", priority: 4), .init("WHAT IT SAYS", priority: 2, least: 24),
        ])
        table.rows = segments.map { segment in
            let spec = segment.spec
            let ways = (spec.interface.map { [$0] } ?? []) + spec.relays.map { "relay \($0)" }
            let isServed = segment.status.state == .serving
            return [
                .init(segment.name, .bold),
                .init(
                    segment.status.state.rawValue, isServed ? .green : segment.status.state == .waiting ? .plain : .red),
                .init(spec.mode.rawValue), .init(spec.network.description), .init(ways.joined(separator: ", ")),
                .init(segment.status.message ?? ""),
            ]
        }
        return table
    }
}

struct SegmentEvents: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "List what happened on a segment, the newest last.")

    @Argument(help: "The segment's name.")
    var name: String

    @Option(help: "How many of the newest.")
    var limit = 50

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let events = Array(try await client.events(ofSegment: name, limit: limit).reversed())
        if terminal.isJSON { return terminal.json(RecordList(items: events)) }
        var table = Table([
            .init("TIME", priority: 2), .init("EVENT", priority: 3), .init("WHAT", priority: 1, least: 20),
        ])
        table.rows = events.map { [.init($0.time.description), .init($0.type), .init($0.message)] }
        for line in table.lines(for: terminal) { terminal.print(line) }
    }
}
