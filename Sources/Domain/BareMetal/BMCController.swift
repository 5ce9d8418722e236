import CatalogBareMetal
import Logging
import Primitives
import ResourceModel
import ServiceLifecycle

/// The only writer of BMCs' status: asks each in turn, more seldom while nothing changes, and switches machines on
/// that wait to be discovered.
public struct BMCController: Service {
    private let store: any ResourceStore
    private let bmcs: @Sendable () -> [BMC]
    private let nodes: @Sendable () -> [Node]
    private let driver: @Sendable (BMC) async throws -> any BMCDriver
    private let powerRead: @Sendable (Node, Node.PowerReading) async -> Void
    private let clock: any WallClock
    private let logger: Logger

    /// The BMCs that are asked at once.
    static let concurrencyMax = 32

    /// A controller of all `bmcs`; `powerRead` is told when a node's power is not what its status says.
    public init(
        store: any ResourceStore, bmcs: @escaping @Sendable () -> [BMC], nodes: @escaping @Sendable () -> [Node],
        driver: @escaping @Sendable (BMC) async throws -> any BMCDriver,
        powerRead: @escaping @Sendable (Node, Node.PowerReading) async -> Void, clock: any WallClock, logger: Logger
    ) {
        self.store = store
        self.powerRead = powerRead
        self.bmcs = bmcs
        self.nodes = nodes
        self.driver = driver
        self.clock = clock
        self.logger = logger
    }

    /// Asks until it is cancelled.
    public func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var due: [String: BMCPoll] = [:]
            while !Task.isCancelled {
                let now = clock.now
                let asked = bmcs().filter { due[$0.metadata.name, default: BMCPoll()].isDue($0, at: now) }
                for start in stride(from: 0, to: asked.count, by: Self.concurrencyMax) {
                    let batch = asked[start..<min(start + Self.concurrencyMax, asked.count)]
                    await withTaskGroup(of: (String, Bool).self) { group in
                        for bmc in batch { group.addTask { (bmc.metadata.name, await ask(bmc)) } }
                        for await (name, hasChanged) in group {
                            due[name, default: BMCPoll()].answered(hasChanged: hasChanged, at: clock.now)
                        }
                    }
                }
                try await Task.sleep(for: .seconds(1))
            }
        }
    }

    /// Asks one BMC and writes what is new; true when something was.
    private func ask(_ bmc: BMC) async -> Bool {
        var status = bmc.status
        do {
            let driver = try await driver(bmc)
            if status.systemUUID == nil || !status.isReachable {
                let identity = try await driver.identify()
                status.systemUUID = identity.uuid
                status.serial = identity.serial
                status.model = [identity.manufacturer, identity.model].compactMap { $0 }.joined(separator: " ")
            }
            status.power = try await driver.powerState().rawValue
            status.isReachable = true
            status.lastError = nil
            if mayDiscover(bmc, status) {
                try await driver.setBoot(.network, once: true)
                try await driver.setPower(.on)
                status.discoveryPowerOn = clock.now
                logger.info("\(bmc.metadata.name): switched on to be discovered")
            }
        } catch {
            // A BMC that does not answer says nothing of the power: unreachable is not off.
            status.isReachable = false
            status.power = PowerState.unknown.rawValue
            status.lastError = (error as? any UserFacingError)?.publicMessage ?? "\(error)".printable(limit: 300)
        }
        for node in nodes() where node.bmcName == bmc.metadata.name && node.status.power?.state != status.power {
            await powerRead(node, Node.PowerReading(state: status.power, at: clock.now))
        }
        guard status != bmc.status else { return false }
        if status.lastError != bmc.status.lastError, let message = status.lastError {
            logger.warning("\(bmc.metadata.name): \(message)")
        }
        status.checked = clock.now
        do {
            let final = status
            try await store.update(BMC.self, bmc.metadata.name) { current in
                guard var current else { return nil }
                current.value.status = final
                return current
            }
        } catch {
            logger.error("\(bmc.metadata.name): its status was not written: \(error)")
        }
        return true
    }

    /// Whether a machine that nobody knows is off and shall be looked at; it is switched on once.
    private func mayDiscover(_ bmc: BMC, _ status: BMC.Status) -> Bool {
        bmc.spec.powersOnForDiscovery && status.power == PowerState.off.rawValue && status.discoveryPowerOn == nil
            && !nodes().contains { $0.bmcName == bmc.metadata.name }
    }
}

/// When one BMC is asked next: soon after a change, ever more seldom while nothing happens.
struct BMCPoll {
    private var next = Timestamp(millisecondsSinceEpoch: 0)
    private var interval: Duration = Self.shortest
    private var specification: BMC.Spec?

    static let shortest: Duration = .seconds(5)
    static let longest: Duration = .seconds(60)

    /// Whether it is time, or the specification has changed.
    mutating func isDue(_ bmc: BMC, at now: Timestamp) -> Bool {
        if specification != bmc.spec {
            specification = bmc.spec
            interval = Self.shortest
            return true
        }
        return next <= now
    }

    mutating func answered(hasChanged: Bool, at now: Timestamp) {
        interval = hasChanged ? Self.shortest : min(interval * 2, Self.longest)
        next = now.advanced(by: interval)
    }
}
