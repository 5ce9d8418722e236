import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOSSL
import Primitives
import Synchronization

/// A client of a seed that writes one thing after the other and counts what it is told; it asks for nothing twice.
final class SeedWriter: Sendable {
    private struct State {
        var acknowledged: Set<String> = []
        var refusals: [String: Int] = [:]
        var isOver = false
    }

    private struct Refusal: Decodable {
        var error: Body

        struct Body: Decodable {
            var code: String
            var message: String
        }
    }

    private let api: String
    private let token: String
    private let authority: String
    private let state = Mutex(State())

    /// A writer with an operator's token; `authority` is the file that the seed is believed by.
    init(api: String, token: String, authority: String) {
        self.api = api
        self.token = token
        self.authority = authority
    }

    /// The names of all that was acknowledged.
    var acknowledged: Set<String> { state.withLock { $0.acknowledged } }

    /// How often it was told what, as `code: message`.
    var refusals: [String: Int] { state.withLock { $0.refusals } }

    func stop() { state.withLock { $0.isOver = true } }

    /// Writes until it is stopped.
    func run() async throws {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .file(authority)
        let client = HTTPClient(configuration: .init(tlsConfiguration: tls, timeout: .init(connect: .seconds(1))))
        var number = 0
        while !state.withLock({ $0.isOver }) {
            number += 1
            // Whether the last one was done is not known: another name each time.
            let name = "writer-\(number)"
            let refusal = await write(name, by: client)
            state.withLock { state in
                if let refusal {
                    state.refusals[refusal, default: 0] += 1
                } else {
                    state.acknowledged.insert(name)
                }
            }
            try? await Task.sleep(for: .milliseconds(40))
        }
        try await client.shutdown()
    }

    /// Makes a token called `name`; returns why not.
    private func write(_ name: String, by client: HTTPClient) async -> String? {
        var request = HTTPClientRequest(url: "\(api)/fleet/v1/tokens/\(name)")
        request.method = .POST
        request.headers.add(name: "authorization", value: "Bearer \(token)")
        request.headers.add(name: "content-type", value: "application/json")
        request.body = .bytes(ByteBuffer(string: #"{"role":"reader"}"#))
        do {
            let answer = try await client.execute(request, timeout: .seconds(3))
            let body = try await answer.body.collect(upTo: 1 << 20)
            guard answer.status.code >= 300 else { return nil }
            let refusal = try JSONDecoder().decode(Refusal.self, from: Data(body.readableBytesView))
            return "\(answer.status.code) \(refusal.error.code): \(refusal.error.message)"
        } catch {
            return "unreachable"
        }
    }
}
