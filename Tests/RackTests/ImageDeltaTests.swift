import Foundation
import Glibc
import ImageChunks
import Primitives
import Testing

@testable import VirtualRack

/// What a small change of the node image costs to send.
@Suite(.enabled(if: geteuid() == 0, "images are built by root"))
struct ImageDeltaTests {
    private static let package = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

    private func chunks(of image: String) throws -> [Digest: Int] {
        var stored: [Digest: Int] = [:]
        _ = try ChunkedImage.chunk(file: image) { chunk, bytes in stored[chunk.blob] = bytes.count }
        return stored
    }

    @Test(.timeLimit(.minutes(15))) func `four changed small files send less than two percent again`() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "muster-delta-\(getpid())")
        defer { try? FileManager.default.removeItem(at: folder) }
        let variant = folder.appending(path: "variant")
        for (path, text) in [
            ("etc/motd", "changed\n"), ("etc/issue.net", "changed too\n"), ("etc/profile.d/site.sh", "# changed\n"),
            ("usr/lib/muster/note", "another line\n"),
        ] {
            let file = variant.appending(path: path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try text.write(to: file, atomically: true, encoding: .utf8)
        }
        let build = ["\(Self.package)/Images/node/build.sh", "--role", "network", "--agent"]
        let agent = "\(Self.package)/.build/debug/network-agent"
        for (name, options) in [("old", []), ("new", ["--variant", variant.path])] {
            try await Commands.run(
                build + [agent, "--out", folder.appending(path: name).path] + options, input: "", timeout: .seconds(600)
            )
        }
        let old = try chunks(of: folder.appending(path: "old/node-network.raw").path)
        let new = try chunks(of: folder.appending(path: "new/node-network.raw").path)
        let total = new.values.reduce(0, +)
        let sent = new.filter { old[$0.key] == nil }.values.reduce(0, +)
        #expect(sent > 0, "the variant changed nothing")
        #expect(sent * 50 < total, "\(sent) of \(total) bytes are sent again")
    }
}
