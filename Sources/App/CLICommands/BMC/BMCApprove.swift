import ArgumentParser
import ClientSDK
import FleetContract
import Primitives

struct BMCApprove: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "approve", abstract: "Trust the certificate that a BMC shows.",
        discussion: """
            Before that, and again when the certificate changes, nothing is sent to the BMC. Compare the SHA-256 that \
            'muster bmc show' tells with what the BMC itself shows, by its own pages or at the machine. A certificate that \
            the site file names is changed there.
            """)

    @Argument(help: ArgumentHelp("The BMC's name in the site.", valueName: "bmc"))
    var name: String

    @Option(
        help: ArgumentHelp(
            "The certificate's SHA-256, 64 hexadecimal digits, with or without colons.", valueName: "digest"))
    var fingerprint: String

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let digest = try Digest(hex: fingerprint.filter { $0 != ":" }.lowercased())
        let record = try await client.approveBMC(name, ApproveBMCRequest(fingerprint: digest))
        if terminal.isJSON { return terminal.json(record) }
        terminal.print("\(name): its certificate is trusted, and no other; it is asked at once.")
    }
}
