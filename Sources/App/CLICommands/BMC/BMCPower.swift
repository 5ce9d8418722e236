import ArgumentParser
import CatalogBareMetal
import ClientSDK

struct BMCPower: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "power", abstract: "Have a BMC switch its machine's power.",
        discussion: "For machines that are no nodes yet; those that are have 'muster node power'.")

    @Argument(help: ArgumentHelp("The BMC's name in the site.", valueName: "bmc"))
    var name: String

    @Argument(help: "What to do: on, off or reset.")
    var action: Node.PowerRequest.Action

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let record = try await client.powerBMC(name, action)
        if terminal.isJSON { return terminal.json(record) }
        terminal.print(
            "\(name): the order to switch its machine (\(action.rawValue)) is written down; see 'muster bmc list'.")
    }
}
