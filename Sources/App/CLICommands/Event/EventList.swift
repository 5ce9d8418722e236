import ArgumentParser
import ClientSDK

struct EventList: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List what happened to all machines, the newest last.")

    @Option(help: "How many of the newest.")
    var limit = 50

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let events = try await client.events(limit: limit)
        EventText.print(Array(events.reversed()), withNames: true, terminal)
    }
}
