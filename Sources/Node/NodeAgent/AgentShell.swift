import AgentProtocol
import Logging
import NIOCore
import NodeNetworking
import NodeTransport
import Primitives
import WebSocketMessages

/// Carries out what the steps ask for, and brings back what came of it.
actor AgentShell {
    private let agent: Agent
    private let directory: AgentDirectory
    private let workers: [RoleWorker]
    private let work: AsyncStream<AgentWork>.Continuation
    private let began = ContinuousClock.now
    private var state: AgentState
    private var random = SystemRandomNumberGenerator()
    private var connection: WebSocketConnection?
    private var renewalKey: NodeKey?
    private var nextTick: Duration?
    /// The most figures of one role.
    private static let roleSampleCountMax = 500

    init(agent: Agent, workers: [RoleWorker], work: AsyncStream<AgentWork>.Continuation) {
        self.agent = agent
        self.workers = workers
        self.work = work
        directory = AgentDirectory(path: agent.configuration.directory)
        state = AgentState(
            roles: agent.modules.map(\.role), agentVersion: agent.configuration.version,
            bootID: agent.configuration.bootID)
    }

    func start() throws {
        let stored = try readIdentity()
        _ = try directory.authority()
        handle(.started(stored, directory.view()))
    }

    func stop() {
        work.finish()
        connection?.close(reason: "The agent stops.")
        connection = nil
    }

    private var now: AgentTime {
        AgentTime(
            wall: agent.clock.now, uptime: ContinuousClock.now - began, isSynchronised: agent.isClockKept())
    }

    /// Something that is told of the node itself has changed.
    func nodeChanged() { handle(.nodeChanged) }

    // MARK: Steps

    private func handle(_ event: AgentEvent) {
        let before = state.streamEndpoint
        defer { if state.streamEndpoint != before { agent.streamChanged(state.streamEndpoint) } }
        var events = [event]
        while !events.isEmpty {
            let effects = state.step(events.removeFirst(), at: now, random: &random)
            for effect in effects {
                if let next = carryOut(effect) { events.append(next) }
            }
        }
        scheduleTick()
    }

    private func scheduleTick() {
        guard let wanted = state.nextTick, nextTick.map({ wanted < $0 }) ?? true else { return }
        nextTick = wanted
        work.yield(.sleep(until: began + wanted))
    }

    private func carryOut(_ effect: AgentEffect) -> AgentEvent? {
        switch effect {
        case .reload: return reload()
        case .enrol(let endpoint): work.yield(.enrol(endpoint: endpoint))
        case .connect(let endpoint): work.yield(.stream(endpoint: endpoint))
        case .send(let message): send(message)
        case .sendLogs: sendLogs()
        case .disconnect(let reason):
            connection?.close(reason: reason)
            connection = nil
        case .saveView(let view): keep("the view") { try directory.store(view) }
        case .saveConductors(let list): keep("the list of conductors") { try directory.store(conductors: list) }
        case .keepAuthorities(let list): return keepAuthorities(list)
        case .apply(let view): work.yield(.apply(view, state.wantedRoles))
        case .check: work.yield(.check(state.wantedRoles))
        case .take(let reply): work.yield(.take(reply))
        case .collectMetrics: work.yield(.metrics(state.wantedRoles))
        case .prepareRenewal: return prepareRenewal()
        case .installCertificate(let reply): return install(reply)
        case .setClock(let time): setClock(time)
        case .log(let level, let text): log(level, text)
        }
        return nil
    }

    private func setClock(_ time: Timestamp) {
        do { try agent.setClock(time) } catch {
            agent.logger.error("The clock was not set: \(error)")
        }
    }

    private func log(_ level: AgentLogLevel, _ text: String) {
        switch level {
        case .info: agent.logger.info("\(text)")
        case .warning: agent.logger.warning("\(text)")
        case .error: agent.logger.error("\(text)")
        }
    }

    // MARK: Disk

    private func readIdentity() throws -> StoredIdentity {
        // What cannot be read is told when a connection needs it, and the roles go on all the same.
        let authorities = (try? KnownAuthority.read(try directory.authority())) ?? []
        return StoredIdentity(
            identity: try directory.identity(), certificate: directory.credentials()?.validity,
            authorities: authorities)
    }

    /// Keeps the authorities that the conductor names; what cannot be read as such leaves those there are.
    private func keepAuthorities(_ list: [String]) -> AgentEvent? {
        do {
            let authorities = try KnownAuthority.read(list.joined(separator: "\n"))
            guard authorities.count == list.count else { throw CertificateMismatch(reason: "not one certificate each") }
            try directory.store(authorities: authorities.map(\.pem))
            return .authoritiesKept(authorities)
        } catch {
            agent.logger.error("The authorities that the conductor names were not kept: \(error)")
            return nil
        }
    }

    private func reload() -> AgentEvent? {
        do { return .reloaded(try readIdentity()) } catch {
            agent.logger.error("\(error)")
            guard let identity = state.identity else { return nil }
            return .reloaded(
                StoredIdentity(
                    identity: identity, certificate: state.certificate, authorities: state.authorities))
        }
    }

    private func keep(_ what: String, _ body: () throws -> Void) {
        do { try body() } catch {
            agent.logger.error("Could not keep \(what) on disk; it is lost when the node restarts: \(error)")
        }
    }

    private func prepareRenewal() -> AgentEvent? {
        guard let node = state.identity?.node else { return nil }
        let key = NodeKey()
        do {
            let request = try key.signingRequest(for: node)
            renewalKey = key
            return .renewalReady(signingRequest: request)
        } catch {
            return .certificateRefused("no signing request could be made: \(error)")
        }
    }

    private func install(_ reply: EnrolmentReply) -> AgentEvent? {
        guard let key = renewalKey else { return .certificateRefused("none was asked for") }
        do {
            let credentials = try NodeCredentials(key: key, chainPEM: reply.certificateChain)
            try directory.store(credentials)
            renewalKey = nil
            return .certificateInstalled(credentials.validity)
        } catch {
            return .certificateRefused("\(error)")
        }
    }

    // MARK: Stream

    private func send(_ message: AgentMessage) {
        guard let connection else { return }
        do {
            try connection.send(ByteBuffer(bytes: AgentStream.encode(message)))
        } catch {
            agent.logger.warning("A message was not sent: \(error)")
        }
    }

    private func sendLogs() {
        guard let connection, connection.end == nil,
            let batch = agent.logs.take(source: agent.configuration.program, now: agent.clock.now)
        else { return }
        send(.logs(batch))
    }

    private func opened(_ connection: WebSocketConnection) {
        self.connection = connection
        handle(.connected)
    }

    private func received(_ text: ByteBuffer, from connection: WebSocketConnection) {
        guard connection === self.connection else { return }
        do {
            handle(.received(try AgentStream.decode(ConductorMessage.self, from: text.readableBytesView)))
        } catch {
            agent.logger.warning("A message of the conductor was not understood: \(error)")
        }
    }

    private func closed(_ connection: WebSocketConnection) {
        guard connection === self.connection else { return }
        self.connection = nil
        handle(.disconnected(connection.end.map { "\($0)" } ?? "cancelled"))
    }

    // MARK: Work beside the steps

    nonisolated func perform(_ work: AgentWork) async {
        switch work {
        case .enrol(let endpoint): await handle(enrol(endpoint))
        case .stream(let endpoint): await stream(endpoint)
        case .apply(let view, let roles):
            agent.networking?.want(view)
            await checked(roles) { module in
                await module.apply(view.items.filter { module.itemKinds.contains($0.value.kind) })
            }
        case .check(let roles): await checked(roles) { await $0.check() }
        case .take(let reply):
            for worker in workers { _ = await ask(worker) { await $0.take(reply) } }
            await handle(.replyTaken)
        case .metrics(let roles):
            var samples = await agent.metrics()
            for worker in workers where roles.contains(worker.module.role) {
                samples += (await ask(worker) { await $0.metrics() } ?? []).prefix(Self.roleSampleCountMax)
            }
            await handle(.metricsCollected(samples))
        case .attend(let role): await handle(.roleChanged(role))
        case .role(let body): await body()
        case .sleep(let instant):
            do { try await ContinuousClock().sleep(until: instant) } catch { return }
            await woke(instant)
        }
    }

    /// Ends one sleep; one that an earlier tick took the place of ends unheard, or each would begin another.
    private func woke(_ instant: ContinuousClock.Instant) {
        guard let nextTick, began + nextTick == instant else { return }
        self.nextTick = nil
        handle(.tick)
    }

    private nonisolated func checked(
        _ wanted: Set<Role>, _ look: @escaping @Sendable (any RoleModule) async -> NodeStatusReport.RoleStatus
    ) async {
        var roles: [NodeStatusReport.RoleStatus] = []
        var wish: ControllerSecretsRequest?
        for worker in workers where wanted.contains(worker.module.role) {
            let found = await ask(worker) { (status: await look($0), wish: await $0.wish()) }
            roles.append(found?.status ?? worker.silence(now: agent.clock.now))
            wish = wish ?? found?.wish
        }
        let network = await agent.networking?.condition()
        await handle(.rolesChecked(roles, addresses: agent.addresses(), node: network.map { [$0] } ?? [], wish: wish))
    }

    private nonisolated func ask<Answer: Sendable>(
        _ worker: RoleWorker, _ body: @escaping @Sendable (any RoleModule) async -> Answer
    ) async -> Answer? {
        await worker.ask(
            spawn: { work.yield(.role($0)) }, cameBack: { await self.handle(.roleCameBack(worker.module.role)) }, body)
    }

    private nonisolated func enrol(_ endpoint: String) async -> AgentEvent {
        do {
            let credentials = try await Enrolment(directory: directory, group: agent.group).run(at: endpoint)
            return .enrolled(credentials.validity)
        } catch {
            return .enrolmentFailed(error)
        }
    }

    private nonisolated func stream(_ endpoint: String) async {
        let connection: WebSocketConnection
        do {
            guard let credentials = directory.credentials() else {
                throw AgentDirectoryError(path: "\(directory.path)/agent.pem", reason: "it cannot be read")
            }
            let security = try TransportSecurity.tls(
                trustRootsPEM: directory.authority(), identity: credentials.identity)
            connection = try await AgentConnection.open(
                to: Endpoint(endpoint), path: AgentStream.path, security: security,
                limits: agent.configuration.stream, on: agent.group)
        } catch {
            return await handle(.connectFailed("\(error)"))
        }
        await opened(connection)
        for await text in connection.messages { await received(text, from: connection) }
        await closed(connection)
    }
}
