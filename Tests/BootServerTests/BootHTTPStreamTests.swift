import Glibc
import ImageChunks
import NIOCore
import NIOHTTP1
import NIOPosix
import Primitives
import Synchronization
import TestSupport
import Testing

@testable import BootServer

/// A client that asks and then takes nothing until it is told to.
private final class SlowClient: Sendable {
    private let channel: any Channel
    private let taken = Taken()
    let isClosed = Mutex(false)

    /// Keeps what was taken.
    private final class Taken: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        let bytes = Mutex<[UInt8]>([])

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let buffer = Self.unwrapInboundIn(data)
            bytes.withLock { $0 += buffer.readableBytesView }
        }
    }

    init(_ port: Int, _ path: String) async throws {
        channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.autoRead, value: false)
            .channelOption(.socketOption(.so_rcvbuf), value: 4096)
            // Short segments, as on a wire: the server's socket takes little at once.
            .channelOption(.tcpOption(NIOBSDSocket.Option(rawValue: TCP_MAXSEG)), value: 536)
            .channelInitializer { [taken] in $0.pipeline.addHandler(taken) }
            .connect(host: "127.0.0.1", port: port).get()
        channel.closeFuture.whenComplete { [weak self] _ in self?.isClosed.withLock { $0 = true } }
        let request = "GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n"
        try await channel.writeAndFlush(ByteBuffer(string: request))
    }

    func close() async { try? await channel.close() }

    /// Takes all until the server closes.
    func takeAll() async throws -> [UInt8] {
        try await channel.setOption(.autoRead, value: true).get()
        try await channel.closeFuture.get()
        return taken.bytes.withLock { $0 }
    }

    /// Closes with a reset, as firmware does.
    func reset() async throws {
        let options = try #require(channel as? any SocketOptionProvider)
        try await options.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
        try? await channel.close()
    }
}

@Suite("Boot HTTP streams")
struct BootHTTPStreamTests {
    /// 40 chunks of nearly 512 KiB: far more than sockets and buffers hold.
    private func largeLab() throws -> BootHTTPLab { try BootHTTPLab(chunkCount: 40, chunkSize: 500_000) }

    @Test("a client that takes nothing holds back the reading of blobs, others are served, and it is cut off at last")
    func backPressure() async throws {
        var lab = try largeLab()
        lab.limits.stallTimeout = .seconds(5)
        lab.limits.imageStreamCountMax = 1
        let server = lab.server
        let (blobs, manifest, path) = (lab.blobs, lab.manifest, "/images/\(lab.manifest.digest)/chunks")
        try await lab.run(server) { port in
            let slow = try await SlowClient(port, path)
            try await waitUntil { server.imageStreams.taken == 1 && blobs.reads.withLock { $0 } > 0 }
            #expect(try await Answer(port, "/boot/ca.pem").status == 200)
            let busy = try await Answer(port, path)
            #expect(busy.status == 503)
            #expect(busy.headers.first(name: "retry-after") == "5")
            #expect(busy.text.contains("Too many image streams"))
            try await waitUntil { server.imageStreams.taken == 0 }
            #expect(blobs.reads.withLock { $0 } < manifest.chunks.count, "the stream was not held back")
            #expect(try await Answer(port, path).status == 200)
            await slow.close()
        }
    }

    @Test("all chunks before one that cannot be read arrive, so that who asks again is told of that one")
    func unreadable() async throws {
        let lab = try largeLab()
        lab.blobs.remove(lab.manifest.chunks[1].blob)
        try await lab.run { port in
            let slow = try await SlowClient(port, "/images/\(lab.manifest.digest)/chunks")
            try await waitUntil { lab.blobs.reads.withLock { $0 } == 2 }
            let answer = try await slow.takeAll()
            let frames = lab.frames(from: 0).prefix(500_000 + ChunkFrame.headerLength)
            #expect(answer.count > frames.count && answer.suffix(frames.count) == frames, "\(answer.count) bytes came")
        }
    }

    @Test("clients that reset their connection in the middle give their places back")
    func resets() async throws {
        var lab = try largeLab()
        lab.limits.imageStreamCountMax = 4
        let server = lab.server
        let path = "/images/\(lab.manifest.digest)/chunks"
        try await lab.run(server) { port in
            for _ in 0..<3 {
                var clients: [SlowClient] = []
                for _ in 0..<4 { clients.append(try await SlowClient(port, path)) }
                try await waitUntil { server.imageStreams.taken == 4 }
                for client in clients { try await client.reset() }
                try await waitUntil { server.imageStreams.taken == 0 }
            }
            #expect(try await Answer(port, path, method: .HEAD).status == 200)
        }
    }
}
