import ArgumentParser

@main
struct MusterBed: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "muster-bed",
        abstract: "Controllers in network namespaces, what can happen to them, and judges of what their clients see.",
        discussion: "All but help needs root. The bed keeps running when muster-bed ends, until `muster-bed down`.",
        subcommands: [
            Up.self, Down.self, StatusCommand.self, FaultCommand.self, Heal.self, Run.self, Soak.self, Client.self,
            Agents.self,
        ])
}
