import AsyncHTTPClient
import FleetContract
import FoundationEssentials
import NIOCore
import NIOHTTP1
import Primitives

extension FleetClient {
    /// Takes part in a node's live console: `input` goes to it, every event of it to `body`, until either ends.
    public func attachConsole(
        to node: String, views: Bool = false, takes: Bool = false, input: AsyncStream<ConsoleInput>,
        _ body: (ConsoleEvent) async throws -> Void
    ) async throws {
        var request = request(
            .POST, FleetPath.below("nodes", node, "console"),
            query: [("view", views ? "true" : nil), ("take", takes ? "true" : nil)])
        request.headers.add(name: "Content-Type", value: "application/x-ndjson")
        let lines = input.map { input in ByteBuffer(bytes: try JSONEncoder().encode(input) + [UInt8(ascii: "\n")]) }
        request.body = .stream(lines, length: .unknown)
        try await eachLine(of: request, "console") { (event: ConsoleEvent) in
            try await body(event)
            // The rest of `input` has no reader any more.
            return event.kind != .ended
        }
    }
}
