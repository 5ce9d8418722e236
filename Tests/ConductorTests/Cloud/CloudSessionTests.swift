import AsyncHTTPClient
import ClientSDK
import FleetContract
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Primitives
import Synchronization
import TestSupport
import Testing

/// Clients that get their tokens from a cloud, against an identity API that gives what a test wants.
@Suite struct CloudSessionTests {
    /// Gives tokens t1, t2, … and takes those that were not ended.
    private final class Cloud: Sendable {
        let clock = ManualWallClock()
        let signIns = Mutex(0)
        let ended = Mutex<Set<String>>([])
        let refused = Mutex(false)
        let catalog = Mutex<(url: String, region: String)?>(nil)
        static let lifetime: Duration = .seconds(3600)

        func end(_ token: String) { ended.withLock { _ = $0.insert(token) } }

        func signIn() async throws -> Response {
            // Others may come meanwhile.
            try await Task.sleep(for: .milliseconds(20))
            let number = signIns.withLock { count in
                count += 1
                return count
            }
            guard !refused.withLock(\.self) else { return Response(status: .unauthorized) }
            let services = catalog.withLock(\.self).map { url, region in
                JSONValue.array([
                    ["type": "identity", "endpoints": []],
                    [
                        "type": "fleet",
                        "endpoints": [
                            ["interface": "admin", "region_id": .string(region), "url": "https://nowhere/fleet/v1"],
                            ["interface": "public", "region_id": "elsewhere", "url": "https://nowhere/fleet/v1"],
                            ["interface": "public", "region_id": .string(region), "url": .string(url + "/fleet/v1")],
                        ],
                    ],
                ])
            }
            let expires = "\(clock.now.advanced(by: Self.lifetime))"
            let body: JSONValue = ["token": ["expires_at": .string(expires), "catalog": services ?? []]]
            return Response(
                status: .created, headers: [HTTPField.Name("X-Subject-Token")!: "t\(number)"],
                body: .init(byteBuffer: ByteBuffer(bytes: body.text)))
        }

        func isTaken(_ token: String?) -> Bool {
            guard let token else { return false }
            return !ended.withLock { $0.contains(token) }
        }
    }

    private static func with(
        region: String? = nil, _ body: @escaping @Sendable (Cloud, FleetClient) async throws -> Void
    ) async throws {
        let cloud = Cloud()
        let router = Router()
        router.post("/v3/auth/tokens") { _, _ in try await cloud.signIn() }
        router.get("/fleet/v1/segments") { request, _ -> Response in
            guard cloud.isTaken(request.headers[HTTPField.Name("X-Auth-Token")!]) else {
                return Response(status: .unauthorized)
            }
            return Response(status: .ok, body: .init(byteBuffer: ByteBuffer(string: #"{"items":[]}"#)))
        }
        let (ports, portQueue) = AsyncStream.makeStream(of: Int.self)
        let application = Application(
            router: router, configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { channel in portQueue.yield(channel.localAddress?.port ?? 0) },
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await application.run() }
            defer { group.cancelAll() }
            var iterator = ports.makeAsyncIterator()
            let url = "http://127.0.0.1:\(await iterator.next() ?? 0)"
            cloud.catalog.withLock { $0 = (url, "west") }
            var configuration = FleetClient.Configuration(
                api: nil,
                cloud: CloudAccess(
                    name: "c", file: "clouds.yaml", authURL: url + "/v3",
                    proof: .password(["name": "ann", "password": "x"]), region: region ?? "west"))
            configuration.clock = cloud.clock
            let client = try FleetClient(configuration)
            do { try await withDeadline(.seconds(60)) { try await body(cloud, client) } } catch {
                Issue.record("\(error)")
            }
            await client.shutdown()
        }
    }

    private static func call(_ client: FleetClient) async throws { _ = try await client.segments() }

    @Test func oneSignInServesManyCallsAtOnce() async throws {
        try await Self.with { cloud, client in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<20 { group.addTask { try await Self.call(client) } }
                try await group.waitForAll()
            }
            try await Self.call(client)
            #expect(cloud.signIns.withLock(\.self) == 1)
        }
    }

    @Test func aTokenThatEndsIsReplacedBefore() async throws {
        try await Self.with { cloud, client in
            try await Self.call(client)
            cloud.clock.advance(by: .seconds(3500))
            try await Self.call(client)
            #expect(cloud.signIns.withLock(\.self) == 1)
            cloud.clock.advance(by: .seconds(50))
            cloud.end("t1")
            try await Self.call(client)
            #expect(cloud.signIns.withLock(\.self) == 2)
        }
    }

    @Test func aTokenThatIsVoidIsReplacedOnce() async throws {
        try await Self.with { cloud, client in
            try await Self.call(client)
            cloud.end("t1")
            try await Self.call(client)
            #expect(cloud.signIns.withLock(\.self) == 2)
            for number in 2...4 { cloud.end("t\(number)") }
            await #expect(throws: ClientError.self) { try await Self.call(client) }
            #expect(cloud.signIns.withLock(\.self) == 3, "it does not sign in for ever")
        }
    }

    @Test func whatIsWrongIsTold() async throws {
        try await Self.with(region: "north") { _, client in
            let error = await #expect(throws: ClientError.self) { try await Self.call(client) }
            #expect(error?.publicMessage.contains("no endpoint of the type 'fleet'") == true)
        }
        try await Self.with { cloud, client in
            cloud.refused.withLock { $0 = true }
            let error = await #expect(throws: ClientError.self) { try await Self.call(client) }
            guard case .unauthorized(let message)? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(message.contains("clouds.yaml") && message.contains("--token-file"))
        }
        let plain = CloudAccess(
            name: "c", file: "clouds.yaml", authURL: "http://k:5000/v3", proof: .password([:]))
        let error = #expect(throws: ClientError.self) { try FleetClient(.init(api: nil, cloud: plain)) }
        #expect(error?.publicMessage.contains("https:// addresses only") == true)
    }
}
