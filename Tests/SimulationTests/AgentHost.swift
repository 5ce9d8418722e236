import AgentProtocol
import Primitives

@testable import ConductorServer
@testable import Discovery
@testable import NodeAgent

/// The stream between one agent and one run of the conductor: ordered, whole, and broken at any moment; either end
/// notices at a time of its own.
final class AgentLink: @unchecked Sendable {
    // SAFETY: touched on the simulation's thread only.
    let number: UInt64
    let node: NodeID
    let conductor: Conductor
    var isCut = false
    /// When the last message in each direction arrives: none overtakes another.
    var upDue: Int64 = 0
    var downDue: Int64 = 0

    init(number: UInt64, node: NodeID, conductor: Conductor) {
        self.number = number
        self.node = node
        self.conductor = conductor
    }
}

/// The installed system's agent: the real state, and in place of its shell what carries its effects out in virtual time.
final class AgentHost: @unchecked Sendable {
    // SAFETY: touched on the simulation's thread only.
    private unowned let machine: Machine
    private var world: World { machine.world }
    private var state: AgentState
    private let startedAt: Int64
    private var link: AgentLink?
    private var tick: Int64?
    /// How far the machine's clock is ahead of true time.
    private var clockOffset: Int64

    /// An agent that waits for time is looked at no more often than this.
    private static let tickPause: Int64 = 5000

    init(_ machine: Machine) {
        self.machine = machine
        startedAt = machine.world.now
        clockOffset = machine.world.draw(-20_000...20_000)
        state = AgentState(
            roles: [.network], agentVersion: "0.1.0", bootID: "installed-\(machine.index)-\(machine.epoch)")
    }

    func start() {
        guard let installation = machine.installation else { return }
        handle(.started(stored(installation), installation.view))
    }

    /// The machine is switched off: the conductor hears no more, and notices when its pings stay unanswered.
    func lose() { cut() }

    private func stored(_ installation: Machine.Installation) -> StoredIdentity {
        let validity = installation.certificate.map {
            CertificateValidity(notBefore: $0.notBefore, notAfter: $0.notAfter)
        }
        return StoredIdentity(identity: installation.identity, certificate: validity)
    }

    private func handle(_ event: AgentEvent) {
        let time = AgentTime(
            wall: World.epoch.advanced(by: .milliseconds(world.now + clockOffset)),
            uptime: .milliseconds(world.now - startedAt))
        for effect in state.step(event, at: time, random: &world.random) { carryOut(effect) }
        guard let next = state.nextTick else { return }
        let due = max(startedAt + next.milliseconds, world.now + Self.tickPause)
        if let tick, tick > world.now, tick <= due { return }
        tick = due
        world.after(due - world.now, machine, "~ agent ticks") { [self] in handle(.tick) }
    }

    private func later(_ time: ClosedRange<Int64>, _ name: String, _ event: AgentEvent) {
        world.after(world.slowly(time), machine, name) { [self] in handle(event) }
    }

    private func carryOut(_ effect: AgentEffect) {
        switch effect {
        case .reload:
            if let installation = machine.installation {
                later(1...20, "agent reads its disk", .reloaded(stored(installation)))
            }
        case .enrol: enrol()
        case .connect: connect()
        case .send(let message): send(message)
        case .sendLogs: break
        case .disconnect: cut()
        case .saveView(let view): machine.installation?.view = view
        case .saveConductors(let list): machine.installation?.identity.conductors = list
        case .apply, .check: check()
        case .take: later(1...10, "agent takes an answer", .replyTaken)
        case .collectMetrics: later(10...500, "~ agent has its figures", .metricsCollected([]))
        case .setClock(let time): clockOffset = time.since(World.epoch).milliseconds - world.now
        case .prepareRenewal, .installCertificate, .keepAuthorities, .log: break
        }
    }

    private func check() {
        let isReady = !world.strikes(.roleNotReady)
        let condition = Condition(type: "OverlayReady", isTrue: isReady, message: "seen", since: World.epoch)
        let status = NodeStatusReport.RoleStatus(role: .network, isReady: isReady, conditions: [condition])
        later(100...3000, "~ agent has looked at its roles", .rolesChecked([status], addresses: []))
    }

    private func enrol() {
        guard let installation = machine.installation, let token = installation.identity.token else { return }
        let request = EnrolmentRequest(
            node: installation.identity.node, token: token, signingRequest: installation.request)
        world.request(machine, "for its certificate") {
            try await $0.service.enrol(request)
        } then: { [self] result in
            switch result {
            case .success(let reply):
                let validity = CertificateValidity(notBefore: World.epoch, notAfter: reply.notAfter)
                machine.installation?.certificate = (validity.notBefore, validity.notAfter)
                machine.installation?.identity.token = nil
                handle(.enrolled(validity))
            case .failure(let failure):
                handle(.enrolmentFailed(EnrolmentFailure(message: failure.message, isRefusal: failure.isRefusal)))
            }
        }
    }

    // MARK: Stream

    private func connect() {
        world.after(world.slowly(20...400), machine, "agent connects") { [self] in
            guard let conductor = world.conductor, let node = machine.installation?.identity.node,
                !world.strikes(.lostMessage)
            else { return later(500...5000, "agent fails to connect", .connectFailed("refused")) }
            cut()
            let link = conductor.openLink(node)
            self.link = link
            handle(.connected)
        }
    }

    private func send(_ message: AgentMessage) {
        guard let link, !link.isCut else { return }
        if world.strikes(.brokenStream) { return cut() }
        link.upDue = max(link.upDue + 1, world.now + world.slowly(2...60))
        world.after(
            link.upDue - world.now,
            "\(message.isRoutine ? Trace.routine : "")\(machine) agent's \(message.word) arrives"
        ) { [world] in
            guard !link.isCut, link.conductor.isAlive else { return }
            world.executor.begin { await link.conductor.receive(message, link) }
        }
    }

    /// A message of the conductor's.
    func receive(_ message: ConductorMessage, _ link: AgentLink) {
        guard self.link === link, !link.isCut else { return }
        handle(.received(message))
    }

    /// Breaks the stream: this end is told soon, the conductor within its pings' time.
    private func cut() {
        guard let link else { return }
        self.link = nil
        guard !link.isCut else { return }
        link.isCut = true
        world.after(world.slowly(100...45_000), "\(machine) stream \(link.number) is missed") { [world] in
            guard link.conductor.isAlive else { return }
            world.executor.begin { await link.conductor.lost(link) }
        }
        later(100...20_000, "agent's stream ends", .disconnected("broken"))
    }

    /// The conductor's end is gone.
    func ended(_ link: AgentLink) {
        guard self.link === link else { return }
        self.link = nil
        later(100...45_000, "agent's stream ends", .disconnected("the conductor is gone"))
    }
}

extension AgentMessage {
    fileprivate var isRoutine: Bool {
        switch self {
        case .metrics, .logs, .status: true
        case .hello, .renew, .secrets: false
        }
    }

    /// For the trace.
    var word: String {
        switch self {
        case .hello: "hello"
        case .status: "status"
        case .metrics: "figures"
        case .logs: "logs"
        case .renew: "renewal"
        case .secrets: "request for secrets"
        }
    }
}
