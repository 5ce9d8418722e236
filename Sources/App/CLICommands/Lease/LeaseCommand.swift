import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

struct LeaseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lease", abstract: "See which addresses machines have been given.", subcommands: [LeaseList.self])
}

struct LeaseList: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the leases and quarantined addresses of all segments.")

    @Option(help: "Only those of this segment.")
    var segment: String?

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let leases = try await client.leases().filter { segment == nil || $0.segment == segment }
        if terminal.isJSON { return terminal.json(RecordList(items: leases)) }
        guard !leases.isEmpty else { return terminal.print("No machine has been given an address.") }
        for line in Self.table(leases).lines(for: terminal) { terminal.print(line) }
    }

    static func table(_ leases: [LeaseRecord]) -> Table {
        var table = Table([
            .init("SEGMENT", priority: 3), .init("ADDRESS", priority: 1), .init("MAC", priority: 2),
            .init("NODE", priority: 2), .init("STATE", priority: 3), .init("UNTIL", priority: 4),
            .init("CALLS ITSELF", priority: 5),
        ])
        table.rows = leases.map { lease in
            [
                .init(lease.segment), .init(lease.address.description, .bold), .init(lease.mac.description),
                .init(lease.node ?? "-"), .init(lease.phase.rawValue, lease.phase == .bound ? .plain : .red),
                .init(lease.expires.description), .init(lease.hostname ?? "-"),
            ]
        }
        return table
    }
}
