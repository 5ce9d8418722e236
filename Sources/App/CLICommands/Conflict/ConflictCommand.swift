import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

struct ConflictCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "conflict", abstract: "See machines that claim to be others, and forget what is settled.",
        discussion: """
            A machine whose identity is in conflict gets no session. Look at both machines; take the wrong node out with \
            'muster node delete', or mend the machine that bears another's marks, then delete the conflict.
            """,
        subcommands: [ConflictList.self, ConflictDelete.self])
}

struct ConflictList: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the claims that touch more than one node.")

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let conflicts = try await client.conflicts()
        if terminal.isJSON { return terminal.json(RecordList(items: conflicts)) }
        guard !conflicts.isEmpty else { return terminal.print("No machine claims to be another.") }
        for line in Self.table(conflicts).lines(for: terminal) { terminal.print(line) }
    }

    static func table(_ conflicts: [ConflictRecord]) -> Table {
        var table = Table([
            .init("NAME", priority: 1), .init("NODES", priority: 2), .init("TIMES", priority: 4),
            .init("LAST SEEN", priority: 5), .init("WHY", priority: 3, least: 24),
        ])
        table.rows = conflicts.map { conflict in
            [
                .init(conflict.name, .bold), .init(conflict.nodeNames.joined(separator: ", ")),
                .init("\(conflict.status.count)"), .init("\(conflict.status.lastSeen)"),
                .init(conflict.spec.reason),
            ]
        }
        return table
    }
}

struct ConflictDelete: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Forget a conflict that is settled.")

    @Argument(help: ArgumentHelp("The conflict's name, from 'muster conflict list'.", valueName: "conflict"))
    var name: String

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let reply = try await client.deleteConflict(name)
        terminal.isJSON ? terminal.json(reply) : terminal.print("\(reply.name): \(reply.message)")
    }
}
