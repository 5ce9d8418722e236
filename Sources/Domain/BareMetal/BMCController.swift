import CatalogBareMetal
import Logging
import Primitives
import ResourceModel
import ServiceLifecycle
import Synchronization

/// The only writer of BMCs' status, with its `PasswordRotator` for what is known of passwords: asks each again and again,
/// as often as `BMCPoll` says, carries out power orders for machines that are no nodes yet, and switches machines on that
/// wait to be discovered.
public struct BMCController: Service {
    private let store: any ResourceStore
    private let bmcs: @Sendable () -> [BMC]
    private let nodes: @Sendable (String) -> [Node]
    private let passwordVersion: @Sendable (BMC) -> Metadata?
    private let driver: @Sendable (BMC) async throws -> any BMCDriver
    private let powerRead: @Sendable (Node, PowerReading) async -> Void
    private let certificateChanged: @Sendable (BMC, Node?, String) async -> Void
    private let sensors: BMCSensors
    private let medium: MediumURL
    private let passwords: PasswordRotator?
    private let clock: any WallClock
    private let random: RandomSource
    private let logger: Logger

    /// The BMCs that are asked at once.
    static let concurrencyMax = 32

    /// A controller of all `bmcs`.
    /// - Parameters:
    ///   - nodes: those whose BMC has this name.
    ///   - passwordVersion: the metadata of the secret that holds a BMC's password; when it changes, the BMC is asked
    ///     at once.
    ///   - powerRead: is told when a node's power is not what its status says.
    ///   - certificateChanged: is told when a BMC that had shown a trusted certificate shows another, with its machine's
    ///     node if there is one, and what is the matter.
    ///   - passwords: carries out orders to change passwords; nil: they wait.
    public init(
        store: any ResourceStore, bmcs: @escaping @Sendable () -> [BMC], nodes: @escaping @Sendable (String) -> [Node],
        passwordVersion: @escaping @Sendable (BMC) -> Metadata?,
        driver: @escaping @Sendable (BMC) async throws -> any BMCDriver,
        powerRead: @escaping @Sendable (Node, PowerReading) async -> Void,
        certificateChanged: @escaping @Sendable (BMC, Node?, String) async -> Void = { _, _, _ in },
        sensors: BMCSensors = BMCSensors(),
        medium: @escaping MediumURL = noMedium, passwords: PasswordRotator? = nil, clock: any WallClock,
        random: RandomSource = .system, logger: Logger
    ) {
        self.passwords = passwords
        self.store = store
        self.powerRead = powerRead
        self.certificateChanged = certificateChanged
        self.bmcs = bmcs
        self.nodes = nodes
        self.passwordVersion = passwordVersion
        self.driver = driver
        self.sensors = sensors
        self.medium = medium
        self.clock = clock
        self.random = random
        self.logger = logger
    }

    /// Asks until it is cancelled.
    public func run() async throws {
        await cancelWhenGracefulShutdown { await follow() }
    }

    /// Asks whoever is due each second; one that hangs keeps a place of the gate and nobody waiting.
    private func follow() async {
        let polls = BMCPolls(random: random)
        let gate = AsyncSemaphore(limit: Self.concurrencyMax)
        await withDiscardingTaskGroup { group in
            while !Task.isCancelled {
                let bmcs = bmcs()
                sensors.retain(Set(bmcs.map(\.metadata.name)))
                for bmc in bmcs where !Task.isCancelled {
                    let begun = polls.begin(
                        bmc, password: passwordVersion(bmc),
                        expectation: PowerExpectation(bmc, node: nodes(bmc.metadata.name).first), at: clock.now)
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
        var bmc = bmc
        var status = bmc.status
        var failure: BMCPoll.Outcome?
        do {
            if let settled = try await passwords?.settle(bmc) {
                bmc = settled
                status = settled.status
            }
            let driver = try await driver(bmc)
            if identifies || !status.isReachable {
                let identity = try await driver.identify()
                if identity.uuid != status.systemUUID { status.discoveryPowerOn = nil }
                status.systemUUID = identity.uuid
                status.serial = identity.serial
                status.firmwareVersion = identity.firmwareVersion
                status.model = [identity.manufacturer, identity.model].compactMap { $0 }.joined(separator: " ")
            }
            let power = try await driver.powerState()
            // Why an order failed is told until something changes.
            if identifies || !status.isReachable || status.power != power { status.lastError = nil }
            status.note(power, at: clock.now)
            status.isReachable = true
            status.refusedCertificate = nil
            try await switchPower(bmc, driver, &status)
            await readSensors(bmc, driver)
        } catch {
            if Task.isCancelled { return .same }
            if let error = error as? StoreError {
                // Nothing of it says how the BMC is.
                logger.log(
                    level: error.logLevel(.warning),
                    "\(bmc.metadata.name): its password is not settled yet: \(error.publicMessage)")
                return .notWritten
            }
            // A BMC that does not answer says nothing of the power: unreachable is not off.
            status.isReachable = false
            status.note(.unknown, at: clock.now)
            status.lastError = await refuse(error, bmc, &status) ?? Self.text(error)
            let isRefused = (error as? BMCError) == .badCredentials || error is PasswordUnknown
            failure = isRefused ? .refused : .failed
        }
        for node in nodes(bmc.metadata.name) where !node.hasLost(status) {
            guard node.status.power?.state != status.power, let reading = status.reading else { continue }
            await powerRead(node, reading)
        }
        guard status != bmc.status else { return failure ?? .same }
        if status.lastError != bmc.status.lastError, let message = status.lastError {
            logger.warning("\(bmc.metadata.name): \(message)")
        }
        let isWritten = await write(status, of: bmc)
        return failure ?? (isWritten ? .changed : .notWritten)
    }

    /// Notes a certificate that is not trusted, and tells what to do; nil when that is not the matter.
    private func refuse(_ error: any Error, _ bmc: BMC, _ status: inout BMC.Status) async -> String? {
        guard case .tlsUntrusted(let found?)? = error as? BMCError else { return nil }
        let text = bmc.untrusted(found)
        guard status.refusedCertificate?.digest != found else { return text }
        status.refusedCertificate = BMC.RefusedCertificate(digest: found, since: clock.now)
        if bmc.spec.trustedCertificate != nil {
            await certificateChanged(bmc, nodes(bmc.metadata.name).first, text)
        }
        return text
    }

    /// Reads the sensors when it is time. A BMC that has none, or does not tell, is no worse for it.
    private func readSensors(_ bmc: BMC, _ driver: any BMCDriver) async {
        let name = bmc.metadata.name
        guard sensors.begin(name, at: clock.now) else { return }
        do { sensors.keep(try await driver.sensors(), of: name, at: clock.now) } catch {
            logger.debug("\(name): its sensors were not read: \(error)")
        }
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
                guard nodes(name).isEmpty else { return }
                try await driver.setPower(PowerAction(order.action))
                logger.info("\(name): power \(order.action.rawValue) done")
            } else if mayDiscover(bmc, status) {
                try await bmc.setRamdiskBoot(driver, firmware: nil, medium: medium)
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
        if let power = try? await driver.powerState() { status.note(power, at: clock.now) }
    }

    /// Writes what was seen, unless the specification has changed meanwhile: what was seen may be another machine's
    /// then, and only the order that was carried out is noted. False when the store fails.
    private func write(_ status: BMC.Status, of bmc: BMC) async -> Bool {
        let now = clock.now
        do {
            try await store.update(BMC.self, bmc.metadata.name) { current in
                guard var current else { return nil }
                if current.value.spec == bmc.spec {
                    // The password's part is written where it is changed.
                    let password = current.value.status.password
                    current.value.status = status
                    current.value.status.password = password
                    current.value.status.checked = now
                } else {
                    guard let seen = status.powerSeen, seen > current.value.status.powerSeen ?? 0 else { return nil }
                    current.value.status.powerSeen = seen
                }
                return current
            }
            return true
        } catch {
            logger.log(level: error.logLevel(.error), "\(bmc.metadata.name): its status was not written: \(error)")
            return false
        }
    }

    /// Whether a machine that nobody knows is off and shall be looked at; it is switched on once.
    private func mayDiscover(_ bmc: BMC, _ status: BMC.Status) -> Bool {
        bmc.spec.powersOnForDiscovery && status.power == .off && status.discoveryPowerOn == nil
            && !nodes(bmc.metadata.name).contains { !$0.hasLost(status) }
    }

    private static func text(_ error: any Error) -> String {
        (error as? any UserFacingError)?.publicMessage ?? "\(error)".printable(limit: 300)
    }
}

extension BMC {
    /// What is the matter with a certificate that is not trusted, and how it is accepted.
    func untrusted(_ found: Digest) -> String {
        let name = metadata.name
        guard let trusted = spec.trustedCertificate else {
            return
                "Nobody has said that the certificate of '\(name)' is the right one, so nothing is sent to it. Compare "
                + "its SHA-256 with what the BMC itself shows, then: muster bmc approve \(name) --fingerprint \(found.hex)"
        }
        let way =
            spec.certificateDigest == nil
            ? "muster bmc approve \(name) --fingerprint \(found.hex)"
            : "set 'certificateDigest' of '\(name)' in the site file to it and apply that"
        return
            "The certificate of '\(name)' has changed from \(trusted.hex) to \(found.hex), so nothing is sent to it. "
            + "Somebody may stand between. If the BMC was replaced or made a new one: \(way)"
    }
}

/// The polls of all BMCs, for the loop that begins them and the tasks that end them.
private final class BMCPolls: Sendable {
    private let polls = Mutex<[String: BMCPoll]>([:])
    private let random: RandomSource

    init(random: RandomSource) { self.random = random }

    func begin(_ bmc: BMC, password: Metadata?, expectation: PowerExpectation, at now: Timestamp) -> Bool? {
        polls.withLock {
            $0[bmc.metadata.name, default: BMCPoll()].begin(
                bmc, password: password, expectation: expectation, at: now)
        }
    }

    func end(_ bmc: BMC, _ outcome: BMCPoll.Outcome, at now: Timestamp) {
        var random = random
        polls.withLock { $0[bmc.metadata.name, default: BMCPoll()].end(outcome, at: now, random: &random) }
    }
}
