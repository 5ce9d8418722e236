import ArgumentParser
import ClientSDK
import FleetContract
import Primitives

struct AuditList: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List who did what, from where, and how it ended; the newest last.",
        discussion: "Only administrators may.")

    @Option(help: "How far back, for example 30m, 24h or 7d.")
    var since = "24h"

    @Option(help: "How many of the newest.")
    var limit = 50

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let start = terminal.clock.now.advanced(by: .zero - (try Ages.parse(since)))
        let records = try await client.audit(since: start, limit: limit)
        if terminal.isJSON { return terminal.json(RecordList(items: records)) }
        for line in Self.table(records).lines(for: terminal) { terminal.print(line) }
    }

    static func table(_ records: [AuditRecord]) -> Table {
        var table = Table([
            .init("TIME", priority: 2), .init("WHO", priority: 1), .init("DID", priority: 1),
            .init("TO", priority: 1, least: 20), .init("OUTCOME", priority: 1), .init("FROM", priority: 5),
            .init("WHAT", priority: 4, least: 20),
        ])
        table.rows = records.map { record in
            [
                .init(record.time.description), .init(record.who, .bold), .init(record.verb), .init(record.resource),
                .init(record.outcome, record.outcome == "ok" ? .green : .red), .init(record.from ?? "-"),
                .init(record.message ?? record.summary ?? ""),
            ]
        }
        return table
    }
}
