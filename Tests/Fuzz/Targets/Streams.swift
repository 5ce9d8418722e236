import ImageChunks
import NIOCore
import NIOEmbedded
import NIOWebSocket
import Primitives
import WebSocketMessages

extension FuzzTarget {
    /// The bytes of a client's WebSocket: what is delivered, buffered and answered stays within the limits, and the end
    /// comes with a reason.
    static let webSocket = FuzzTarget("web-socket", sizeMax: 8192) { bytes in
        let limits = WebSocketLimits(
            messageSizeMax: 1024, fragmentCountMax: 8, inboundMessagesMax: 4096, pingInterval: .seconds(15))
        let (connection, answered) = try stream(bytes, limits)
        try require(answered <= bytes.count * 2 + 256, "answers no longer than what was said, not \(answered) bytes")
        try require(connection.end != nil, "a reason for the end")
        for await message in connection.messages {
            try require(message.readableBytes <= limits.messageSizeMax, "a message within its limit")
        }
    }

    /// Gives `bytes` to the server's end of a connection, and counts what it writes until the connection is closed.
    private static func stream(
        _ bytes: [UInt8], _ limits: WebSocketLimits
    ) throws -> (WebSocketConnection, answered: Int) {
        let channel = EmbeddedChannel()
        try channel.connect(to: SocketAddress(ipAddress: "192.0.2.1", port: 1)).wait()
        try channel.pipeline.syncOperations.addHandlers([
            WebSocketFrameEncoder(), ByteToMessageHandler(WebSocketFrameDecoder(maxFrameSize: limits.messageSizeMax)),
        ])
        let connection = try WebSocketConnection.install(on: channel, side: .server, limits: limits)
        var rest = bytes[...]
        while !rest.isEmpty, channel.isActive {
            // The first byte of a piece says how long it is, so that frames are cut anywhere.
            let piece = rest.prefix(1 + Int(rest.first ?? 0) % 97)
            rest = rest.dropFirst(piece.count)
            _ = try? channel.writeInbound(ByteBuffer(bytes: piece))
            channel.embeddedEventLoop.run()
        }
        channel.embeddedEventLoop.advanceTime(by: .seconds(120))
        var answered = 0
        while let part = try? channel.readOutbound(as: ByteBuffer.self) { answered += part.readableBytes }
        _ = try? channel.finish(acceptAlreadyClosed: true)
        return (connection, answered)
    }

    /// A manifest is its own canonical form.
    static let chunkManifest = FuzzTarget("chunk-manifest", sizeMax: 16384) { bytes in
        guard let manifest = try? ChunkManifest(decoding: bytes) else { return }
        try require(manifest.encoded() == bytes, "one canonical form")
        try require(manifest.dataSize <= manifest.imageSize, "no more data than the image has bytes")
    }

    /// A stream of chunks: pieces whose length their first byte says; frames come in order, and what is in them is
    /// unpacked to no more than was announced.
    static let chunkFrames = FuzzTarget("chunk-frames", sizeMax: 32768) { bytes in
        var target = [UInt8](repeating: 0, count: 1 << 16)
        _ = bytes.withUnsafeBytes { frame in
            target.withUnsafeMutableBytes { ZstdDecompressor().decompress(frame, into: $0) }
        }
        let lengths = [9, 40, 1, 300]
        let chunks = try lengths.enumerated().map { index, length in
            try chunk(at: UInt64(index) << 16, storedLength: length)
        }
        var decoder = ChunkFrameDecoder(manifest: try ChunkManifest(imageSize: 1 << 20, chunks: chunks), next: 0)
        var expected = 0
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = rest.prefix(1 + Int(rest.first ?? 0))
            rest = rest.dropFirst(piece.count)
            decoder.append(Array(piece.dropFirst()))
            do {
                while let (index, stored) = try decoder.take() {
                    try require(index == expected && stored.count == lengths[index], "the chunk that is due")
                    try require(
                        !ZstdDecompressor().opens(Array(stored), as: chunks[index]), "no chunk by another digest")
                    expected += 1
                }
            } catch is ChunkError { return }
        }
    }

    private static func chunk(at offset: UInt64, storedLength: Int) throws -> ImageChunk {
        let zero = ChunkDigest(of: UnsafeRawBufferPointer(start: nil, count: 0))
        return ImageChunk(offset: offset, length: 4096, raw: zero, stored: zero, storedLength: storedLength)
    }
}

extension ZstdDecompressor {
    /// Whether `stored` is accepted for `chunk`.
    fileprivate func opens(_ stored: [UInt8], as chunk: ImageChunk) -> Bool {
        var target = [UInt8](repeating: 0, count: chunk.length)
        return stored.withUnsafeBytes { frame in
            target.withUnsafeMutableBytes { target in
                (try? open(frame, as: chunk, index: 0, into: target)) != nil
            }
        }
    }
}
