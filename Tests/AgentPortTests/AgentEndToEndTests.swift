import AgentPort
import AgentProtocol
import Glibc
import Identity
import LinuxSystem
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import NodeTransport
import Primitives
import Synchronization
import Testing
import WebSocketMessages

@testable import NodeAgent

/// A role that notes what it was given.
private final class RecordingModule: RoleModule {
    let role = Role.network
    let itemKinds: Set<String> = ["k"]
    let applied: AsyncStream<Set<String>>
    private let continuation: AsyncStream<Set<String>>.Continuation

    init() { (applied, continuation) = AsyncStream.makeStream() }

    func apply(_ items: [String: NodeView.Item]) async -> NodeStatusReport.RoleStatus {
        continuation.yield(Set(items.keys))
        return await check()
    }

    func check() async -> NodeStatusReport.RoleStatus {
        NodeStatusReport.RoleStatus(role: .network, isReady: true, conditions: [])
    }

    func metrics() async -> [MetricsReport.Sample] { [MetricsReport.Sample(name: "role", value: 2)] }
}

@Suite("Agent end to end", .timeLimit(.minutes(2)))
struct AgentEndToEndTests {
    let site: TestSite
    let node: NodeID
    let view: NodeView

    init() throws {
        site = try TestSite()
        node = try TestSite.node(1)
        let item = try NodeView.Item(kind: "k", generation: Generation(1), encoding: ["a": 1])
        let other = try NodeView.Item(kind: "other", generation: Generation(1), encoding: ["a": 1])
        let settings = try NodeView.Item(
            kind: AgentSettings.kind, generation: Generation(1), encoding: AgentSettings(metricsIntervalSeconds: 1))
        view = NodeView(
            revision: Revision(3), generation: Generation(1),
            items: ["x": item, "y": other, "settings": settings])
    }

    private func prepare(
        _ directory: String, provisioning: Endpoint? = nil, conductor: Endpoint? = nil, token: String? = nil
    ) throws {
        let nowhere = "127.0.0.1:1"
        let file = AgentIdentityFile(
            node: node, name: "net-1", provisioning: [provisioning?.description ?? nowhere],
            conductors: [conductor?.description ?? nowhere], token: token)
        try SystemFile.replace("\(directory)/agent.json", content: AgentStream.encode(file), mode: 0o600)
        try SystemFile.replace(
            "\(directory)/ca.pem", content: Array(site.authority.certificatePEM.utf8), mode: 0o644)
    }

    private func makeAgent(
        _ directory: String, _ module: RecordingModule, logs: LogBuffer = LogBuffer(),
        clock: any WallClock = SystemWallClock(), setClock: @escaping @Sendable (Timestamp) throws -> Void = { _ in }
    ) -> Agent {
        var logger = quiet
        logger.handler = AgentLogHandler(buffer: logs)
        logger.logLevel = .info
        return Agent(
            configuration: AgentConfiguration(
                directory: directory, program: "network-agent", version: "1", bootID: "boot"),
            modules: [module], metrics: { [MetricsReport.Sample(name: "node", value: 1)] },
            addresses: { [IPv4Address(0x7F00_0001)] }, logs: logs, logger: logger, clock: clock, setClock: setClock)
    }

    private func withAgent(
        _ directory: String, _ module: RecordingModule, logs: LogBuffer = LogBuffer(),
        _ body: () async throws -> Void
    ) async throws {
        try await withAgent(makeAgent(directory, module, logs: logs), body)
    }

    private func withAgent(_ agent: Agent, _ body: () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await agent.run() }
            try await body()
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    /// A provisioning port that certifies the node for the token `good`, as often as it comes.
    private func provisioning() async throws -> MiniServer {
        let authority = site.authority
        return try await MiniServer.start(certificate: site.server) { _, path, body in
            do {
                let request = try AgentStream.decode(EnrolmentRequest.self, from: body.readableBytesView)
                guard path == DiscoveryPath.enrol, request.token == "good" else {
                    let error = ErrorBody(code: "tokenUsed", message: "The enrolment token was used already.")
                    return MiniServer.Answer(status: .conflict, body: ByteBuffer(bytes: try AgentStream.encode(error)))
                }
                let issued = try authority.issueNode(request.node, signingRequestPEM: request.signingRequest)
                let reply = EnrolmentReply(certificateChain: issued.certificatePEM, notAfter: issued.notAfter)
                return MiniServer.Answer(body: ByteBuffer(bytes: try AgentStream.encode(reply)))
            } catch {
                return MiniServer.Answer(status: .internalServerError)
            }
        }
    }

    @Test func enrolsStreamsAppliesAndReports() async throws {
        let server = try await provisioning()
        let feed = AgentViewFeed(logger: quiet) { [] }
        let view = view
        let recorder = Recorder(onConnected: { session, hello in feed.open(session, hello: hello, view: view) })
        try await withDirectory { directory in
            try await withPort(site, delegate: recorder) { _, endpoint, recorder in
                try prepare(directory, provisioning: server.endpoint, conductor: endpoint, token: "good")
                let module = RecordingModule()
                try await withAgent(directory, module) {
                    let session = try #require(await recorder.nextConnected())
                    #expect(session.node == node)
                    var applied = module.applied.makeAsyncIterator()
                    #expect(await applied.next() == ["x"])
                    var seen: Set<String> = []
                    while seen.count < 3, let message = await recorder.nextMessage() {
                        switch message {
                        case .status(let status):
                            guard status.observedRevision == view.revision else { continue }
                            #expect(status.roles.first?.isReady == true)
                            #expect(status.addresses == [try IPv4Address("127.0.0.1")])
                            seen.insert("status")
                        case .metrics(let report):
                            #expect(report.samples.map(\.name) == ["node", "role"])
                            seen.insert("metrics")
                        case .logs(let batch):
                            #expect(batch.lines.contains { $0.text.contains("Enrolled") })
                            seen.insert("logs")
                        default: Issue.record("unexpected \(message)")
                        }
                    }
                }
                let files = AgentDirectory(path: directory)
                #expect(try files.identity().token == nil)
                #expect(files.view() == view)
                #expect(files.credentials() != nil)
                var information = stat()
                #expect(stat("\(directory)/agent.pem", &information) == 0)
                #expect(information.st_mode & 0o777 == 0o600)
                #expect(access("\(directory)/agent.key.new", F_OK) != 0)

                // Started again: no token is needed, and the view is current.
                let second = RecordingModule()
                try await withAgent(directory, second) {
                    _ = try #require(await recorder.nextConnected())
                    var applied = second.applied.makeAsyncIterator()
                    #expect(await applied.next() == ["x"])
                }
            }
        }
        try await server.stop()
    }

    @Test func theKeptViewIsAppliedWithNoConductor() async throws {
        try await withDirectory { directory in
            try prepare(directory)
            try AgentDirectory(path: directory).store(view)
            let module = RecordingModule()
            try await withAgent(directory, module) {
                var applied = module.applied.makeAsyncIterator()
                #expect(await applied.next() == ["x"])
            }
        }
    }

    @Test func withoutAKeptViewTheRolesAreLeftAloneUntilOneComes() async throws {
        let server = try await provisioning()
        let feed = AgentViewFeed(logger: quiet) { [] }
        let view = NodeView(revision: Revision(3), generation: Generation(1), items: [:])
        let recorder = Recorder(onConnected: { session, hello in feed.open(session, hello: hello, view: view) })
        try await withDirectory { directory in
            try await withPort(site, delegate: recorder) { _, endpoint, recorder in
                try prepare(directory, provisioning: server.endpoint, conductor: endpoint, token: "good")
                try SystemFile.replace("\(directory)/view.json", content: Array("{".utf8), mode: 0o600)
                let module = RecordingModule()
                try await withAgent(directory, module) {
                    while case .some(let message) = await recorder.nextMessage() {
                        guard case .status(let status) = message else { continue }
                        #expect(status.observedRevision == view.revision)
                        break
                    }
                }
                #expect(AgentDirectory(path: directory).view() == view)
            }
        }
        try await server.stop()
    }

    @Test func aRefusedTokenIsToldInTheLogAndTheKeyStays() async throws {
        let server = try await provisioning()
        try await withDirectory { directory in
            try prepare(directory, provisioning: server.endpoint, token: "bad")
            let files = AgentDirectory(path: directory)
            let key = try files.enrolmentKey()
            let group = MultiThreadedEventLoopGroup.singleton
            let failure = await #expect(throws: EnrolmentFailure.self) {
                try await Enrolment(directory: files, group: group).run(at: server.endpoint.description)
            }
            #expect(failure == EnrolmentFailure(message: "The enrolment token was used already.", isRefusal: true))
            #expect(try files.enrolmentKey().pem == key.pem)
            #expect(try files.identity().token == "bad")
            let unreachable = await #expect(throws: EnrolmentFailure.self) {
                try await Enrolment(directory: files, group: group).run(at: "127.0.0.1:1")
            }
            #expect(unreachable?.isRefusal == false)
        }
        try await server.stop()
    }

    @Test func theCertificateIsRenewedOverTheStream() async throws {
        let site = site
        let aged = try CertificateAuthority(
            certificatePEM: site.authority.certificatePEM, privateKeyPEM: site.authority.privateKeyPEM,
            clock: FixedClock(now: SystemWallClock().now.advanced(by: .zero - CertificateAuthority.nodeLifetime / 2)))
        let feed = AgentViewFeed(logger: quiet) { [] }
        let recorder = Recorder(
            onConnected: { session, hello in feed.open(session, hello: hello, view: .empty) },
            onMessage: { session, message in
                guard case .renew(let request) = message,
                    let issued = try? site.authority.issueNode(session.node, signingRequestPEM: request)
                else { return }
                try? session.send(
                    .certificate(
                        EnrolmentReply(certificateChain: issued.certificatePEM, notAfter: issued.notAfter)))
            })
        try await withDirectory { directory in
            try await withPort(site, delegate: recorder) { _, endpoint, recorder in
                try prepare(directory, conductor: endpoint)
                let files = AgentDirectory(path: directory)
                let key = NodeKey()
                let old = try aged.issueNode(node, signingRequestPEM: key.signingRequest(for: node))
                try files.store(NodeCredentials(key: key, chainPEM: old.certificatePEM))
                let logs = LogBuffer()
                try await withAgent(directory, RecordingModule(), logs: logs) {
                    while case .some(let message) = await recorder.nextMessage() {
                        if case .logs(let batch) = message,
                            batch.lines.contains(where: { $0.text.contains("new certificate is good") })
                        {
                            break
                        }
                    }
                }
                let renewed = try #require(files.credentials())
                #expect(renewed.key.pem != key.pem)
                #expect(renewed.validity.notAfter > old.notAfter)
            }
        }
    }

    @Test func aClockThatIsOffIsSetByTheStream() async throws {
        let (times, setTime) = AsyncStream.makeStream(of: Timestamp.self)
        let feed = AgentViewFeed(logger: quiet) { [] }
        let view = view
        let recorder = Recorder(onConnected: { session, hello in feed.open(session, hello: hello, view: view) })
        try await withDirectory { directory in
            try await withPort(site, delegate: recorder) { _, endpoint, _ in
                try prepare(directory, conductor: endpoint)
                let key = NodeKey()
                let issued = try site.authority.issueNode(node, signingRequestPEM: key.signingRequest(for: node))
                try AgentDirectory(path: directory).store(NodeCredentials(key: key, chainPEM: issued.certificatePEM))
                let now = SystemWallClock().now
                let agent = makeAgent(
                    directory, RecordingModule(), clock: FixedClock(now: now.advanced(by: .seconds(-3600))),
                    setClock: { setTime.yield($0) })
                try await withAgent(agent) {
                    let time = try #require(await times.first { _ in true })
                    #expect(time >= now)
                }
            }
        }
    }

    @Test func aClockBehindTheAgentsFilesIsRaisedToTheNewest() async throws {
        try await withDirectory { directory in
            let files = AgentDirectory(path: directory)
            #expect(files.newestChange == nil)
            try prepare(directory)
            let newest = try #require(files.newestChange)
            #expect(newest >= SystemWallClock().now.advanced(by: .seconds(-60)))
            let cases: [(Int, [Timestamp])] = [(-3600, [newest]), (3600, [])]
            for (seconds, expected) in cases {
                var times: [Timestamp] = []
                let clock = FixedClock(now: newest.advanced(by: .seconds(seconds)))
                AgentProgram.raiseClock(clock, to: files, logger: quiet) { times.append($0) }
                #expect(times == expected)
            }
        }
    }

    @Test func aSleepThatNobodyWaitsForBeginsNoOther() async throws {
        try await withDirectory { directory in
            try prepare(directory)
            let (work, continuation) = AsyncStream.makeStream(of: AgentWork.self)
            let shell = AgentShell(agent: makeAgent(directory, RecordingModule()), workers: [], work: continuation)
            try await shell.start()
            await shell.perform(.sleep(until: .now))
            await shell.stop()
            var sleeps = 0
            for await case .sleep in work { sleeps += 1 }
            #expect(sleeps == 1)
        }
    }

    @Test func missingOrDamagedFilesAreClearErrors() async throws {
        try await withDirectory { directory in
            let module = RecordingModule()
            let missing = await #expect(throws: AgentDirectoryError.self) {
                try await withAgent(directory, module) {}
            }
            #expect(missing?.publicMessage.contains("agent.json") == true)
            try SystemFile.replace("\(directory)/agent.json", content: Array("{".utf8), mode: 0o600)
            await #expect(throws: AgentDirectoryError.self) { try await withAgent(directory, module) {} }
            try prepare(directory)
            try SystemFile.replace("\(directory)/view.json", content: Array("{".utf8), mode: 0o600)
            #expect(AgentDirectory(path: directory).view() == nil)
            try SystemFile.replace("\(directory)/agent.pem", content: Array("x".utf8), mode: 0o600)
            #expect(AgentDirectory(path: directory).credentials() == nil)
        }
    }
}

@Suite("MachineMetrics")
struct MachineMetricsTests {
    @Test func figuresHavePrometheusNamesAndThereAreNotTooMany() throws {
        let samples = MachineMetrics.read()
        #expect(samples.count <= 1000)
        let resident = try #require(samples.first { $0.name == "muster_agent_resident_memory_bytes" })
        #expect(resident.value > 1_000_000)
        #expect(samples.contains { $0.name == "node_memory_MemTotal_bytes" })
        for sample in samples {
            #expect(sample.name.utf8.allSatisfy { $0 == 0x5F || (0x30...0x7A).contains($0) })
            #expect(sample.isCounter == sample.name.hasSuffix("_total"))
        }
    }
}
