import AgentProtocol
import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

struct ImageList: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the images for disks, and the ramdisks that machines boot.")

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let list = try await client.images()
        if terminal.isJSON { return terminal.json(list) }
        for line in Self.lines(list, terminal) { terminal.print(line) }
    }

    static func lines(_ list: FleetContract.ImageList, _ terminal: Terminal) -> [String] {
        var images = Table([
            .init("IMAGE", priority: 1), .init("ROLE", priority: 1), .init("SIZE", priority: 2, isRightAligned: true),
            .init("STORED", priority: 3, isRightAligned: true), .init("CHUNKS", priority: 5, isRightAligned: true),
            .init("MANIFEST", priority: 6, least: 12), .init("NODES", priority: 4, least: 10),
        ])
        images.rows = list.images.map { image in
            [
                .init(image.name, .bold), .init(image.spec.role.rawValue), .init(image.spec.size.description),
                .init(image.spec.storedSize.description), .init(String(image.spec.chunkCount)),
                .init(image.spec.manifest.hex), .init(image.nodes.joined(separator: ", ")),
            ]
        }
        var ramdisks = Table([
            .init("RAMDISK", priority: 1), .init("KERNEL", priority: 2, least: 12),
            .init("INITRD", priority: 2, least: 12),
        ])
        ramdisks.rows = list.ramdisks.map {
            [.init($0.name, .bold), .init($0.spec.kernel.hex), .init($0.spec.initrd.hex)]
        }
        let none = "There is no image yet; bring one with 'muster image push NAME --role ROLE --file FILE'."
        let noRamdisk =
            "There is no ramdisk yet; bring one with 'muster image push-ramdisk --kernel FILE --initrd FILE'."
        return (images.rows.isEmpty ? [none] : images.lines(for: terminal)) + [""]
            + (ramdisks.rows.isEmpty ? [noRamdisk] : ramdisks.lines(for: terminal))
    }
}
