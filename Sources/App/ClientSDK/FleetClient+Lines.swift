import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import Primitives

extension FleetClient {
    /// Opens a stream of JSON lines and gives each to `body` until it returns false or the stream ends; `name` is what
    /// people call it. Throws `ClientError`.
    func eachLine<Line: Decodable>(
        of request: HTTPClientRequest, _ name: String, _ body: (Line) async throws -> Bool
    ) async throws {
        let response = try await open(
            request, timeout: .seconds(86_400), isRepeatable: request.method == .GET)
        var rest = ByteBuffer()
        do {
            for try await part in response.body {
                rest.writeImmutableBuffer(part)
                while let end = rest.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) {
                    guard let line = rest.readSlice(length: end - rest.readerIndex) else { break }
                    rest.moveReaderIndex(forwardBy: 1)
                    guard try await body(try Self.decode(line)) else { return }
                }
                rest.discardReadBytes()
                guard rest.readableBytes <= 1 << 20 else {
                    throw ClientError.unreadable("A line of the \(name) is too long.")
                }
            }
        } catch let error as ClientError {
            throw error
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            throw ClientError.unreachable(
                api: place, why: "the \(name) broke off (\("\(error)".printable(limit: 200)))",
                next: "Try again.")
        }
    }
}
