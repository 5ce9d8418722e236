import AgentProtocol
import AsyncHTTPClient
import BlobStore
import CatalogBareMetal
import Foundation
import Glibc
import Identity
import NIOCore
import NIOHTTP1
import NIOSSL
import NodeTransport
import Primitives
import ResourceModel
import StoreSQLite
import TestSupport
import Testing
import WebSocketMessages

@testable import ConductorServer

/// A conductor as a process of its own that is flooded, while a client that behaves gets what it asks for.
@Suite(.serialized, .enabled(if: geteuid() == 0, "the conductor needs root")) struct FloodTests {
    private static let perAddress = 40
    /// MiB that all floods together may add to what the process has taken at its start.
    private static let growthMax = 160

    /// Runs `body` with the process; its memory and its open files are looked at afterwards.
    private static func flood(
        prepare: (String) async throws -> Void = { _ in },
        _ body: (_ ports: [Int], _ good: WellBehaved) async throws -> Void
    ) async throws {
        let more = ["--connections-per-address", "\(perAddress)"]
        try await RunningConductor.with(more: more, prepare: prepare) { state, ports, client in
            let good = try WellBehaved(client, ports, state)
            try await good.checkAll("before")
            let process = try #require(good.process)
            let before = try ProcessMemory(of: process)
            try await body(ports, good)
            try await good.checkAll("after")
            let after = try ProcessMemory(of: process)
            #expect(after.peak - before.peak <= growthMax, "\(before.peak) MiB before, \(after.peak) MiB at most")
        }
    }

    @Test(.timeLimit(.minutes(3))) func `thousands of connections and clients that never finish stop nobody else`()
        async throws
    {
        try await Self.flood { ports, good in
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            limit.rlim_cur = min(limit.rlim_max, 16_384)
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            var sockets: [(port: Int, host: UInt8, socket: RawSocket)] = []
            // A head that never ends, a body that never comes, a handshake that stops half-way; and silence.
            let beginnings = [
                "GET /boot/ca.pem HTTP/1.1\r\nHost: x\r\nX: ",
                "POST /discovery/v1/inventory HTTP/1.1\r\nContent-Length: 500000\r\n\r\n{",
                "\u{16}\u{3}\u{1}\u{2}", "",
            ]
            for round in 0..<260 {
                for host: UInt8 in [66, 67, 68] {
                    for port in ports {
                        guard let socket = try? RawSocket(from: host, to: port) else { continue }
                        socket.send(beginnings[round % beginnings.count])
                        sockets.append((port, host, socket))
                    }
                }
                if round % 60 == 0 { try await good.checkAll("while \(sockets.count) connections are made") }
            }
            #expect(sockets.count > 3000)
            for second in 0..<3 {
                // One byte now and then.
                for entry in sockets { entry.socket.send("a") }
                try await good.checkAll("\(second) s into the flood")
                try await Task.sleep(for: .seconds(1))
            }
            for port in ports {
                for host: UInt8 in [66, 67, 68] {
                    let open = sockets.count { $0.port == port && $0.host == host && $0.socket.isOpen }
                    // At the operators' port, behind which all of them may be, eight times as many.
                    let most = Self.perAddress * (port == ports[0] ? 8 : 1)
                    #expect(open <= most, "\(open) connections of one address at port \(port)")
                }
            }
        }
    }

    /// Requests that are too large in one way or other, and the statuses that may answer them; nil: the connection is
    /// closed.
    static let oversized: [(name: String, request: String, statuses: [String?])] = [
        (
            "a field of 100 KiB",
            "GET /boot/ca.pem HTTP/1.1\r\nHost: x\r\nX: \(String(repeating: "a", count: 100_000))\r\n\r\n",
            ["431", "400", nil]
        ),
        (
            "5,000 fields", "GET /boot/ca.pem HTTP/1.1\r\n\(String(repeating: "A: b\r\n", count: 5000))\r\n",
            ["431", "400", nil]
        ),
        (
            "a path of 10,000 bytes", "GET /boot/\(String(repeating: "a", count: 10_000)) HTTP/1.1\r\nHost: x\r\n\r\n",
            ["414", "431", "400"]
        ),
        ("a name without an end", String(repeating: "A", count: 200_000), ["431", "400", nil]),
        (
            "a length that is negative", "POST /boot/ipxe HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            ["400", nil]
        ),
        (
            "two lengths", "POST /boot/ipxe HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            ["400", nil]
        ),
        (
            "a length and chunks",
            "POST /boot/ipxe HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ["400", "404", nil]
        ),
        (
            "chunk 1000000 of an image",
            "GET /images/\(String(repeating: "0", count: 64))/chunks?from=1000000 HTTP/1.1\r\nHost: x\r\n\r\n",
            ["404", "400"]
        ),
        ("a NUL in a field", "GET /boot/ca.pem HTTP/1.1\r\nHost: x\u{0}y\r\n\r\n", ["400", nil]),
        ("HTTP/0.9", "GET /boot/ca.pem\r\n\r\n", ["400", "505", nil]),
    ]

    @Test(.timeLimit(.minutes(3))) func `whatever is too large is answered by its limit`() async throws {
        try await Self.flood { ports, good in
            for (name, request, statuses) in Self.oversized {
                let socket = try RawSocket(from: 70, to: ports[1])
                var rest = request[...]
                while !rest.isEmpty {
                    socket.send(String(rest.prefix(16_000)))
                    rest = rest.dropFirst(16_000)
                    try await Task.sleep(for: .milliseconds(2))
                }
                let status = socket.answer().map { String($0.dropFirst(9).prefix(3)) }
                #expect(statuses.contains(status), "\(name): \(status ?? "closed")")
            }
            for (path, token, size, chunked, expected): (String, Bool, Int, Bool, [UInt]) in [
                (DiscoveryPath.inventory, false, 600_000, false, [413]),
                (DiscoveryPath.inventory, false, 4 << 20, true, [413]),
                (DiscoveryPath.enrol, false, 100_000, true, [413]),
                (DiscoveryPath.logs, false, 1 << 20, true, [413, 401]),
            ] {
                let status = try await good.post(good.ports[2], path, token: token, size: size, isChunked: chunked)
                #expect(expected.contains(status), "\(size) bytes to \(path): \(status)")
            }
            for (path, size) in [
                ("/fleet/v1/site", 2 << 20), ("/fleet/v1/nodes/x/approve", 4 << 20), ("/sign-in", 2 << 20),
            ] {
                let status = try await good.post(good.ports[0], path, token: true, size: size, isChunked: true)
                #expect([400, 404, 405, 413].contains(status), "\(size) bytes to \(path): \(status)")
            }
        }
    }

    @Test(.timeLimit(.minutes(3))) func `a node that floods its stream ends its own stream only`() async throws {
        let members = Box<(HostileScene.Member, HostileScene.Member, String)?>(nil)
        try await Self.flood(prepare: { state in
            mkdir(state, 0o700)
            let store = try await SQLiteStore.open(path: "\(state)/store.sqlite")
            let blobs = try FileBlobStore(directory: "\(state)/blobs")
            let vault = try await SecretVault.open(store: store, keyFile: "\(state)/master.key")
            let authorities = try await AuthorityController.open(
                store: store, keys: AuthorityVault(vault: vault, name: "Muster", clock: SystemWallClock()))
            members.value = (
                try await HostileScene.member("taken", 0xA, store, blobs, authorities.issuing),
                try await HostileScene.member("other", 0xB, store, blobs, authorities.issuing), authorities.bundlePEM
            )
            try await store.close()
        }) { ports, good in
            let (taken, other, roots) = try #require(members.value)
            func open(_ member: HostileScene.Member) async throws -> WebSocketConnection {
                let stream = try await AgentConnection.open(
                    to: Endpoint(host: "127.0.0.1", port: ports[3]), path: AgentStream.path,
                    security: try .tls(trustRootsPEM: roots, identity: member.identity),
                    limits: WebSocketLimits(messageSizeMax: 64 << 20, outboundBytesMax: 256 << 20))
                try stream.send(
                    ByteBuffer(
                        bytes: AgentStream.encode(
                            AgentMessage.hello(.init(agentVersion: "1", bootID: "b", roles: [], viewRevision: .zero)))))
                return stream
            }
            let quiet = try await open(other)
            var messages = quiet.messages.makeAsyncIterator()
            #expect(await messages.next() != nil, "a welcome")

            let large = try await open(taken)
            try large.send(ByteBuffer(string: String(repeating: "x", count: 5 << 20)))
            #expect(try await Self.end(of: large).contains("larger"), "a message over 4 MiB ends the stream")
            let nonsense = try await open(taken)
            for _ in 0..<200 { try? nonsense.send(ByteBuffer(string: "nonsense")) }
            _ = try await Self.end(of: nonsense)
            // Each stream of a node takes the place of the one before.
            var streams: [WebSocketConnection] = []
            for _ in 0..<30 { streams.append(try await open(taken)) }
            for stream in streams.dropLast() { _ = try await Self.end(of: stream) }
            let loud = streams[29]
            let lines = (0..<200).map { _ in
                LogBatch.Line(time: SystemWallClock().now, level: "info", text: String(repeating: "y", count: 1000))
            }
            let batch = try AgentStream.encode(AgentMessage.logs(LogBatch(source: "network-agent", lines: lines)))
            for _ in 0..<100 { try? loud.send(ByteBuffer(bytes: batch)) }

            // Meanwhile the other node is renewed.
            try quiet.send(
                ByteBuffer(
                    bytes: AgentStream.encode(
                        AgentMessage.renew(signingRequest: try HostileScene.signingRequest()))))
            var isRenewed = false
            while !isRenewed, let text = await messages.next() {
                if case .certificate = try AgentStream.decode(ConductorMessage.self, from: text.readableBytesView) {
                    isRenewed = true
                }
            }
            #expect(isRenewed && quiet.end == nil)
            loud.abort(.closedHere(reason: "done"))
            quiet.close(reason: "done")
        }
    }

    /// Why a stream has ended, in words; what comes before is passed over.
    private static func end(of stream: WebSocketConnection) async throws -> String {
        try await withDeadline(.seconds(60)) {
            for await _ in stream.messages {}
            return "\(stream.end.map { "\($0)" } ?? "")"
        }
    }
}

/// A value that a closure sets.
private final class Box<Value> {
    var value: Value
    init(_ value: Value) { self.value = value }
}

/// A client that asks for what machines and operators ask for, from 127.0.0.1.
struct WellBehaved {
    let ports: [Int]
    let process: Int32?
    private let client: HTTPClient
    private let token: String

    init(_ client: HTTPClient, _ ports: [Int], _ state: String) throws {
        self.client = client
        self.ports = ports
        token = try String(contentsOfFile: "\(state)/operator.token", encoding: .utf8)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        process = try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { Int32($0) }.first {
            number in
            let arguments = FileManager.default.contents(atPath: "/proc/\(number)/cmdline") ?? Data()
            let words = arguments.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            return words.first?.hasSuffix("/muster-conductor") == true && words.contains(state)
        }
    }

    /// Asks each port for something, and expects to get it.
    func checkAll(_ moment: String) async throws {
        #expect(try await get("http", ports[1], "/boot/ca.pem") == 200, "boot files, \(moment)")
        #expect(try await get("http", ports[1], "/boot/ipxe?mac=52:54:00:00:00:09") == 200, "a boot script, \(moment)")
        #expect(try await get("https", ports[0], "/fleet/v1/nodes", token) == 200, "the API, \(moment)")
        // Nobody's session: the port works.
        #expect(try await get("https", ports[2], DiscoveryPath.orders, "none") == 401, "provisioning, \(moment)")
    }

    private func get(_ scheme: String, _ port: Int, _ path: String, _ token: String? = nil) async throws -> UInt {
        var request = HTTPClientRequest(url: "\(scheme)://127.0.0.1:\(port)\(path)")
        if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        let response = try await client.execute(request, timeout: .seconds(30))
        _ = try await response.body.collect(upTo: 1 << 20)
        return response.status.code
    }

    /// The status that a body of so many bytes is answered with, with its length told or not.
    func post(_ port: Int, _ path: String, token isOperator: Bool, size: Int, isChunked: Bool) async throws -> UInt {
        var request = HTTPClientRequest(url: "https://127.0.0.1:\(port)\(path)")
        request.method = path == "/fleet/v1/site" ? .PUT : .POST
        request.headers.add(name: "Content-Type", value: "application/json")
        if isOperator { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        let body = ByteBuffer(repeating: UInt8(ascii: " "), count: size)
        request.body = isChunked ? .stream([body].async, length: .unknown) : .bytes(body)
        let response = try await client.execute(request, timeout: .seconds(30))
        return response.status.code
    }
}

extension Array where Element: Sendable {
    /// The elements as they come.
    fileprivate var async: AsyncStream<Element> {
        AsyncStream { continuation in
            for element in self { continuation.yield(element) }
            continuation.finish()
        }
    }
}
