import AgentPort
import AgentProtocol
import NIOCore
import NIOWebSocket
import NodeTransport
import Primitives
import Testing
import WebSocketMessages

/// Frames as a hostile or unusual client sends them (RFC 6455).
@Suite("WebSocket frames", .timeLimit(.minutes(1)))
struct WebSocketFrameTests {
    let site: TestSite

    init() throws { site = try TestSite() }

    private func send(
        _ connection: WebSocketConnection, _ opcode: WebSocketOpcode, _ text: String, fin: Bool = true,
        isMasked: Bool = true
    ) async throws {
        let frame = WebSocketFrame(
            fin: fin, opcode: opcode, maskKey: isMasked ? .random() : nil, data: ByteBuffer(string: text))
        try await connection.channel.writeAndFlush(frame)
    }

    /// Runs `body` with a stream, and gives the reason for which the server ended it.
    private func end(
        _ body: (WebSocketConnection) async throws -> Void
    ) async throws -> WebSocketEnd? {
        var end: WebSocketEnd?
        try await withPort(site, change: { $0.stream.messageSizeMax = 1000 }) { _, endpoint, recorder in
            let connection = try await connect(endpoint, site.security(for: TestSite.node(1)))
            _ = await recorder.nextConnected()
            try await body(connection)
            end = await recorder.nextDisconnected()?.1
        }
        return end
    }

    @Test func fragmentsBecomeOneMessage() async throws {
        try await withPort(site) { _, endpoint, recorder in
            let connection = try await connect(endpoint, site.security(for: TestSite.node(1)))
            let message = AgentMessage.renew(signingRequest: "in three pieces")
            let text = String(decoding: try AgentStream.encode(message), as: UTF8.self)
            try await send(connection, .text, String(text.prefix(5)), fin: false)
            try await send(connection, .ping, "between")
            try await send(connection, .continuation, String(text.dropFirst(5).prefix(5)), fin: false)
            try await send(connection, .continuation, String(text.dropFirst(10)))
            #expect(await recorder.nextMessage() == message)
            connection.close(reason: "done")
        }
    }

    @Test func fragmentsTogetherKeepTheLimit() async throws {
        let reason = try await end { connection in
            try await send(connection, .text, String(repeating: "x", count: 600), fin: false)
            try await send(connection, .continuation, String(repeating: "x", count: 600))
        }
        #expect(reason == .messageTooLarge(limit: 1000))
    }

    @Test func brokenProtocolEndsTheStream() async throws {
        let unmasked = try await end { try await send($0, .text, "{}", isMasked: false) }
        #expect(unmasked == .protocolError("an unmasked frame from a client"))
        let stray = try await end { try await send($0, .continuation, "{}") }
        #expect(stray == .protocolError("fragments out of order"))
        let interrupted = try await end { connection in
            try await send(connection, .text, "{", fin: false)
            try await send(connection, .text, "{}")
        }
        #expect(interrupted == .protocolError("fragments out of order"))
        let binary = try await end { try await send($0, .binary, "{}") }
        #expect(binary == .protocolError("only text messages are understood"))
    }

    @Test func nonsenseIsCountedAndThenEndsTheStream() async throws {
        let reason = try await end { connection in
            for _ in 0..<40 where connection.end == nil { try? await send(connection, .text, "nonsense") }
        }
        guard case .closedHere(let text) = reason else {
            Issue.record("the stream ended otherwise: \(String(describing: reason))")
            return
        }
        #expect(text.contains("not understood"))
    }
}
