import BootServer
import HTTPTypes
import Hummingbird
import HummingbirdCore
import ImageChunks
import Logging
import NIOCore
import NIOEmbedded
import NetworkBoot
import Primitives
import Synchronization

extension FuzzTarget {
    /// A request to the boot server: path and query, a Range header and a Host header in a line each. Nothing is read but
    /// what is public, and what is answered is what was asked for.
    static let bootPath = FuzzTarget("boot-path", sizeMax: 4096) { bytes in
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        var head = HTTPRequest(
            method: (bytes.count % 2 == 0) ? .get : .head, scheme: nil,
            authority: lines.dropFirst(2).first.map(String.init),
            path: String(lines.first ?? ""))
        if let range = lines.dropFirst().first { head.headerFields[.range] = String(range) }
        let place = BootPlace()
        let response: Response
        do {
            response = try await place.respond(Request(head: head, body: RequestBody(buffer: ByteBuffer())))
        } catch let error as HTTPError {
            try require((400..<500).contains(error.status.code), "a refusal, not \(error)")
            return
        }
        try require(response.status.code != 500, "no failure inside")
        let read = place.read.withLock { $0 }
        try require(read.isSubset(of: BootPlace.open), "no other blob than a public one, not \(read)")
        guard let length = response.headers[.contentLength].flatMap(UInt64.init) else { return }
        try require(length <= BootPlace.sizeMax, "at most the whole of what there is")
    }
}

/// A boot server whose every file is known, as one request sees it.
private struct BootPlace {
    static let sizeMax: UInt64 = 8 << 20
    static let kernel = Digest(bytes: [UInt8](repeating: 1, count: 32))
    static let initrd = Digest(bytes: [UInt8](repeating: 2, count: 32))
    static let medium = Digest(bytes: [UInt8](repeating: 3, count: 32))
    static let secret = Digest(bytes: [UInt8](repeating: 9, count: 32))
    static let open: Set<Digest> = [kernel, initrd, medium]
    static let token = String(repeating: "0a", count: 16)

    final class Reads: Sendable {
        private let digests = Mutex<Set<Digest>>([])
        func withLock(_ body: (inout Set<Digest>) -> Set<Digest>) -> Set<Digest> { digests.withLock { body(&$0) } }
        func add(_ digest: Digest) { digests.withLock { _ = $0.insert(digest) } }
    }

    struct Blobs: BlobSource {
        let reads: Reads

        func size(of blob: Digest) async throws -> UInt64? {
            reads.add(blob)
            return BootPlace.sizeMax
        }

        func read(_ blob: Digest, at offset: UInt64, count: Int) async throws -> ByteBuffer {
            reads.add(blob)
            return ByteBuffer(repeating: 0, count: count)
        }
    }

    let read = Reads()

    func respond(_ request: Request) async throws -> Response {
        let content = BootContent(
            decide: { request in
                guard
                    let url = try? BootURL(
                        host: .any, port: 80, path: "/boot/ipxe", query: [.init("mac", "\(request.mac)")])
                else { return .localDisk(chainLoader: nil) }
                return .wait(seconds: 5, retry: url)
            },
            file: { image, name in
                guard image == "discovery" else { return nil }
                return name == .kernel ? Self.kernel : Self.initrd
            }, isPublic: { [Self.kernel, Self.initrd].contains($0) }, authorityPEM: { "PEM" },
            manifest: { digest in
                digest == Self.secret ? nil : try? ChunkManifest(imageSize: 0, chunks: [])
            },
            medium: { token in
                token == Self.token ? BootContent.Medium(image: Self.medium, place: 4096, bytes: [1, 2, 3]) : nil
            }, programs: BootPrograms([.uefiIPXE: [1, 2, 3]]), blobs: Blobs(reads: read))
        let logger = Logger(label: "fuzz") { _ in SwiftLogNoOpLogHandler() }
        let router = Router(context: BootHTTPContext.self)
        BootHTTP(content: content, logger: logger).addRoutes(to: router)
        let channel = EmbeddedChannel()
        defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
        let source = ApplicationRequestContextSource(channel: channel, logger: logger)
        return try await router.buildResponder().respond(to: request, context: BootHTTPContext(source: source))
    }
}
