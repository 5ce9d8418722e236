import CatalogBareMetal
import Primitives
import ResourceModel

/// What a change of a machine's power may follow from.
struct PowerExpectation: Hashable {
    /// The orders to the node: given, and carried out.
    var nodeOrders: [UInt64] = []
    /// Where the node is in its life.
    var state: NodeState?
    /// The order to the BMC that was carried out.
    var bmcOrder: UInt64?
    /// When the machine was switched on to be discovered.
    var discoveryPowerOn: Timestamp?
    /// Whether the machine or its BMC is waited for.
    var isAwaited = false

    init() {}

    /// What is expected of `bmc`, whose machine is `node`.
    init(_ bmc: BMC, node: Node?) {
        bmcOrder = bmc.status.powerSeen
        discoveryPowerOn = bmc.status.discoveryPowerOn
        guard let node else { return }
        nodeOrders = [node.spec.power?.number ?? 0, node.status.powerSeen]
        state = node.status.state
        isAwaited = [.machine, .bmc].contains(node.status.wait?.owner)
    }
}

/// When one BMC is asked next: quickly while its machine's power is expected to change, ever more seldom while nothing
/// happens or it fails, and never twice at once. Pure: time and randomness are handed in.
struct BMCPoll {
    /// What asking came to.
    enum Outcome {
        /// Nothing is new.
        case same
        /// What is new was written.
        case changed
        /// What is new could not be written.
        case notWritten
        /// It did not answer as it should.
        case failed
        /// User or password are wrong.
        case refused
    }

    /// After an order, or when the node has come into another state.
    static let quick: Duration = .seconds(2)
    /// How long that is kept up.
    static let quickTime: Duration = .seconds(30)
    /// While the machine is waited for.
    static let awaited: Duration = .seconds(5)
    /// The first pause when nothing is expected; doubled up to `settled`.
    static let settling: Duration = .seconds(15)
    /// The longest pause of a BMC that answers.
    static let settled: Duration = .seconds(120)
    /// The first pause after a failure; doubled up to `failing`.
    static let failed: Duration = .seconds(5)
    /// The longest pause after failures.
    static let failing: Duration = .seconds(300)
    /// The same while a change is expected.
    static let failingAwaited: Duration = .seconds(30)
    /// BMCs lock the user after a few wrong passwords.
    static let refused: Duration = .seconds(15 * 60)

    private var last: Timestamp?
    private var interval = Self.settling
    private var failureCount = 0
    private var isRefused = false
    /// Spreads BMCs that were first asked at one moment; within a fifth of the pause.
    private var jitter = 0
    private var specification: BMC.Spec?
    private var password: Metadata?
    private var expectation: PowerExpectation?
    private var expectedAt: Timestamp?
    private var isIdentified = false
    private var isUnderWay = false

    /// Begins a poll when it is time, or when the specification or the password has changed.
    ///
    /// Gives whether the machine has to be identified, because the specification has not been asked with yet; nil when
    /// the BMC is not to be asked now.
    mutating func begin(
        _ bmc: BMC, password: Metadata?, expectation: PowerExpectation = PowerExpectation(), at now: Timestamp
    ) -> Bool? {
        if let before = self.expectation, before != expectation { expectedAt = now }
        self.expectation = expectation
        guard !isUnderWay else { return nil }
        let isNew = specification != bmc.spec
        if isNew || self.password != password {
            (interval, failureCount, isRefused) = (Self.settling, 0, false)
        } else if let last {
            guard last.advanced(by: pause(at: now)) <= now else { return nil }
        }
        if isNew { isIdentified = false }
        (specification, self.password, isUnderWay) = (bmc.spec, password, true)
        return !isIdentified
    }

    /// Ends the poll that was begun.
    mutating func end(_ outcome: Outcome, at now: Timestamp, random: inout some RandomNumberGenerator) {
        isUnderWay = false
        last = now
        isIdentified = outcome == .same || outcome == .changed
        isRefused = outcome == .refused
        failureCount = isIdentified ? 0 : min(failureCount + 1, 16)
        switch outcome {
        case .same: interval = min(interval * 2, Self.settled)
        case .changed, .notWritten, .failed, .refused: interval = Self.settling
        }
        jitter = Int.random(in: -200...200, using: &random)
    }

    /// The pause after the last answer, as it looks `now`.
    private func pause(at now: Timestamp) -> Duration {
        guard !isRefused else { return Self.refused }
        let isNews = expectedAt.map { now.since($0) < Self.quickTime } ?? false
        let isExpected = isNews || expectation?.isAwaited == true
        guard failureCount == 0 else {
            let longest = isExpected ? Self.failingAwaited : Self.failing
            return spread(min(Self.failed * (1 << (failureCount - 1)), longest))
        }
        if isNews { return Self.quick }
        return isExpected ? Self.awaited : spread(interval)
    }

    private func spread(_ pause: Duration) -> Duration { pause + pause * jitter / 1000 }
}
