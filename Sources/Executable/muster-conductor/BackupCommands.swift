import ArgumentParser
import ConductorServer
import Foundation
import Logging
import Primitives

/// What a backup is opened with: one of the two.
struct BackupKeyOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A private file (0600) whose first line is the passphrase, 12 characters at least.", valueName: "file"))
    var passphraseFile: String?

    @Option(
        help: ArgumentHelp(
            "A private file (0600) of random bytes, 32 at least, as 'head -c 32 /dev/urandom' gives them.",
            valueName: "file"))
    var keyFile: String?

    func validate() throws {
        guard (passphraseFile == nil) != (keyFile == nil) else {
            throw ValidationError("Give either --passphrase-file or --key-file.")
        }
    }

    /// Where the key is.
    var key: BackupKey { passphraseFile.map { .passphraseFile($0) } ?? .keyFile(keyFile ?? "") }
}

/// `muster-conductor backup`.
struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Seal the whole site into one file, also while the conductor runs.",
        discussion: """
            The file has all documents as of one revision, the master key, the operator's first token, and blobs by choice. It \
            is encrypted and authenticated; whoever has it and its passphrase or key file has the site.
            """)

    @Option(help: ArgumentHelp("The conductor's state directory.", valueName: "dir"))
    var stateDir = "/var/lib/muster"

    @Option(help: ArgumentHelp("The file to write, in the place of one that is there.", valueName: "file"))
    var to: String

    @Option(
        help: ArgumentHelp(
            "none: no images and inventories; manifests: what images are made of, and inventories; all: everything that the "
                + "catalog names.", valueName: "none|manifests|all"))
    var blobs = BackupBlobs.manifests

    @OptionGroup var keys: BackupKeyOptions
    @OptionGroup var cluster: EtcdOptions

    func run() async throws {
        try await ConductorCommand.telling {
            let lines = try await Conductor.backUp(
                stateDir, etcd: cluster.configuration, to: to, key: keys.key, blobs: blobs,
                logger: ConductorCommand.quietLogger)
            print("\(to) is written: " + (lines.first ?? ""))
            for line in lines.dropFirst() where !line.hasPrefix(" ") { print(line) }
        }
    }
}

/// `muster-conductor restore`.
struct RestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Make a site of a backup, in an empty state directory.",
        discussion: """
            The whole file is checked before anything is written. The site goes on with the same authority, nodes and tokens, \
            in a new history: agents reconnect by themselves. Never let it run beside the site that the backup is of.
            """)

    @Argument(help: ArgumentHelp("The backup.", valueName: "file"))
    var file: String

    @Option(help: ArgumentHelp("The state directory: empty, or not there yet.", valueName: "dir"))
    var stateDir = "/var/lib/muster"

    @Flag(help: "Only checks the file and tells what it has.")
    var list = false

    @OptionGroup var keys: BackupKeyOptions
    @OptionGroup var cluster: EtcdOptions

    func run() async throws {
        try await ConductorCommand.telling {
            let key = keys.key
            let lines =
                list
                ? try Conductor.listBackup(file, key: key)
                : try await Conductor.restore(
                    file, key: key, into: stateDir, etcd: cluster.configuration,
                    logger: ConductorCommand.quietLogger)
            for line in lines { print(line) }
            if !list { print("It is restored into \(stateDir); start the conductor with that.") }
        }
    }
}

extension BackupBlobs: ExpressibleByArgument {}

extension ConductorCommand {
    /// Tells what goes wrong, and nothing else.
    static var quietLogger: Logger {
        var logger = Logger(label: "conductor") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .warning
        return logger
    }

    /// Does `work`; an error for people is told to them.
    static func telling(_ work: () async throws -> Void) async throws {
        do { try await work() } catch let error as any UserFacingError { throw try failure(error) }
    }
}
