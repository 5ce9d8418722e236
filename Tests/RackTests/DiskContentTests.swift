import Glibc
import TestSupport
import Testing

@testable import VirtualRack

/// What is planted on disks, seen with blkid's eyes.
@Suite struct DiskContentTests {
    private static let size = 1 << 30

    private func plant(_ content: RackFile.DiskContent, seed: UInt64 = 7) async throws -> [String: String] {
        let folder = try TemporaryDirectory("content")
        defer { withExtendedLifetime(folder) {} }
        let raw = folder.appending("disk.raw")
        try await Commands.run(["truncate", "-s", "\(Self.size)", raw])
        try await content.plant(on: raw, size: Self.size, seed: seed)
        let found = try await Commands.run(["blkid", "--probe", "--output", "export", raw])
        let pairs = found.split(separator: "\n").map { $0.split(separator: "=", maxSplits: 1).map(String.init) }
        // DEVNAME is the file's own path.
        return Dictionary(
            pairs.filter { $0[0] != "DEVNAME" }.map { ($0[0], $0.last ?? "") }, uniquingKeysWith: { first, _ in first })
    }

    @Test(arguments: RackFile.DiskContent.Kind.allCases)
    func isFoundByBlkid(_ kind: RackFile.DiskContent.Kind) async throws {
        let found = try await plant(RackFile.DiskContent(kind: kind, name: "data-1"))
        #expect(found["TYPE"] == kind.signature)
        #expect(found["UUID"] != nil)
        // A volume group's name stands in its metadata, which blkid does not read.
        if kind != .lvm { #expect(found["LABEL"] == "data-1") }
        #expect(found["AMBIVALENT"] == nil)
    }

    @Test(arguments: [RackFile.DiskContent.Kind.lvm, .mdraid])
    func identifiersComeFromTheSeed(_ kind: RackFile.DiskContent.Kind) async throws {
        let content = RackFile.DiskContent(kind: kind, name: "x")
        let (first, same) = (try await plant(content, seed: 1), try await plant(content, seed: 1))
        #expect(first == same)
        #expect(try await plant(content, seed: 2)["UUID"] != first["UUID"])
    }

    @Test func aVolumeGroupIsNamedInItsMetadata() throws {
        let bytes = try VolumeGroupImage(name: "vg-old", size: Self.size, seed: 3).bytes()
        // The label is in the second sector, the text one sector into the area that begins at 4096.
        let text = String(decoding: bytes[(4096 - 512 + 512)...], as: UTF8.self)
        #expect(text.hasPrefix("vg-old {\n"))
        #expect(text.contains("pe_count = 255\n"))
    }
}
