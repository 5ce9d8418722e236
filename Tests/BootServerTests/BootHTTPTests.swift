import AsyncHTTPClient
import Hummingbird
import ImageChunks
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import NetworkBoot
import Primitives
import Synchronization
import TestSupport
import Testing

@testable import BootServer

/// Blobs in memory, which can be made to wait or fail.
final class MemoryBlobs: BlobSource {
    private let blobs = Mutex<[Digest: ByteBuffer]>([:])
    /// How many reads were done.
    let reads = Mutex(0)

    func put(_ bytes: [UInt8]) -> Digest {
        let digest = bytes.withUnsafeBytes { ChunkDigest(of: $0) }.digest
        blobs.withLock { $0[digest] = ByteBuffer(bytes: bytes) }
        return digest
    }

    func remove(_ digest: Digest) { blobs.withLock { $0[digest] = nil } }

    func size(of blob: Digest) async throws -> UInt64? { blobs.withLock { $0[blob].map { UInt64($0.readableBytes) } } }

    func read(_ blob: Digest, at offset: UInt64, count: Int) async throws -> ByteBuffer {
        reads.withLock { $0 += 1 }
        guard let part = blobs.withLock({ $0[blob]?.getSlice(at: Int(offset), length: count) }) else {
            throw InvalidValue("blob", blob.hex, expected: "a stored one")
        }
        return part
    }
}

/// A boot server on a free port of the loopback interface.
struct BootHTTPLab {
    let blobs = MemoryBlobs()
    let kernel: Digest
    let secret: Digest
    let manifest: ChunkManifest
    let stored: [[UInt8]]
    var limits = BootHTTP.Limits()
    let requests = Requests()

    final class Requests: Sendable {
        let seen = Mutex<[BootRequest]>([])
    }

    init(chunkCount: Int = 5, chunkSize: Int = 3000) throws {
        var random = SeededRandom(seed: 3)
        func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in .random(in: 0...255, using: &random) } }
        kernel = blobs.put((0..<700_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) })
        secret = blobs.put(bytes(100))
        var (chunks, stored) = ([ImageChunk](), [[UInt8]]())
        for index in 0..<chunkCount {
            let body = chunkSize < 10_000 ? bytes(chunkSize) : [UInt8](repeating: UInt8(index), count: chunkSize)
            stored.append(body)
            _ = blobs.put(body)
            let digest = body.withUnsafeBytes { ChunkDigest(of: $0) }
            chunks.append(
                ImageChunk(
                    offset: UInt64(index) * 8192, length: 4096, raw: digest, stored: digest,
                    storedLength: chunkSize))
        }
        manifest = try ChunkManifest(imageSize: UInt64(max(chunkCount, 1)) * 8192, chunks: chunks)
        self.stored = stored
    }

    /// The stream of chunks from one on, as it must arrive.
    func frames(from first: Int) -> [UInt8] {
        stored.indices.dropFirst(first).flatMap {
            ChunkFrame.header(index: $0, storedLength: stored[$0].count) + stored[$0]
        }
    }

    var server: BootHTTP {
        let (kernel, manifest, digest, requests) = (kernel, manifest, manifest.digest, requests)
        let content = BootContent(
            decide: { request in
                requests.seen.withLock { $0.append(request) }
                return .localDisk(chainLoader: nil)
            },
            file: { image, name in image == "discovery" && name == .kernel ? kernel : nil },
            isPublic: { $0 == kernel }, authorityPEM: { "-----BEGIN CERTIFICATE-----\n" },
            manifest: { $0 == digest ? manifest : nil },
            programs: BootPrograms([.uefiIPXE: [77, 90, 1, 2, 3]]), blobs: blobs)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return BootHTTP(content: content, limits: limits, logger: logger)
    }

    /// Runs the server while `body` is given its port.
    func run(_ body: @escaping @Sendable (Int) async throws -> Void) async throws { try await run(server, body) }

    func run(_ server: BootHTTP, _ body: @escaping @Sendable (Int) async throws -> Void) async throws {
        let (ports, told) = AsyncStream.makeStream(of: Int.self)
        let application = server.application(host: "127.0.0.1", port: 0) { told.yield($0) }
        try await withDeadline(.seconds(60)) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await application.run() }
                var iterator = ports.makeAsyncIterator()
                let port = try #require(await iterator.next())
                defer { group.cancelAll() }
                try await body(port)
            }
        }
    }
}

/// An answer in full.
struct Answer: Sendable {
    let status: Int
    let headers: HTTPHeaders
    let body: [UInt8]

    var text: String { String(decoding: body, as: UTF8.self) }

    init(_ port: Int, _ path: String, method: HTTPMethod = .GET, headers: HTTPHeaders = [:]) async throws {
        var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)\(path)")
        request.method = method
        // No connection is used twice: the server may just be closing it as idle.
        request.headers = headers
        request.headers.add(name: "Connection", value: "close")
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
        status = Int(response.status.code)
        self.headers = response.headers
        body = Array(buffer: try await response.body.collect(upTo: 64 << 20))
    }
}

@Suite("Boot HTTP server")
struct BootHTTPTests {
    private let uuid = "01234567-89ab-cdef-0123-456789abcdef"

    @Test("the script is decided by who asks")
    func script() async throws {
        let lab = try BootHTTPLab()
        try await lab.run { port in
            let answer = try await Answer(
                port, "/boot/ipxe?mac=52-54-00-77-00-01&uuid=\(uuid.uppercased())&serial=SN%200001")
            #expect(answer.status == 200)
            #expect(answer.text == BootScript.localDisk(chainLoader: nil).text)
            #expect(answer.headers.first(name: "cache-control") == "no-store")
            #expect(answer.headers.first(name: "content-length") == String(answer.body.count))
        }
        #expect(
            lab.requests.seen.withLock { $0 } == [
                BootRequest(mac: Lab.mac(1), uuid: uuid, serial: "SN 0001", remoteAddress: "127.0.0.1")
            ])
    }

    @Test(
        "a request that cannot be right is refused in words",
        arguments: [
            ("", "mac"), ("?mac=52:54", "MAC address"), ("?mac=52:54:00:77:00:01&uuid=x", "uuid"),
            ("?mac=52:54:00:77:00:01&uuid=0123456789ab-cdef-0123-456789abcdef----", "uuid"),
            ("?mac=52:54:00:77:00:01&serial=a%0Aboot", "serial"), ("?mac=%0A", "MAC address"),
        ])
    func refused(query: String, word: String) async throws {
        let lab = try BootHTTPLab()
        try await lab.run { port in
            let answer = try await Answer(port, "/boot/ipxe" + query)
            #expect(answer.status == 400)
            #expect(answer.text.contains(word))
            #expect(answer.body.count { $0 == UInt8(ascii: "\n") } == 1)
        }
        #expect(lab.requests.seen.withLock { $0.isEmpty })
    }

    @Test("files come whole, in ranges, and as a HEAD; double slashes do no harm")
    func files() async throws {
        let lab = try BootHTTPLab()
        let whole = try await lab.blobs.read(lab.kernel, at: 0, count: 700_000)
        try await lab.run { port in
            for path in ["/boot/discovery/vmlinuz", "/boot//discovery/vmlinuz", "//boot/blobs/\(lab.kernel)"] {
                let answer = try await Answer(port, path)
                #expect(answer.status == 200)
                #expect(answer.body == Array(buffer: whole))
                #expect(answer.headers.first(name: "content-length") == "700000")
                let head = try await Answer(port, path, method: .HEAD)
                #expect(head.status == 200)
                #expect(head.body.isEmpty)
                #expect(head.headers.first(name: "content-length") == "700000")
            }
            let part = try await Answer(port, "/boot/discovery/vmlinuz", headers: ["Range": "bytes=65536-399999"])
            #expect(part.status == 206)
            #expect(part.body == Array(buffer: whole)[65536..<400_000].map { $0 })
            #expect(part.headers.first(name: "content-range") == "bytes 65536-399999/700000")
            let beyond = try await Answer(port, "/boot/discovery/vmlinuz", headers: ["Range": "bytes=700000-"])
            #expect(beyond.status == 416)
            #expect(beyond.headers.first(name: "content-range") == "bytes */700000")
        }
    }

    @Test("only what is public is found")
    func hidden() async throws {
        let lab = try BootHTTPLab()
        let unknown = Digest(bytes: Array(repeating: 1, count: 32))
        try await lab.run { port in
            #expect(try await Answer(port, "/boot/blobs/\(lab.secret)").status == 404)
            #expect(try await Answer(port, "/boot/blobs/\(unknown)").status == 404)
            #expect(try await Answer(port, "/boot/blobs/..%2f..%2fetc%2fpasswd").status == 400)
            #expect(try await Answer(port, "/boot/discovery/initrd.zst").status == 404)
            #expect(try await Answer(port, "/boot/other/vmlinuz").status == 404)
            #expect(try await Answer(port, "/images/\(unknown)/chunks").status == 404)
            #expect(try await Answer(port, "/images/\(lab.kernel)/chunks").status == 404)
            #expect(try await Answer(port, "/").status == 404)
            #expect(try await Answer(port, "/boot/ipxe", method: .POST).status != 200)
            let authority = try await Answer(port, "/boot/ca.pem")
            #expect(authority.text == "-----BEGIN CERTIFICATE-----\n")
            #expect(try await Answer(port, "/boot/ca.pem", method: .HEAD).headers.first(name: "content-length") == "28")
            let program = try await Answer(port, "/boot/programs/snponly.efi")
            #expect(program.status == 200 && program.body == [77, 90, 1, 2, 3])
            let head = try await Answer(port, "/boot/programs/snponly.efi", method: .HEAD)
            #expect(head.headers.first(name: "content-length") == "5" && head.body.isEmpty)
            for path in ["local.efi", "none", "..%2Fca.pem"] {
                #expect(try await Answer(port, "/boot/programs/\(path)").status == 404)
            }
        }
    }

    @Test("chunks stream as frames from any one on", arguments: [0, 1, 4, 5])
    func chunks(first: Int) async throws {
        let lab = try BootHTTPLab()
        try await lab.run { port in
            let path = "/images/\(lab.manifest.digest)/chunks?from=\(first)"
            let answer = try await Answer(port, path)
            #expect(answer.status == 200)
            #expect(answer.body == lab.frames(from: first))
            var decoder = ChunkFrameDecoder(manifest: lab.manifest, next: first)
            decoder.append(answer.body)
            while try decoder.take() != nil {}
            #expect(decoder.isComplete)
            let head = try await Answer(port, path, method: .HEAD)
            #expect(head.headers.first(name: "content-length") == String(answer.body.count))
        }
    }

    @Test("a first chunk out of range is refused", arguments: ["6", "-1", "x", "", "99999999999999999999"])
    func badChunk(first: String) async throws {
        let lab = try BootHTTPLab()
        try await lab.run { port in
            let answer = try await Answer(port, "/images/\(lab.manifest.digest)/chunks?from=\(first)")
            #expect(answer.status == 400)
            #expect(answer.text.contains("0 to 5"))
        }
    }

    @Test("a chunk that cannot be read breaks the stream off; asking again from there tells why")
    func missingChunk() async throws {
        let lab = try BootHTTPLab()
        lab.blobs.remove(lab.manifest.chunks[2].blob)
        try await lab.run { port in
            await #expect(throws: (any Error).self) {
                try await Answer(port, "/images/\(lab.manifest.digest)/chunks")
            }
            let there = try await Answer(port, "/images/\(lab.manifest.digest)/chunks?from=2")
            #expect(there.status == 409)
            #expect(there.text.contains("Chunk 2 of the image") && there.text.contains("muster image push"))
            let after = try await Answer(port, "/images/\(lab.manifest.digest)/chunks?from=3")
            #expect(after.status == 200)
        }
    }

    @Test("too long targets and headers are refused")
    func limits() async throws {
        let lab = try BootHTTPLab()
        try await lab.run { port in
            let long = String(repeating: "a", count: 3000)
            let refused = try await Answer(port, "/boot/ipxe?mac=\(long)")
            #expect(refused.status == 414)
            let big = String(repeating: "a", count: 20_000)
            let answer = try? await Answer(port, "/boot/ca.pem", headers: ["X-Big": big])
            #expect(answer?.status != 200)
        }
    }
}
