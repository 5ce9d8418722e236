import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import ImageChunks
import NetworkBoot
import Primitives

struct ImagePushRamdisk: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "push-ramdisk", abstract: "Bring the kernel and ramdisk that machines boot over the network.",
        discussion: "The one named 'discovery' is served from the moment that both files are there.")

    @Argument(help: ArgumentHelp("A name for it.", valueName: "name"))
    var name = "discovery"

    @Option(help: ArgumentHelp("The Linux kernel.", valueName: "file"))
    var kernel: String

    @Option(help: ArgumentHelp("The initial ramdisk.", valueName: "file"))
    var initrd: String

    @Option(
        help: ArgumentHelp(
            "The same as an image to boot from, for BMCs with 'boot: media' or 'http'.", valueName: "file"))
    var media: String?

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    private static let sizeMax = 1 << 30

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        _ = try DNSLabel(name, as: "ramdisk name")
        var sent: UInt64 = 0
        var digests: [Digest] = []
        var place: UInt64?
        for path in [kernel, initrd] + [media].compactMap(\.self) {
            let bytes = try TextFile.bytes(path, sizeMax: Self.sizeMax)
            guard !bytes.isEmpty else { throw TextFile.Unreadable(path: path, why: "is empty") }
            if path == media { place = try Self.place(in: bytes, of: path) }
            let digest = bytes.withUnsafeBytes { ChunkDigest(of: $0) }.digest
            digests.append(digest)
            guard try await !client.missingBlobs([digest]).isEmpty else { continue }
            try await client.storeBlob(digest, length: UInt64(bytes.count), BufferParts(bytes: bytes))
            sent += UInt64(bytes.count)
        }
        let medium = place.map { Ramdisk.Spec.Media(image: digests[2], place: $0) }
        let record = try await client.putRamdisk(
            name, RamdiskRequest(kernel: digests[0], initrd: digests[1], media: medium))
        if terminal.isJSON { return terminal.json(record) }
        terminal.print(
            "\(name): kernel \(digests[0]), initial ramdisk \(digests[1]); sent \(ImagePush.megabytes(sent)) MB.")
        if let copies = record.copies { terminal.print(ImagePush.words(forCopies: copies)) }
    }

    /// Where the conductor's address goes in a medium; throws when there is not exactly one such place.
    private static func place(in bytes: [UInt8], of path: String) throws -> UInt64 {
        let marker = Array(BootMedium.marker.utf8)
        // A file of ISO 9660 begins with a sector.
        let sectors = stride(from: 0, to: max(0, bytes.count - BootMedium.size + 1), by: 2048)
        let places = sectors.filter { bytes[$0] == marker[0] && bytes[$0..<$0 + marker.count].elementsEqual(marker) }
        guard places.count == 1 else {
            throw TextFile.Unreadable(path: path, why: "is no medium of 'Images/discovery/media.sh'")
        }
        return UInt64(places[0])
    }
}
