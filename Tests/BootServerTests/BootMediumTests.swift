import NIOCore
import NIOHTTP1
import NetworkBoot
import Primitives
import Testing

@testable import BootServer

@Suite struct BootMediumTests {
    private static let medium = BootMedium(
        address: IPv4Address(0x0A4D_0001), httpPort: 8080, tlsPort: 8443,
        caFingerprint: Digest(bytes: [UInt8](repeating: 0xAB, count: 32)))

    @Test func `the place is filled exactly, with commands and a comment`() {
        let text = String(decoding: Self.medium.bytes, as: UTF8.self)
        #expect(text.utf8.count == BootMedium.size)
        let lines = text.split(separator: "\n")
        #expect(
            lines[0]
                == "linux /muster/vmlinuz muster.server=10.77.0.1 muster.http=8080 muster.port=8443 muster.ca="
                + String(repeating: "ab", count: 32) + " console=tty0 console=ttyS0,115200")
        #expect(lines[1...2] == ["initrd /muster/initrd.zst", "boot"])
        #expect(lines[3].allSatisfy { $0 == "#" } && lines.count == 4 && text.hasSuffix("#\n"))
        #expect(BootMedium.marker.utf8.count < BootMedium.size)
    }

    @Test func `whatever pieces are read, the whole is the image with the place filled in`() {
        let image = (0..<1000).map { UInt8(truncatingIfNeeded: $0) }
        for place in [0, 1, 333, 990] {
            let bytes = [UInt8](repeating: 0xEE, count: 10)
            var wanted = image
            wanted.replaceSubrange(place..<place + 10, with: bytes)
            let medium = BootContent.Medium(
                image: Digest(bytes: [UInt8](repeating: 1, count: 32)), place: UInt64(place), bytes: bytes)
            for size in [1, 7, 100, 1000] {
                var read: [UInt8] = []
                for start in stride(from: 0, to: 1000, by: size) {
                    var piece = ByteBuffer(bytes: image[start..<min(start + size, 1000)])
                    medium.fill(&piece, at: UInt64(start))
                    read += Array(piece.readableBytesView)
                }
                #expect(read == wanted, "place \(place), pieces of \(size)")
            }
        }
    }

    @Test func `a medium is served by its token, in ranges too, and nothing by another`() async throws {
        let lab = try BootHTTPLab()
        let size = 700_000
        let place = 262_100
        let image = lab.kernel
        let bytes = Self.medium.bytes
        var server = lab.server
        server = BootHTTP(
            content: {
                var content = server.content
                content.medium = { token in
                    token == "a1" ? BootContent.Medium(image: image, place: UInt64(place), bytes: bytes) : nil
                }
                return content
            }(), logger: server.logger)
        var wanted = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) }
        wanted.replaceSubrange(place..<place + bytes.count, with: bytes)
        let expected = wanted
        try await lab.run(server) { port in
            let whole = try await Answer(port, "/boot/media/a1/boot.iso")
            #expect(whole.status == 200 && whole.body == expected)
            let part = try await Answer(
                port, "/boot/media/a1/boot.iso", headers: ["Range": "bytes=262000-263000"])
            #expect(part.status == 206 && part.body == Array(expected[262_000...263_000]))
            #expect(try await Answer(port, "/boot/media/a2/boot.iso").status == 404)
            #expect(try await Answer(port, "/boot/media/a1/vmlinuz").status == 404)
        }
    }
}
