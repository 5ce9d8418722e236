import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract

struct BMCList: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the BMCs, whether they answer, and whose they are.")

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let bmcs = try await client.bmcs()
        if terminal.isJSON { return terminal.json(RecordList(items: bmcs)) }
        guard !bmcs.isEmpty else {
            return terminal.print("No BMC is known; name them in the site file, then 'muster site apply'.")
        }
        for line in Self.table(bmcs).lines(for: terminal) { terminal.print(line) }
    }

    static func table(_ bmcs: [BMCRecord]) -> Table {
        var table = Table([
            .init("NAME", priority: 1), .init("ANSWERS", priority: 1), .init("POWER", priority: 2),
            .init("NODE", priority: 3), .init("ADDRESS", priority: 4, least: 16), .init("SERIAL", priority: 7),
            .init("MODEL", priority: 8, least: 8), .init("PASSWORD", priority: 6),
            .init("WHAT IT SAYS", priority: 5, least: 20),
        ])
        table.rows = bmcs.map { bmc in
            let wasAsked = bmc.status.checked != nil
            let answers = bmc.status.isReachable ? "yes" : wasAsked ? "no" : "not asked"
            return [
                .init(bmc.name, .bold), .init(answers, bmc.status.isReachable ? .green : wasAsked ? .red : .plain),
                .init(bmc.status.power.rawValue, bmc.status.power == .unknown ? .yellow : .plain),
                .init(bmc.nodes.isEmpty ? "-" : bmc.nodes.joined(separator: ", ")),
                .init(bmc.address), .init(bmc.status.serial ?? "-"), .init(bmc.status.model ?? "-"),
                password(bmc), .init(bmc.status.lastError ?? bmc.status.password?.failure ?? ""),
            ]
        }
        return table
    }

    /// Whose password it is, and whether it is being changed.
    private static func password(_ bmc: BMCRecord) -> Table.Cell {
        if bmc.isPasswordChanging { return .init("changing", .yellow) }
        if bmc.status.password?.failure != nil { return .init("not changed", .red) }
        return .init((bmc.status.password?.source ?? .site) == .site ? "site file's" : "conductor's")
    }
}
