import ArgumentParser
import ClientSDK
import FleetContract
import Primitives

struct NodeList: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the machines.",
        discussion: "The table fits the terminal: what matters least is left out first. Into a pipe goes all of it.")

    @Option(help: "Only those in this state, for example active or 'deploy failed'.")
    var state: String?

    @Option(help: "Only those with this role.")
    var role: String?

    @Option(help: "Only those whose name begins so.")
    var name: String?

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let list = try await client.nodes(NodeFilter(state: state, role: role, name: name))
        if terminal.isJSON { return terminal.json(list) }
        guard !list.nodes.isEmpty else {
            let isFiltered = state != nil || role != nil || name != nil
            return terminal.print(
                isFiltered
                    ? "No machine is like that."
                    : "No machine has been seen yet. Switch one on that boots over the network on a segment of the site "
                        + "('muster site apply').")
        }
        for line in NodeText.table(list.nodes, now: terminal.clock.now).lines(for: terminal) { terminal.print(line) }
    }
}
