import ArgumentParser
import ClientSDK
import Fleet
import Glibc
import Primitives

/// The operators' program.
public struct Muster: ParsableCommand {
    /// Its version.
    public static let version = "0.1.0"

    public static let configuration = CommandConfiguration(
        commandName: "muster",
        abstract: "Turns racks of bare servers into a running fleet.",
        discussion: """
            A machine that boots over the network shows up in 'muster node list'. Let it in with 'muster node approve', \
            watch its image being written with 'muster node watch', and ask 'muster node why' whenever it waits.

            Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 refused or not authorized, 5 the conductor \
            cannot be reached.
            """,
        version: version,
        subcommands: [
            NodeCommand.self, Top.self, SiteCommand.self, ImageCommand.self, BMCCommand.self, SegmentCommand.self,
            LeaseCommand.self, ConflictCommand.self, ConductorCommand.self, ControllerCommand.self,
            AuthorityCommand.self, TokenCommand.self,
            PolicyCommand.self, EventCommand.self, AuditCommand.self, VersionCommand.self,
        ])

    /// The program.
    public init() {}

    /// Parses `arguments`, runs the command, and returns the exit code.
    ///
    /// Runs on the main thread before any other is made, so that entering a network namespace takes effect on all.
    @MainActor
    public static func run(_ arguments: [String]) async -> Int32 {
        do {
            var command = try parseAsRoot(arguments)
            if let fleet = command as? any FleetCommand {
                let connection = fleet.connection
                do {
                    try connection.enterNetworkNamespace()
                    try await fleet.run()
                } catch {
                    return Failure.report(error, asJSON: connection.json)
                }
            } else {
                try command.run()
            }
            return 0
        } catch {
            return usage(error)
        }
    }

    /// What the parser itself answers: help on standard output, or what was wrong on standard error.
    private static func usage(_ error: any Error) -> Int32 {
        let message = fullMessage(for: error)
        guard exitCode(for: error) == .success else {
            if let failure = error as? CheckFailure { return failure.code }
            Terminal.standardError(message)
            return 2
        }
        print(message)
        return 0
    }
}

/// A command that talks to a conductor.
protocol FleetCommand: AsyncParsableCommand {
    var connection: ConnectionOptions { get }

    /// Does the work with an open client.
    func run(_ client: FleetClient, _ terminal: Terminal) async throws
}

extension FleetCommand {
    func run() async throws {
        let client = try FleetClient(try connection.client())
        let terminal = Terminal.standardOutput(asJSON: connection.json)
        do {
            try await run(client, terminal)
            await client.shutdown()
        } catch {
            await client.shutdown()
            throw error
        }
    }
}

/// How a command ends that could not do its work.
struct Failure: UserFacingError {
    var message: String
    var exitCode: Int32 = 1
    var publicMessage: String { message }

    /// Prints `error` on standard error and returns the exit code for it.
    static func report(_ error: any Error, asJSON: Bool) -> Int32 {
        let (text, code): (String, Int32) =
            switch error {
            case let error as ClientError: (error.publicMessage, error.exitCode)
            case let error as Failure: (error.message, error.exitCode)
            case let error as SiteError: (error.publicMessage, 2)
            case let error as InvalidValue: (error.publicMessage, 2)
            case is CancellationError: ("It was broken off.", 1)
            case let error as any UserFacingError: (error.publicMessage, 1)
            default: ("\(error)".printable(limit: 500), 1)
            }
        if asJSON {
            Terminal.standardError(JSONText.of(FailureReport(error: .init(exitCode: code, message: text))))
        } else if !text.isEmpty {
            Terminal.standardError("muster: " + text)
        }
        return code
    }
}

/// The JSON of a failure.
struct FailureReport: Encodable {
    struct Content: Encodable {
        var exitCode: Int32
        var message: String
    }

    var error: Content
}
