import ArgumentParser
import ConductorServer

/// `muster-conductor migrate`.
struct MigrateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate", abstract: "Move the catalog between the state directory and an etcd cluster.",
        discussion: """
            Stop the conductors first; agents go on with what they have, and reconnect afterwards. Every document is compared \
            with its copy, and the old store stays as it was. A move that was broken off is begun anew by running this again.
            """)

    /// Where to.
    enum Target: String, ExpressibleByArgument, CaseIterable {
        case etcd
        case sqlite
    }

    @Option(help: ArgumentHelp("Where to.", valueName: "etcd|sqlite"))
    var to: Target

    @Option(help: ArgumentHelp("The conductor's state directory.", valueName: "dir"))
    var stateDir = "/var/lib/muster"

    @OptionGroup var cluster: EtcdOptions

    func validate() throws {
        guard !cluster.etcd.isEmpty else {
            throw ValidationError("Name the members of the cluster: --etcd https://HOST:2379, again for each.")
        }
    }

    func run() async throws {
        guard let etcd = cluster.configuration else { return }
        try await ConductorCommand.telling {
            let lines = try await Conductor.move(
                to: to == .etcd ? .etcd : .sqlite, stateDirectory: stateDir, etcd: etcd,
                logger: ConductorCommand.quietLogger)
            for line in lines { print(line) }
        }
    }
}
