import ArgumentParser
import ClientSDK
import FleetContract

struct VersionCommand: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Tell the versions of this program and of the conductor.")

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    struct Versions: Encodable {
        var muster: String
        var conductor: String?
    }

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        var versions = Versions(muster: Muster.version)
        do { versions.conductor = try await client.version().version } catch {
            // Without an address that somebody gave there need not be a conductor.
            if connection.isConfigured {
                if !terminal.isJSON { terminal.print("muster \(versions.muster)") }
                throw error
            }
        }
        if terminal.isJSON { return terminal.json(versions) }
        terminal.print("muster \(versions.muster)")
        terminal.print("conductor \(versions.conductor ?? "not reached; name it with --api or MUSTER_API")")
    }
}
