import ArgumentParser
import ConductorServer

/// The conductor's command line.
@main
struct ConductorCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "muster-conductor", abstract: "Runs a conductor, or works on what one keeps.",
        discussion: "Without a subcommand it runs; 'muster-conductor run --help' has its options.",
        version: Conductor.version,
        subcommands: [ConductorCommand.self, BackupCommand.self, RestoreCommand.self, MigrateCommand.self],
        defaultSubcommand: ConductorCommand.self)
}
