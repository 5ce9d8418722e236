import AgentProtocol
import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

struct ImagePush: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "push", abstract: "Bring a disk image to the conductor, sending only what it lacks.",
        discussion: """
            The image is cut into chunks by its content; chunks that the conductor has, of this or any other image, are not \
            sent again. The image becomes current only when all is there; machines take it up with 'muster node deploy'.
            """)

    @Argument(help: ArgumentHelp("A name for the image.", valueName: "name"))
    var name: String

    @Option(help: "The role whose image it is.")
    var role: Role

    @Option(help: ArgumentHelp("The raw disk image.", valueName: "file"))
    var file: String

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    /// What was pushed.
    struct Report: Encodable {
        var image: ImageRecord
        var chunkCount: Int
        var sentChunkCount: Int
        var storedBytes: UInt64
        var sentBytes: UInt64
        var sentPercent: Double
    }

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        _ = try DNSLabel(name, as: "image name")
        let sender = ImageSender(client: client, terminal: terminal, file: file)
        let result = try await sender.send()
        let image = try await client.putImage(name, ImageRequest(role: role, manifest: result.manifest))
        let percent = result.storedBytes == 0 ? 0 : Double(result.sentBytes) * 100 / Double(result.storedBytes)
        let report = Report(
            image: image, chunkCount: result.chunkCount, sentChunkCount: result.sentCount,
            storedBytes: result.storedBytes, sentBytes: result.sentBytes,
            sentPercent: (percent * 100).rounded() / 100)
        if terminal.isJSON { return terminal.json(report) }
        terminal.print(
            "\(name): \(image.spec.size), \(result.chunkCount) chunks, \(ByteCount(bytes: result.storedBytes)) compressed."
        )
        terminal.print(
            "Sent \(result.sentCount) chunks, \(Self.megabytes(result.sentBytes)) MB: \(Self.percent(percent)) % of it."
        )
        if let copies = image.copies { terminal.print(Self.words(forCopies: copies)) }
    }

    /// On how many conductors something is.
    static func words(forCopies count: Int) -> String {
        count == 1
            ? "It is on one conductor, as no other is registered." : "It is on \(count) conductors."
    }

    static func megabytes(_ bytes: UInt64) -> String {
        let tenths = (bytes + 50_000) / 100_000
        return "\(tenths / 10).\(tenths % 10)"
    }

    static func percent(_ percent: Double) -> String {
        let hundredths = Int((percent * 100).rounded())
        return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)"
    }
}
