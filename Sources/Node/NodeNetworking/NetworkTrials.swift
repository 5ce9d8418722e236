import NetworkUnits
import Primitives

/// The times that a step is made at: deadlines run on seconds since the boot, so that a corrected clock neither ends
/// nor lengthens a trial.
struct NetworkTime: Sendable, Hashable {
    var wall: Timestamp
    var uptime: Int
}

/// What happens to a node's network.
enum NetworkEvent: Sendable, Hashable {
    /// The agent has started in this boot and found this on disk.
    case started(NetworkRecord, bootID: String)
    /// What the node shall have, and the seconds that it has to prove itself.
    case wanted(UnitSet, seconds: Int)
    /// The last `run` was carried out; whether anything had to be changed.
    case ran(changed: Bool)
    /// It could not be carried out.
    case failed(String)
    /// A conductor was reached by a connection that was begun at `uptime`.
    case reached(uptime: Int)
    /// None was.
    case unreached(String)
    case tick
}

/// What is done for it.
enum NetworkEffect: Sendable, Hashable {
    /// Keep the record on disk.
    case save(NetworkRecord)
    /// Make the files for the next boot these; nil: none of ours.
    case store(UnitSet?)
    /// Make the running configuration this, by difference; nil: DHCP on every card.
    case run(UnitSet?)
    /// The condition has changed.
    case tell
    case log(isProblem: Bool, String)
}

/// A node's network with its trials: a pure step.
///
/// A new configuration runs at once but is kept for the next boot only when a conductor was reached over it in time.
/// Otherwise the one before comes back, and that configuration is not tried again until it changes.
struct NetworkTrials: Sendable, Hashable {
    /// Seconds between two attempts to make the running configuration what it shall be.
    static let retryDelay = 30
    /// The most seconds that connections do not count in after a change: until then old addresses may still be there.
    static let settleMax = 10
    /// The most seconds between the two connections that prove a configuration.
    static let proofGapMax = 3

    private(set) var record = NetworkRecord()
    private var bootID = ""
    private var hasStarted = false
    /// From when on a connection counts.
    private var settledAt = 0
    /// When the first connection that counts was begun.
    private var firstReached: Int?
    private var lastMiss: String?
    /// What the running configuration could not be made, and when that is tried again.
    private(set) var problem: String?
    private var retryAt: Int?

    /// Whether time matters now.
    var isBusy: Bool { record.trial != nil || retryAt != nil }
    /// Whether conductors are to be tried now.
    func wantsProbe(_ now: NetworkTime) -> Bool { record.trial != nil && now.uptime >= settledAt }

    mutating func step(_ event: NetworkEvent, at now: NetworkTime) -> [NetworkEffect] {
        switch event {
        case .started(let record, let bootID): return start(record, bootID, now)
        case .wanted(let units, let seconds): return want(units, seconds, now)
        case .ran(let changed):
            let had = problem != nil
            (problem, retryAt) = (nil, nil)
            if changed, let trial = record.trial {
                settledAt = now.uptime + min(Self.settleMax, trial.seconds / 3)
                firstReached = nil
            }
            return had ? [.tell] : []
        case .failed(let message):
            guard record.trial == nil else { return reject("It could not be applied: \(message)", now) }
            let isNew = problem != message
            problem = message
            retryAt = now.uptime + Self.retryDelay
            return isNew ? [.tell, .log(isProblem: true, "The network could not be made: \(message)")] : []
        case .reached(let uptime): return reach(uptime)
        case .unreached(let cause):
            lastMiss = cause
            firstReached = nil
            return []
        case .tick: return tick(now)
        }
    }

    private mutating func start(_ found: NetworkRecord, _ bootID: String, _ now: NetworkTime) -> [NetworkEffect] {
        guard !hasStarted else { return [] }
        (record, self.bootID, hasStarted) = (found, bootID, true)
        guard var trial = found.trial else { return [.store(record.kept), .run(record.kept)] }
        settledAt = now.uptime
        if trial.bootID == nil {
            // The first boot after the deployment.
            trial.bootID = bootID
            trial.deadline = now.uptime + trial.seconds
            record.trial = trial
            return [.save(record), .run(trial.units), .tell]
        }
        guard trial.bootID == bootID else {
            return reject("The node restarted before a conductor was reached over it.", now)
        }
        settledAt = now.uptime + min(Self.settleMax, trial.seconds / 3)
        return [.run(trial.units), .tell]
    }

    private mutating func want(_ units: UnitSet, _ seconds: Int, _ now: NetworkTime) -> [NetworkEffect] {
        guard hasStarted, record.trial?.units != units else { return [] }
        if units == record.kept {
            guard record.trial != nil || record.rejected != nil else { return [] }
            (record.trial, record.rejected) = (nil, nil)
            return [.save(record), .run(units), .tell]
        }
        guard record.rejected?.units != units else { return [] }
        let followsFailure = record.rejected != nil || record.trial?.followsFailure == true
        record.rejected = nil
        record.trial = NetworkRecord.Trial(
            units: units, seconds: seconds, bootID: bootID, deadline: now.uptime + seconds,
            followsFailure: followsFailure ? true : nil)
        settledAt = now.uptime + min(Self.settleMax, seconds / 3)
        (firstReached, lastMiss) = (nil, nil)
        return [
            .save(record), .log(isProblem: false, "A new network configuration is on trial for \(seconds) s."), .tell,
            .run(units),
        ]
    }

    private mutating func reach(_ uptime: Int) -> [NetworkEffect] {
        guard let trial = record.trial, uptime >= settledAt else { return [] }
        guard let first = firstReached else {
            firstReached = uptime
            return []
        }
        guard uptime - first >= max(1, min(Self.proofGapMax, trial.seconds / 6)) else { return [] }
        record.kept = trial.units
        (record.trial, record.rejected, firstReached) = (nil, nil, nil)
        // The record first: what is kept is what it says, whenever the power goes.
        return [
            .save(record), .store(record.kept),
            .log(isProblem: false, "The conductor was reached over the new network configuration; it is kept."), .tell,
        ]
    }

    private mutating func tick(_ now: NetworkTime) -> [NetworkEffect] {
        if let trial = record.trial {
            guard now.uptime >= trial.deadline else { return [] }
            let last = lastMiss.map { " The last attempt: \($0)" } ?? ""
            return reject("No conductor could be reached over it within \(trial.seconds) s.\(last)", now)
        }
        guard let retryAt, now.uptime >= retryAt else { return [] }
        self.retryAt = nil
        return [.store(record.kept), .run(record.kept)]
    }

    private mutating func reject(_ cause: String, _ now: NetworkTime) -> [NetworkEffect] {
        guard let trial = record.trial else { return [] }
        record.rejected = NetworkRecord.Rejection(units: trial.units, cause: cause.printable(limit: 400), at: now.wall)
        (record.trial, firstReached, lastMiss) = (nil, nil, nil)
        return [
            .save(record), .store(record.kept),
            .log(isProblem: true, "The new network configuration is taken back. \(cause)"), .run(record.kept), .tell,
        ]
    }

    /// What is told of the network: whether the node has what it shall have, and why not.
    var verdict: (isTrue: Bool, message: String) {
        if let problem { return (false, "The network could not be made: \(problem) It is tried again.") }
        if let rejected = record.rejected {
            let now = record.kept == nil ? "every card asks by DHCP" : "the configuration before it is in use again"
            return (
                false,
                "The network configuration was taken back, \(now). \(rejected.cause) It is not tried again until it "
                    + "changes: correct the node's network in the site file, or choose another with 'muster node set "
                    + "NAME --network NETWORK'."
            )
        }
        if let trial = record.trial {
            // What was wrong before is not well before it is proven.
            let isWell = trial.followsFailure != true
            return (
                isWell, "A network configuration is on trial\(isWell ? "" : "; the one before it was taken back")."
            )
        }
        if record.kept == nil { return (true, "Every card asks by DHCP.") }
        return (true, "The network is as asked for.")
    }
}
