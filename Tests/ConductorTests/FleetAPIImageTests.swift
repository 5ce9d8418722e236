import AgentProtocol
import BlobStore
import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import FleetContract
import ImageChunks
import Primitives
import StoreMemory
import TestSupport
import Testing

@testable import CLICommands

@Suite struct FleetAPIImageTests {
    private let terminal = Terminal(width: nil, isInteractive: false, isJSON: false)

    /// Bytes that do not compress and are the same every time.
    private func noise(_ count: Int, seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count { withUnsafeBytes(of: random.next()) { bytes.append(contentsOf: $0) } }
        return Array(bytes.prefix(count))
    }

    @Test func onlyWhatIsMissingIsSent() async throws {
        let directory = try TemporaryDirectory("image")
        var bytes = noise(8 << 20, seed: 1) + [UInt8](repeating: 0, count: 1 << 20)
        let path = try directory.write("disk.raw", bytes)
        bytes.replaceSubrange(3 << 20..<(3 << 20) + 100, with: noise(100, seed: 2))
        let changed = try directory.write("changed.raw", bytes)
        try await withFleet { fleet in
            try await fleet.with { (client: FleetClient) async throws in
                let first = try await ImageSender(client: client, terminal: terminal, file: path).send()
                #expect(first.sentCount == first.chunkCount)
                #expect(first.sentBytes == first.storedBytes)
                let image = try await client.putImage("net", .init(role: .network, manifest: first.manifest))
                #expect(image.spec.size == .mebibytes(9))
                #expect(image.spec.chunkCount == first.chunkCount)
                #expect(try await client.images().images.map(\.name) == ["net"])
                let again = try await ImageSender(client: client, terminal: terminal, file: path).send()
                #expect(again.sentCount == 0)
                #expect(again.manifest == first.manifest)
                let second = try await ImageSender(client: client, terminal: terminal, file: changed).send()
                #expect((1...3).contains(second.sentCount))
                #expect(second.sentBytes * 8 < second.storedBytes)
            }
        }
    }

    @Test func anImageIsCurrentOnlyWhenItIsWhole() async throws {
        let directory = try TemporaryDirectory("image")
        let path = try directory.write("disk.raw", noise(3 << 20, seed: 5))
        var frames: [(digest: Digest, bytes: [UInt8])] = []
        let manifest = try ChunkedImage.chunk(file: path) { frames.append(($0.blob, $1)) }
        let all = frames
        try await withFleet { fleet in
            try await fleet.with { (client: FleetClient) async throws in
                let request = ImageRequest(role: .network, manifest: manifest.digest)
                let none = await #expect(throws: ClientError.self) { try await client.putImage("net", request) }
                #expect(none?.publicMessage.hasPrefix("The manifest \(manifest.digest) is not stored") == true)
                let encoded = manifest.encoded()
                try await client.storeBlob(
                    manifest.digest, length: UInt64(encoded.count), BufferParts(bytes: encoded))
                try await client.storeBlobs(Array(all.dropLast(2)))
                let some = await #expect(throws: ClientError.self) { try await client.putImage("net", request) }
                #expect(some?.publicMessage.hasPrefix("2 of \(all.count) chunks of the image are missing") == true)
                #expect(some?.exitCode == 4)
                #expect(try await client.missingBlobs(all.map(\.digest)) == all.suffix(2).map(\.digest))
                try await client.storeBlobs(Array(all.suffix(2)))
                _ = try await client.putImage("net", request)
            }
        }
    }

    @Test func blobsAreWhatTheirNamesSay() async throws {
        try await withFleet { fleet in
            let wrong = Digest(bytes: [UInt8](repeating: 1, count: 32))
            let error = await #expect(throws: ClientError.self) {
                try await fleet.with { try await $0.storeBlob(wrong, length: 3, BufferParts(bytes: [1, 2, 3])) }
            }
            #expect(error?.exitCode == 4)
            #expect(!fleet.blobs.contains(wrong))
            let admin = fleet.tokens[.admin]
            let bad = [
                "\u{0}\u{0}\u{0}\u{5}abc", "\u{0}\u{0}", "\u{0}\u{0}\u{0}\u{0}", "\u{7F}\u{7F}\u{7F}\u{7F}abc",
            ]
            for body in bad {
                let answer = try await fleet.raw(
                    "POST", "/fleet/v1/blobs", token: admin, body: body, contentType: BlobBatch.contentType)
                #expect(answer.status == 400, "\(answer.body)")
            }
            let good = try await fleet.raw(
                "POST", "/fleet/v1/blobs", token: admin, body: "\u{0}\u{0}\u{0}\u{3}abc\u{0}\u{0}\u{0}\u{1}x",
                contentType: BlobBatch.contentType)
            #expect(good.status == 200)
            // SHA-256 of `abc` (FIPS 180-4, appendix B.1).
            #expect(good.body.contains("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"))
        }
    }

    @Test func aManifestThatIsNoneIsRefused() async throws {
        try await withFleet { fleet in
            let digest = try fleet.blobs.put(Array("no manifest".utf8))
            let error = await #expect(throws: ClientError.self) {
                try await fleet.with { try await $0.putImage("net", .init(role: .network, manifest: digest)) }
            }
            guard case .refused("invalid_manifest", _)? = error else {
                Issue.record("a refusal was expected, not \(String(describing: error))")
                return
            }
        }
    }

    @Test func ramdisksNeedBothFiles() async throws {
        try await withFleet { fleet in
            let kernel = try fleet.blobs.put([1])
            try await fleet.with { (client: FleetClient) async throws in
                let missing = Digest(bytes: [UInt8](repeating: 2, count: 32))
                let error = await #expect(throws: ClientError.self) {
                    try await client.putRamdisk("discovery", .init(kernel: kernel, initrd: missing))
                }
                #expect(error?.publicMessage.hasPrefix("The initial ramdisk") == true)
                _ = try await client.putRamdisk("discovery", .init(kernel: kernel, initrd: kernel))
                #expect(try await client.images().ramdisks.map(\.name) == ["discovery"])
            }
        }
    }
}
