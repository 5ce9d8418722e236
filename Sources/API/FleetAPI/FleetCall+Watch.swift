import APISupport
import FleetContract
import FoundationEssentials
import HTTPTypes
import Hummingbird
import NIOCore
import Primitives
import ResourceModel

extension FleetCall {
    /// Lines of `WatchLine`: without `since` all nodes first, then their changes, and bookmarks in between.
    func watch() async throws -> Response {
        let since = try query("since").map { text in
            guard let number = UInt64(text) else { throw InvalidValue("revision", text, expected: "a whole number") }
            return Revision(number)
        }
        let feed = try await reads.watch(since: since)
        let requestID = context.requestID
        let request = request
        let body = ResponseBody { writer in
            do {
                try await request.body.consumeWithCancellationOnInboundClose { _ in
                    for line in feed.first { try await writer.write(Self.encoded(line)) }
                    try await feed.run { try await writer.write(Self.encoded($0)) }
                }
            } catch let error as StoreError {
                let answer = APIError(error, requestID: requestID)
                let content = ErrorReply.Content(code: answer.code, message: answer.message)
                try await writer.write(Self.encoded(WatchLine(.error, revision: .zero, error: content)))
            }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok, headers: [.contentType: "application/x-ndjson", .cacheControl: "no-store"], body: body)
    }

    /// One line with its end.
    private static func encoded(_ line: WatchLine) throws -> ByteBuffer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return ByteBuffer(bytes: try encoder.encode(line) + [UInt8(ascii: "\n")])
    }
}
