import ArgumentParser

@main
struct MusterRack: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "muster-rack",
        abstract: "A rack of virtual machines with Redfish BMCs on a network of their own.",
        discussion: "All but help needs root. The rack keeps running when muster-rack ends, until `muster-rack down`.",
        subcommands: [
            Up.self, Down.self, StatusCommand.self, Power.self, Console.self, Env.self, SiteCommand.self, Spawn.self,
        ])
}
