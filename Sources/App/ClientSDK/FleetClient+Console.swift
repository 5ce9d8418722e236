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
        let response = try await open(request, timeout: .seconds(86_400))
        var rest = ByteBuffer()
        do {
            for try await part in response.body {
                rest.writeImmutableBuffer(part)
                while let end = rest.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) {
                    guard let line = rest.readSlice(length: end - rest.readerIndex) else { break }
                    rest.moveReaderIndex(forwardBy: 1)
                    let event: ConsoleEvent = try Self.decode(line)
                    try await body(event)
                    // The rest of `input` has no reader any more.
                    if event.kind == .ended { return }
                }
                rest.discardReadBytes()
                guard rest.readableBytes <= 1 << 20 else {
                    throw ClientError.unreadable("A line of the console is too long.")
                }
            }
        } catch let error as ClientError {
            throw error
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            throw ClientError.unreachable(
                api: configuration.api, why: "the console broke off (\("\(error)".printable(limit: 200)))",
                next: "Try again.")
        }
    }
}
