import ArgumentParser
import ClientSDK
import FleetContract
import ImageChunks
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

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    private static let sizeMax = 1 << 30

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        _ = try DNSLabel(name, as: "ramdisk name")
        var sent: UInt64 = 0
        var digests: [Digest] = []
        for path in [kernel, initrd] {
            let bytes = try TextFile.bytes(path, sizeMax: Self.sizeMax)
            guard !bytes.isEmpty else { throw TextFile.Unreadable(path: path, why: "is empty") }
            let digest = bytes.withUnsafeBytes { ChunkDigest(of: $0) }.digest
            digests.append(digest)
            guard try await !client.missingBlobs([digest]).isEmpty else { continue }
            try await client.storeBlob(digest, length: UInt64(bytes.count), BufferParts(bytes: bytes))
            sent += UInt64(bytes.count)
        }
        let record = try await client.putRamdisk(name, RamdiskRequest(kernel: digests[0], initrd: digests[1]))
        if terminal.isJSON { return terminal.json(record) }
        terminal.print(
            "\(name): kernel \(digests[0]), initial ramdisk \(digests[1]); sent \(ImagePush.megabytes(sent)) MB.")
    }
}
