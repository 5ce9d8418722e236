import AgentProtocol
import Primitives

/// A request to the conductor that failed.
struct RequestFailure: Error, Hashable, Sendable {
    /// What happened.
    var message: String
    /// Whether the conductor no longer knows the session.
    var isSessionOver = false
    /// Whether the conductor understood the request and will refuse it again.
    var isRefusal = false
}

/// What happens to a machine in the ramdisk.
enum DiscoveryEvent: Hashable, Sendable {
    case started
    case tick
    case authorityTrusted
    case authorityFailed(RequestFailure)
    case registered(InventoryReply)
    case registrationFailed(RequestFailure)
    case ordered(DiscoveryOrder)
    case orderFailed(RequestFailure)
    case posted
    case postFailed(RequestFailure)
    case logsPosted
    case prepared(order: UInt64, disk: String, chunks: Int)
    case wrote(order: UInt64, done: Int, bytes: UInt64)
    case complete(order: UInt64)
    case interrupted(order: UInt64, RequestFailure)
    case failed(order: UInt64, message: String, isRetryable: Bool)
    case finished(order: UInt64)
    case cleaning(order: UInt64, DiscoveryProgress.Stage)
    case cleaned(order: UInt64, [CleanedDisk])
    case rescueOpened(order: UInt64, RescueAccess)
    case rescueLogin(order: UInt64, from: String)
    case rescueClosed(order: UInt64)
}

/// What a machine in the ramdisk does.
enum DiscoveryEffect: Hashable, Sendable {
    case fetchAuthority
    case register
    case poll(session: String, after: UInt64?)
    case post(session: String, DiscoveryProgress)
    case postLogs(session: String)
    case prepare(session: String, order: UInt64, DeployOrder)
    case stream(order: UInt64, DeployOrder)
    case finish(order: UInt64, DeployOrder)
    case clean(order: UInt64, CleanOrder)
    case openRescue(order: UInt64, RescueOrder)
    case closeRescue(order: UInt64)
    case abandon(order: UInt64)
    case log(level: String, String)
}

/// The whole state of a machine in the ramdisk; `step` is pure, a shell carries its effects out.
struct DiscoverySession: Hashable, Sendable {
    /// The longest pause between two attempts.
    static let backoffMax: Duration = .seconds(15)
    /// An image that gets no further for this long fails.
    static let stallLimit: Duration = .seconds(600)
    /// Between two reports of progress, and between two empty answers to a poll.
    static let reportInterval: Duration = .seconds(1)
    /// Between two reports of a disk that works and tells nothing.
    static let cleaningReportInterval: Duration = .seconds(30)
    /// Between two batches of log lines.
    static let logInterval: Duration = .seconds(2)

    /// How the machine stands with its conductor.
    enum Link: Hashable, Sendable {
        case untrusted
        case unregistered
        case asking
        case registered(session: String)
    }

    /// A cleaning under way.
    struct Cleaning: Hashable, Sendable {
        let number: UInt64
        /// What was reported last; said again while the disk works, so that the conductor knows the machine is alive.
        var stage: DiscoveryProgress.Stage?
        var reportedAt: Duration
    }

    /// A deployment under way or done.
    struct Deployment: Hashable, Sendable {
        enum Stage: Hashable, Sendable {
            case preparing
            case streaming
            case finishing
            case over
        }

        let number: UInt64
        let order: DeployOrder
        var stage = Stage.preparing
        /// When to go on after an interruption; nil while work is under way.
        var resumeAt: Duration?
        var chunks = 0
        var done = 0
        var bytes: UInt64 = 0
        var failures = 0
        var lastFailure: String?
        var advancedAt: Duration
    }

    private(set) var link = Link.untrusted
    private(set) var deployment: Deployment?
    private(set) var cleaning: Cleaning?
    /// The order by which an operator may log in; nil: nobody may.
    var rescue: UInt64?
    private(set) var lastOrder: UInt64?
    private(set) var outbox: [DiscoveryProgress] = []
    private var posting: DiscoveryProgress?
    private var isPosting = false
    private var isPolling = false
    private var failures = 0
    private var linkAt: Duration = .zero
    private var pollAt: Duration = .zero
    private var polledAt: Duration = .zero
    private var postAt: Duration = .zero
    private var logsAt: Duration = .zero

    /// Takes `event` in at the uptime `now`; returns what is to be done.
    mutating func step(
        _ event: DiscoveryEvent, at now: Duration, random: inout some RandomNumberGenerator
    ) -> [DiscoveryEffect] {
        var effects: [DiscoveryEffect] = []
        let pause = backoff(&random)
        switch event {
        case .started, .tick: break
        case .authorityTrusted:
            link = .unregistered
            (failures, linkAt) = (0, now)
        case .authorityFailed(let failure):
            link = .untrusted
            retryLink(failure, after: pause, now, &effects)
        case .registered(let reply):
            link = .registered(session: reply.session)
            (failures, pollAt, postAt) = (0, now, now)
            effects.append(.log(level: "info", "registered as \(reply.name) (\(reply.node))"))
        case .registrationFailed(let failure):
            link = .unregistered
            retryLink(failure, after: pause, now, &effects)
        case .ordered(let order):
            (isPolling, failures) = (false, 0)
            take(order, now, &effects)
        case .orderFailed(let failure):
            isPolling = false
            pollAt = now + pause
            failures += 1
            endSession(failure, now, &effects)
        case .posted:
            (isPosting, posting, postAt) = (false, nil, now + Self.reportInterval)
        case .postFailed(let failure):
            if let posting, !failure.isRefusal { takeBack(posting) }
            (isPosting, posting, postAt) = (false, nil, now + pause)
            endSession(failure, now, &effects)
        case .logsPosted:
            isPosting = false
        case .failed(let order, let message, _) where order == cleaning?.number:
            endCleaning(order, .failed(message: message, retryable: true))
            effects.append(.log(level: "error", message))
        case .failed(let order, let message, _) where order == rescue:
            endRescue(with: message, &effects)
        case .rescueOpened, .rescueLogin, .rescueClosed:
            advanceRescue(event, &effects)
        case .prepared, .wrote, .complete, .interrupted, .failed, .finished:
            advanceDeployment(event, now, pause, &effects)
        case .cleaning(let order, let stage):
            if order == cleaning?.number { reportCleaning(stage, now) }
        case .cleaned(let order, let disks):
            guard order == cleaning?.number else { break }
            endCleaning(order, .cleaned(disks))
            effects += disks.map { .log(level: "info", "emptied \($0)") }
        }
        goOn(now, &effects)
        return effects
    }

    /// The uptime at which `tick` is wanted next.
    var nextTick: Duration? {
        var times: [Duration] = []
        switch link {
        case .untrusted, .unregistered: times.append(linkAt)
        case .asking: break
        case .registered:
            if !isPolling { times.append(pollAt) }
            if !isPosting { times.append(outbox.isEmpty ? logsAt : postAt) }
        }
        if let deployment, deployment.stage != .over {
            times.append(deployment.advancedAt + Self.stallLimit)
            if let resumeAt = deployment.resumeAt { times.append(resumeAt) }
        }
        if let cleaning { times.append(cleaning.reportedAt + Self.cleaningReportInterval) }
        return times.min()
    }

    // MARK: The conductor

    private func backoff(_ random: inout some RandomNumberGenerator) -> Duration {
        let attempts = max(failures, deployment?.failures ?? 0)
        let whole = min(Self.backoffMax, .seconds(1 << min(attempts, 4)))
        return .milliseconds(Int64.random(in: whole.milliseconds / 2...whole.milliseconds, using: &random))
    }

    private mutating func retryLink(
        _ failure: RequestFailure, after pause: Duration, _ now: Duration, _ effects: inout [DiscoveryEffect]
    ) {
        linkAt = now + pause
        failures += 1
        effects.append(.log(level: "warning", "\(failure.message); trying again in \(pause.milliseconds) ms"))
    }

    private mutating func endSession(
        _ failure: RequestFailure, _ now: Duration, _ effects: inout [DiscoveryEffect]
    ) {
        effects.append(.log(level: "warning", failure.message))
        guard failure.isSessionOver, case .registered = link else { return }
        link = .unregistered
        linkAt = now
    }

    private mutating func take(_ order: DiscoveryOrder, _ now: Duration, _ effects: inout [DiscoveryEffect]) {
        guard order.number != lastOrder else {
            // A conductor that does not hold the request open must not be asked in a hurry.
            pollAt = max(now, polledAt + Self.reportInterval)
            return
        }
        lastOrder = order.number
        pollAt = now
        if let deployment, deployment.stage != .over {
            effects.append(.log(level: "warning", "order \(deployment.number) was withdrawn"))
            effects.append(.abandon(order: deployment.number))
            self.deployment = nil
            outbox.removeAll { $0.order == deployment.number }
        }
        if let cleaning {
            effects.append(.log(level: "warning", "order \(cleaning.number) was withdrawn"))
            effects.append(.abandon(order: cleaning.number))
            outbox.removeAll { $0.order == cleaning.number }
            self.cleaning = nil
        }
        if rescue != nil, !order.isRescue {
            rescue = nil
            effects.append(.closeRescue(order: order.number))
            effects.append(.log(level: "warning", "the rescue ends"))
        }
        switch order.action {
        case .wait(let reason):
            effects.append(.log(level: "info", "waiting: \(reason.printable(limit: 400))"))
        case .standBy:
            effects.append(.log(level: "info", "waiting for the power to be reset"))
        case .inspect:
            link = .unregistered
            linkAt = now
        case .clean(let work):
            cleaning = Cleaning(number: order.number, reportedAt: now)
            effects.append(.clean(order: order.number, work))
            effects.append(
                .log(level: "warning", "order \(order.number): emptying \(work.disks.count) disks (\(work.method))"))
        case .rescue(let work):
            rescue = order.number
            effects.append(.openRescue(order: order.number, work))
            effects.append(.log(level: "warning", "order \(order.number): an operator may log in"))
        case .deploy(let work):
            deployment = Deployment(number: order.number, order: work, resumeAt: now, advancedAt: now)
            effects.append(.log(level: "info", "order \(order.number): image \(work.manifest)"))
        }
    }

    // MARK: The deployment

    private mutating func advanceDeployment(
        _ event: DiscoveryEvent, _ now: Duration, _ pause: Duration, _ effects: inout [DiscoveryEffect]
    ) {
        guard var work = deployment, work.stage != .over, event.order == work.number else { return }
        switch event {
        case .prepared(_, let disk, let chunks):
            work.stage = .streaming
            work.chunks = chunks
            (work.resumeAt, work.advancedAt, work.failures) = (now, now, 0)
            send(work, .started(disk: disk))
            effects.append(.log(level: "info", "writing \(chunks) chunks to \(disk)"))
        case .wrote(_, let done, let bytes):
            if done > work.done { (work.advancedAt, work.failures) = (now, 0) }
            work.done = done
            work.bytes += bytes
            send(work, .writing(done: done, total: work.chunks, bytes: work.bytes))
        case .complete:
            work.stage = .finishing
            work.advancedAt = now
            effects.append(.finish(order: work.number, work.order))
        case .interrupted(_, let failure):
            work.failures += 1
            work.lastFailure = failure.message
            work.resumeAt = now + pause
            // The conductor shall know that the machine is alive and tries: it is not to be reset.
            if work.stage == .streaming { send(work, .writing(done: work.done, total: work.chunks, bytes: work.bytes)) }
            let place = work.chunks > 0 ? " at chunk \(work.done) of \(work.chunks)" : ""
            effects.append(
                .log(level: "warning", "interrupted\(place): \(failure.message); going on in \(pause.milliseconds) ms"))
        case .failed(_, let message, let isRetryable):
            work.stage = .over
            send(work, .failed(message: message, retryable: isRetryable))
            effects.append(.log(level: "error", message))
        case .finished:
            work.stage = .over
            send(work, .finished)
            effects.append(.log(level: "info", "the image is on the disk"))
        default: break
        }
        deployment = work
    }

    /// Puts a report into the outbox; figures that were not sent yet give way to newer ones.
    private mutating func send(_ work: Deployment, _ stage: DiscoveryProgress.Stage) {
        if let last = outbox.last, case .writing = last.stage { outbox.removeLast() }
        outbox.append(DiscoveryProgress(order: work.number, stage: stage))
        if case .writing = stage { return }
        postAt = .zero
    }

    /// Puts a report into the outbox, to be sent at once.
    mutating func report(_ report: DiscoveryProgress) {
        outbox.append(report)
        postAt = .zero
    }

    /// Puts a report that did not arrive back, unless its order is withdrawn or newer figures wait.
    private mutating func takeBack(_ report: DiscoveryProgress) {
        guard report.order == lastOrder else { return }
        switch report.stage {
        case .writing, .cleaning: if !outbox.isEmpty { return }
        case .started, .finished, .cleaned, .rescued, .login, .failed: break
        }
        outbox.insert(report, at: 0)
    }

    // MARK: The cleaning

    private mutating func reportCleaning(_ stage: DiscoveryProgress.Stage, _ now: Duration) {
        guard let number = cleaning?.number else { return }
        cleaning?.stage = stage
        cleaning?.reportedAt = now
        if let last = outbox.last, case .cleaning = last.stage { outbox.removeLast() }
        outbox.append(DiscoveryProgress(order: number, stage: stage))
    }

    private mutating func endCleaning(_ order: UInt64, _ stage: DiscoveryProgress.Stage) {
        cleaning = nil
        outbox.removeAll { $0.order == order }
        outbox.append(DiscoveryProgress(order: order, stage: stage))
        postAt = .zero
    }

    // MARK: What is due

    private mutating func goOn(_ now: Duration, _ effects: inout [DiscoveryEffect]) {
        switch link {
        case .untrusted where now >= linkAt:
            link = .asking
            effects.append(.fetchAuthority)
        case .unregistered where now >= linkAt:
            link = .asking
            effects.append(.register)
        case .registered(let session):
            talk(session, now, &effects)
        default: break
        }
        if let stage = cleaning?.stage, let at = cleaning?.reportedAt, now >= at + Self.cleaningReportInterval {
            reportCleaning(stage, now)
        } else if let at = cleaning?.reportedAt, now >= at + Self.cleaningReportInterval {
            cleaning?.reportedAt = now
        }
        guard var work = deployment, work.stage != .over else { return }
        if now >= work.advancedAt + Self.stallLimit, work.stage != .finishing {
            work.stage = .over
            deployment = work
            let minutes = Self.stallLimit.components.seconds / 60
            let message =
                "No chunk could be written for \(minutes) minutes. Check the network and the conductor's image. "
                + "Last: \(work.lastFailure ?? "nothing was heard")"
            effects += [.abandon(order: work.number), .log(level: "error", message)]
            send(work, .failed(message: message, retryable: true))
        } else if let resumeAt = work.resumeAt, now >= resumeAt {
            if case .preparing = work.stage {
                guard case .registered(let session) = link else { return }
                effects.append(.prepare(session: session, order: work.number, work.order))
            } else {
                effects.append(.stream(order: work.number, work.order))
            }
            work.resumeAt = nil
            deployment = work
        }
    }

    private mutating func talk(_ session: String, _ now: Duration, _ effects: inout [DiscoveryEffect]) {
        if !isPolling, now >= pollAt {
            (isPolling, polledAt) = (true, now)
            effects.append(.poll(session: session, after: lastOrder))
        }
        guard !isPosting else { return }
        if let report = outbox.first {
            guard now >= postAt else { return }
            (isPosting, posting) = (true, report)
            outbox.removeFirst()
            effects.append(.post(session: session, report))
        } else if now >= logsAt {
            isPosting = true
            logsAt = now + Self.logInterval
            effects.append(.postLogs(session: session))
        }
    }
}

extension DiscoveryEvent {
    /// The order that the event belongs to.
    var order: UInt64? {
        switch self {
        case .prepared(let order, _, _), .wrote(let order, _, _), .complete(let order), .interrupted(let order, _),
            .failed(let order, _, _), .finished(let order):
            order
        default: nil
        }
    }
}
