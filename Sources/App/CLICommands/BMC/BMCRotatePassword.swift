import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

struct BMCRotatePassword: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate-password", abstract: "Give a BMC's user another password, which only the conductor knows.",
        discussion: """
            The conductor makes the password, keeps it sealed, tells the BMC and proves it by a login before it forgets the \
            one before; whatever ends in between, it finds out which of the two the BMC takes. The user needs the role \
            Administrator at a BMC that speaks IPMI, and one that may change its own password at a Redfish service.

            The site file's password is not tried any more when the same file is applied again. To have a password of your \
            own once more, change it in the site file and apply that: it is taken if the BMC takes it, and else the \
            conductor gives it to the BMC.
            """)

    @Argument(help: ArgumentHelp("The BMC's name in the site.", valueName: "bmc"))
    var name: String?

    @Flag(help: "All BMCs, each with a password of its own.")
    var all = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        guard (name == nil) == all else { throw ValidationError("Say which BMC, or --all.") }
    }

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        guard let name else { return try await rotateAll(client, terminal) }
        let record = try await client.rotateBMCPassword(name)
        if terminal.isJSON { return terminal.json(record) }
        terminal.print("\(name): another password is ordered; 'muster bmc show \(name)' tells how it goes.")
    }

    private func rotateAll(_ client: FleetClient, _ terminal: Terminal) async throws {
        var (records, refusals) = ([BMCRecord](), [String]())
        for bmc in try await client.bmcs() {
            do { records.append(try await client.rotateBMCPassword(bmc.name)) } catch let error as ClientError {
                // One that cannot be is no reason for the others to keep theirs.
                guard error.exitCode == 3 || error.exitCode == 4 else { throw error }
                refusals.append("\(bmc.name): \(error.publicMessage)")
            }
        }
        if terminal.isJSON {
            terminal.json(RecordList(items: records))
        } else {
            terminal.print("\(records.count) BMCs: another password is ordered; 'muster bmc list' tells how it goes.")
        }
        guard refusals.isEmpty else {
            throw Failure(message: "Not ordered for \(refusals.count):\n" + refusals.joined(separator: "\n"))
        }
    }
}
