@testable import AgentPort
import AgentProtocol
import Identity
import NIOCore
import NIOSSL
import NodeTransport
import Primitives
import ServiceLifecycle
import Testing
import WebSocketMessages

@Suite("AgentPort streams", .timeLimit(.minutes(3)))
struct StreamTests {
    let site: TestSite

    init() throws { site = try TestSite() }

    @Test func messagesGoBothWaysInOrder() async throws {
        try await withPort(site) { port, endpoint, recorder in
            let connection = try await connect(endpoint, site.security(for: TestSite.node(1)))
            let session = try #require(await recorder.nextConnected())
            for number in 0..<20 {
                try connection.send(.renew(signingRequest: "\(number)"))
                try port.send(.goodbye(message: "\(number)", retryAfterSeconds: nil), to: session.node)
            }
            var iterator = connection.messages.makeAsyncIterator()
            for number in 0..<20 {
                #expect(await recorder.nextMessage() == .renew(signingRequest: "\(number)"))
                #expect(
                    try await connection.next(&iterator) == .goodbye(message: "\(number)", retryAfterSeconds: nil))
            }
            #expect(throws: AgentSendError.notConnected(try TestSite.node(2))) {
                try port.send(.goodbye(message: "", retryAfterSeconds: nil), to: TestSite.node(2))
            }
            connection.close(reason: "enough")
            let (ended, reason) = try #require(await recorder.nextDisconnected())
            #expect(ended === session)
            #expect(reason == .closedByPeer(code: 1000, reason: "enough"))
        }
    }

    @Test func newerStreamReplacesTheOlderWithAGoodbye() async throws {
        try await withPort(site) { port, endpoint, recorder in
            let security = try site.security(for: TestSite.node(1))
            let old = try await connect(endpoint, security)
            let oldSession = try #require(await recorder.nextConnected())
            let new = try await connect(endpoint, security)
            let newSession = try #require(await recorder.nextConnected())
            var iterator = old.messages.makeAsyncIterator()
            guard case .goodbye(_, retryAfterSeconds: 60) = try await old.next(&iterator) else {
                Issue.record("no goodbye")
                return
            }
            #expect(try await old.next(&iterator) == nil)
            let (ended, _) = try #require(await recorder.nextDisconnected())
            #expect(ended === oldSession)
            #expect(port.session(of: newSession.node) === newSession)
            new.close(reason: "done")
        }
    }

    @Test func certificateIsSwappedWhileOldConnectionsStay() async throws {
        let holder = try TLSContextHolder(site.certificates)
        try await withPort(site, tls: holder) { port, endpoint, recorder in
            let old = try await connect(endpoint, site.security(for: TestSite.node(1)))
            _ = await recorder.nextConnected()
            try holder.swap(to: site.certificates(TestSite.issueServer(site.authority)))
            let new = try await connect(endpoint, site.security(for: TestSite.node(2)))
            _ = await recorder.nextConnected()
            let before = try await old.channel.nioSSL_peerCertificate().get()
            let after = try await new.channel.nioSSL_peerCertificate().get()
            #expect(before != nil)
            #expect(before != after)
            try port.send(.goodbye(message: "still here", retryAfterSeconds: 1), to: TestSite.node(1))
            var iterator = old.messages.makeAsyncIterator()
            #expect(try await old.next(&iterator) == .goodbye(message: "still here", retryAfterSeconds: 1))
            old.close(reason: "done")
            new.close(reason: "done")
        }
    }

    @Test func deadPeerIsNoticedAndItsSocketGone() async throws {
        let change = { (configuration: inout AgentPortConfiguration) in
            configuration.stream.pingInterval = .seconds(1)
        }
        try await withPort(site, change: change) { port, endpoint, recorder in
            let dead = try await connect(endpoint, site.security(for: TestSite.node(1)))
            let alive = try await connect(endpoint, site.security(for: TestSite.node(2)))
            _ = await recorder.nextConnected()
            _ = await recorder.nextConnected()
            try await dead.channel.setOption(.autoRead, value: false).get()
            let (ended, reason) = try #require(await recorder.nextDisconnected())
            #expect(ended.node == (try TestSite.node(1)))
            #expect(reason == .peerSilent)
            #expect(port.statistics.connections == 1)
            #expect(alive.end == nil)
            dead.abort(.lost("test"))
            alive.close(reason: "done")
        }
    }

    @Test func agentNoticesADeadConductor() async throws {
        let recorder = Recorder(onConnected: { session, _ in try? await session.stopReading() })
        try await withPort(site, delegate: recorder) { _, endpoint, _ in
            var limits = WebSocketLimits()
            limits.pingInterval = .milliseconds(200)
            let connection = try await connect(endpoint, site.security(for: TestSite.node(1)), limits: limits)
            for await _ in connection.messages {}
            #expect(connection.end == .peerSilent)
        }
    }

    @Test func slowPeerIsClosedAtTheLimit() async throws {
        let change = { (configuration: inout AgentPortConfiguration) in
            configuration.stream.outboundBytesMax = 1 << 20
        }
        try await withPort(site, change: change) { _, endpoint, recorder in
            let slow = try await connect(endpoint, site.security(for: TestSite.node(1)))
            let session = try #require(await recorder.nextConnected())
            try await slow.channel.setOption(.autoRead, value: false).get()
            let text = ByteBuffer(string: String(repeating: "x", count: 128 << 10))
            var refusal: AgentSendError?
            for _ in 0..<1000 where refusal == nil {
                do throws(AgentSendError) { try session.send(encoded: text) } catch { refusal = error }
                if refusal == nil { await Task.yield() }
            }
            #expect(refusal == .ended(.tooSlow(limit: 1 << 20)))
            let (_, reason) = try #require(await recorder.nextDisconnected())
            #expect(reason == .tooSlow(limit: 1 << 20))
            slow.abort(.lost("test"))
        }
    }

    @Test func tooLargeMessageEndsTheStream() async throws {
        let change = { (configuration: inout AgentPortConfiguration) in
            configuration.stream.messageSizeMax = 64 << 10
        }
        try await withPort(site, change: change) { _, endpoint, recorder in
            let connection = try await connect(endpoint, site.security(for: TestSite.node(1)))
            let session = try #require(await recorder.nextConnected())
            #expect(throws: AgentSendError.tooLarge(bytes: 65_537, limit: 65_536)) {
                try session.send(encoded: ByteBuffer(repeating: 0x20, count: 65_537))
            }
            try connection.send(ByteBuffer(repeating: 0x20, count: 65_537))
            let (_, reason) = try #require(await recorder.nextDisconnected())
            #expect(reason == .messageTooLarge(limit: 65_536))
            for await _ in connection.messages {}
            guard case .closedByPeer(1009, _) = connection.end else {
                Issue.record("the stream ended otherwise: \(String(describing: connection.end))")
                return
            }
        }
    }

    @Test func aHundredAgentsComeAndAreKilled() async throws {
        let count = 100
        try await withPort(site) { port, endpoint, recorder in
            let connections = try await withThrowingTaskGroup(of: WebSocketConnection.self) { group in
                for number in 0..<count {
                    let security = try site.security(for: TestSite.node(number))
                    group.addTask { try await connect(endpoint, security) }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            for _ in 0..<count { _ = await recorder.nextConnected() }
            #expect(port.connectedNodes.count == count)
            for connection in connections { connection.abort(.lost("killed")) }
            for _ in 0..<count { _ = await recorder.nextDisconnected() }
            #expect(port.connectedNodes.isEmpty)
            #expect(port.statistics.connections == 0)
        }
    }

    @Test func aStoppingPortSaysGoodbye() async throws {
        let recorder = Recorder()
        let port = AgentPortServer(
            configuration: AgentPortConfiguration(host: "127.0.0.1", port: 0),
            tls: try TLSContextHolder(site.certificates), delegate: recorder, logger: quiet)
        let endpoint = try Endpoint(host: "127.0.0.1", port: try await port.listen())
        let services = ServiceGroup(configuration: ServiceGroupConfiguration(services: [port], logger: quiet))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await services.run() }
            let connection = try await connect(endpoint, site.security(for: TestSite.node(1)))
            _ = await recorder.nextConnected()
            await services.triggerGracefulShutdown()
            var iterator = connection.messages.makeAsyncIterator()
            guard case .goodbye(_, retryAfterSeconds: 1) = try await connection.next(&iterator) else {
                Issue.record("no goodbye")
                return
            }
            #expect(try await connection.next(&iterator) == nil)
            try await group.waitForAll()
        }
        #expect(port.statistics.connections == 0)
    }
}

extension AgentSession {
    /// As if the conductor's process stood still.
    func stopReading() async throws {
        try await connection.channel.setOption(.autoRead, value: false).get()
    }
}

@Suite("AgentViewFeed", .timeLimit(.minutes(1)))
struct AgentViewFeedTests {
    @Test func sendsTheWholeViewThenDifferencesAndNothingTwice() async throws {
        let site = try TestSite()
        let feed = AgentViewFeed(logger: quiet, clock: FixedClock(now: Timestamp(millisecondsSinceEpoch: 5))) {
            ["10.0.0.1:7443"]
        }
        let node = try TestSite.node(1)
        let item = try NodeView.Item(kind: "k", generation: Generation(1), encoding: ["a": 1])
        let changed = try NodeView.Item(kind: "k", generation: Generation(2), encoding: ["a": 2])
        let first = NodeView(revision: Revision(10), generation: Generation(1), items: ["x": item, "y": item])
        let same = NodeView(revision: Revision(11), generation: Generation(1), items: ["x": item, "y": item])
        let next = NodeView(revision: Revision(12), generation: Generation(1), items: ["x": changed])
        let recorder = Recorder(onConnected: { session, hello in feed.open(session, hello: hello, view: first) })
        try await withPort(site, delegate: recorder) { _, endpoint, recorder in
            let security = try site.security(for: node)
            let connection = try await connect(endpoint, security)
            _ = await recorder.nextConnected()
            feed.publish(same, to: node)
            feed.publish(next, to: node)
            feed.publish(first, to: node)
            var iterator = connection.messages.makeAsyncIterator()
            let welcome = ConductorWelcome(
                time: Timestamp(millisecondsSinceEpoch: 5), conductors: ["10.0.0.1:7443"], viewIsCurrent: false)
            #expect(try await connection.next(&iterator) == .welcome(welcome))
            #expect(try await connection.next(&iterator) == .view(first))
            let change = try #require(next.change(from: first))
            #expect(try await connection.next(&iterator) == .change(change))
            #expect(first.applying(change) == next)

            let again = try await connect(endpoint, security, viewRevision: Revision(10))
            _ = await recorder.nextConnected()
            feed.publish([(node, next)])
            var second = again.messages.makeAsyncIterator()
            guard case .welcome(let current) = try await again.next(&second) else {
                Issue.record("no welcome")
                return
            }
            #expect(current.viewIsCurrent)
            #expect(try await again.next(&second) == .change(change))
            again.close(reason: "done")
        }
    }
}
