import CatalogBareMetal
import Logging
import Primitives
import ResourceModel
import ServiceLifecycle
import Synchronization

/// The only writer of BMCs' status: asks each again and again, more seldom while nothing changes, carries out power
/// orders for machines that are no nodes yet, and switches machines on that wait to be discovered.
public struct BMCController: Service {
    private let store: any ResourceStore
    private let bmcs: @Sendable () -> [BMC]
    private let nodes: @Sendable () -> [Node]
    private let passwordVersion: @Sendable (BMC) -> Metadata?
    private let driver: @Sendable (BMC) async throws -> any BMCDriver
    private let powerRead: @Sendable (Node, Node.PowerReading) async -> Void
    private let clock: any WallClock
    private let logger: Logger

    /// The BMCs that are asked at once.
    static let concurrencyMax = 32

    /// A controller of all `bmcs`.
    /// - Parameters:
    ///   - passwordVersion: the metadata of the secret that holds a BMC's password; when it changes, the BMC is asked
    ///     at once.
    ///   - powerRead: is told when a node's power is not what its status says.
    public init(
        store: any ResourceStore, bmcs: @escaping @Sendable () -> [BMC], nodes: @escaping @Sendable () -> [Node],
        passwordVersion: @escaping @Sendable (BMC) -> Metadata?,
        driver: @escaping @Sendable (BMC) async throws -> any BMCDriver,
        powerRead: @escaping @Sendable (Node, Node.PowerReading) async -> Void, clock: any WallClock, logger: Logger
    ) {
        self.store = store
        self.powerRead = powerRead
        self.bmcs = bmcs
        self.nodes = nodes
        self.passwordVersion = passwordVersion
        self.driver = driver
        self.clock = clock
        self.logger = logger
    }

    /// Asks until it is cancelled.
    public func run() async throws {
        await cancelWhenGracefulShutdown { await follow() }
    }

    /// Asks whoever is due each second; one that hangs keeps a place of the gate and nobody waiting.
    private func follow() async {
        let polls = BMCPolls()
        let gate = Gate(limit: Self.concurrencyMax)
        await withDiscardingTaskGroup { group in
            while !Task.isCancelled {
                for bmc in bmcs() where !Task.isCancelled {
                    let begun = polls.begin(bmc, password: passwordVersion(bmc), at: clock.now)
                    guard let identifies = begun else { continue }
                    await gate.enter()
                    group.addTask {
                        let outcome = await ask(bmc, identifies: identifies)
                        polls.end(bmc, outcome, at: clock.now)
                        gate.leave()
                    }
                }
                try? await Task.sleep(for: .seconds(1))
            }
        }
    }

    /// Asks one BMC, carries out what is ordered, and writes what is new; `identifies`: also whose BMC it is, whatever
    /// the status says.
    func ask(_ bmc: BMC, identifies: Bool) async -> BMCPoll.Outcome {
        var status = bmc.status
        var isRefused = false
        do {
            let driver = try await driver(bmc)
            if identifies || status.systemUUID == nil || !status.isReachable {
                let identity = try await driver.identify()
                if identity.uuid != status.systemUUID { status.discoveryPowerOn = nil }
                status.systemUUID = identity.uuid
                status.serial = identity.serial
                status.model = [identity.manufacturer, identity.model].compactMap { $0 }.joined(separator: " ")
            }
            let power = try await driver.powerState().rawValue
            // Why an order failed is told until something changes.
            if identifies || !status.isReachable || status.power != power { status.lastError = nil }
            status.power = power
            status.isReachable = true
            try await switchPower(bmc, driver, &status)
        } catch {
            if Task.isCancelled { return .same }
            // A BMC that does not answer says nothing of the power: unreachable is not off.
            status.isReachable = false
            status.power = PowerState.unknown.rawValue
            status.lastError = Self.text(error)
            isRefused = (error as? BMCError) == .badCredentials
        }
        for node in nodes() where node.bmcName == bmc.metadata.name && !node.hasLost(status) {
            guard node.status.power?.state != status.power else { continue }
            await powerRead(node, Node.PowerReading(state: status.power, at: clock.now))
        }
        guard status != bmc.status else { return isRefused ? .refused : .same }
        if status.lastError != bmc.status.lastError, let message = status.lastError {
            logger.warning("\(bmc.metadata.name): \(message)")
        }
        let isWritten = await write(status, of: bmc)
        return isRefused ? .refused : isWritten ? .changed : .notWritten
    }

    /// Carries out an operator's newest order, once, or else switches a machine on that waits to be discovered.
    ///
    /// What fails is told and takes nothing from what the BMC has answered. Throws only when it is cancelled.
    private func switchPower(_ bmc: BMC, _ driver: any BMCDriver, _ status: inout BMC.Status) async throws {
        let name = bmc.metadata.name
        do {
            if let order = bmc.spec.power, order.number > status.powerSeen ?? 0 {
                status.powerSeen = order.number
                // The machine has become a node meanwhile, and a node has orders of its own.
                guard !nodes().contains(where: { $0.bmcName == name }) else { return }
                try await driver.setPower(PowerAction(order.action))
                logger.info("\(name): power \(order.action.rawValue) done")
            } else if mayDiscover(bmc, status) {
                try await driver.setBoot(.network, once: true, firmware: nil)
                try await driver.setPower(.on)
                status.discoveryPowerOn = clock.now
                logger.info("\(name): switched on to be discovered")
            } else {
                return
            }
            status.lastError = nil
        } catch {
            try Task.checkCancellation()
            status.lastError = Self.text(error)
            return
        }
        if let power = try? await driver.powerState() { status.power = power.rawValue }
    }

    /// Writes what was seen, unless the specification has changed meanwhile: what was seen may be another machine's
    /// then, and only the order that was carried out is noted. False when the store fails.
    private func write(_ status: BMC.Status, of bmc: BMC) async -> Bool {
        let now = clock.now
        do {
            try await store.update(BMC.self, bmc.metadata.name) { current in
                guard var current else { return nil }
                if current.value.spec == bmc.spec {
                    current.value.status = status
                    current.value.status.checked = now
                } else {
                    guard let seen = status.powerSeen, seen > current.value.status.powerSeen ?? 0 else { return nil }
                    current.value.status.powerSeen = seen
                }
                return current
            }
            return true
        } catch {
            logger.error("\(bmc.metadata.name): its status was not written: \(error)")
            return false
        }
    }

    /// Whether a machine that nobody knows is off and shall be looked at; it is switched on once.
    private func mayDiscover(_ bmc: BMC, _ status: BMC.Status) -> Bool {
        bmc.spec.powersOnForDiscovery && status.power == PowerState.off.rawValue && status.discoveryPowerOn == nil
            && !nodes().contains { $0.bmcName == bmc.metadata.name && !$0.hasLost(status) }
    }

    private static func text(_ error: any Error) -> String {
        (error as? any UserFacingError)?.publicMessage ?? "\(error)".printable(limit: 300)
    }
}

/// The polls of all BMCs, for the loop that begins them and the tasks that end them.
private final class BMCPolls: Sendable {
    private let polls = Mutex<[String: BMCPoll]>([:])

    func begin(_ bmc: BMC, password: Metadata?, at now: Timestamp) -> Bool? {
        polls.withLock { $0[bmc.metadata.name, default: BMCPoll()].begin(bmc, password: password, at: now) }
    }

    func end(_ bmc: BMC, _ outcome: BMCPoll.Outcome, at now: Timestamp) {
        polls.withLock { $0[bmc.metadata.name, default: BMCPoll()].end(outcome, at: now) }
    }
}

/// When one BMC is asked next: soon after a change, ever more seldom while nothing happens, and never twice at once.
struct BMCPoll {
    /// What asking came to.
    enum Outcome {
        /// Nothing is new.
        case same
        /// What is new was written.
        case changed
        /// What is new could not be written.
        case notWritten
        /// User or password are wrong.
        case refused
    }

    private var next = Timestamp(millisecondsSinceEpoch: 0)
    private var interval: Duration = Self.shortest
    private var specification: BMC.Spec?
    private var password: Metadata?
    private var isIdentified = false
    private var isUnderWay = false

    static let shortest: Duration = .seconds(5)
    static let longest: Duration = .seconds(60)
    /// BMCs lock the user after a few wrong passwords.
    static let afterRefusal: Duration = .seconds(15 * 60)

    /// Begins a poll when it is time, or when the specification or the password has changed.
    ///
    /// Gives whether the machine has to be identified, because the specification has not been asked with yet; nil when
    /// the BMC is not to be asked now.
    mutating func begin(_ bmc: BMC, password: Metadata?, at now: Timestamp) -> Bool? {
        guard !isUnderWay else { return nil }
        let isNew = specification != bmc.spec
        if isNew || self.password != password {
            interval = Self.shortest
        } else {
            guard next <= now else { return nil }
        }
        if isNew { isIdentified = false }
        (specification, self.password, isUnderWay) = (bmc.spec, password, true)
        return !isIdentified
    }

    /// Ends the poll that was begun.
    mutating func end(_ outcome: Outcome, at now: Timestamp) {
        isUnderWay = false
        isIdentified = outcome == .same || outcome == .changed
        interval = outcome == .changed ? Self.shortest : min(interval * 2, Self.longest)
        next = now.advanced(by: outcome == .refused ? Self.afterRefusal : interval)
    }
}
