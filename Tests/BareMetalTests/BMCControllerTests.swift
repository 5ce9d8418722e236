import CatalogBareMetal
import Logging
import Primitives
import ResourceModel
import StoreMemory
import Synchronization
import TestSupport
import Testing

@testable import BareMetal

/// A machine and its BMC, which does at once what it is told unless the test says otherwise.
private final class FakeBMC: BMCDriver {
    struct State {
        var power = PowerState.off
        var actions: [PowerAction] = []
        var readingCount = 0
        var sensorReadCount = 0
        /// Answers every order.
        var refusal: BMCError?
        /// Answers everything.
        var failure: BMCError?
        var isHanging = false
    }

    let uuid: String
    let state = Mutex(State())

    init(_ uuid: String) { self.uuid = uuid }

    var actions: [PowerAction] { state.withLock { $0.actions } }
    var readingCount: Int { state.withLock { $0.readingCount } }

    func identify() async throws(BMCError) -> BMCIdentification {
        if let failure = state.withLock({ $0.failure }) { throw failure }
        return BMCIdentification(system: "1", uuid: uuid)
    }

    func powerState() async throws(BMCError) -> PowerState {
        let now = state.withLock { state in
            state.readingCount += 1
            return state
        }
        if let failure = now.failure { throw failure }
        if now.isHanging {
            do { try await Task.sleep(for: .seconds(600)) } catch { throw .cancelled }
        }
        return now.power
    }

    func sensors() async throws(BMCError) -> [SensorReading] {
        state.withLock { $0.sensorReadCount += 1 }
        return [SensorReading(name: "Inlet", value: 21.5, unit: .celsius, isGood: true)]
    }

    func setPower(_ action: PowerAction) async throws(BMCError) {
        if let refusal = state.withLock({ $0.refusal }) { throw refusal }
        state.withLock { state in
            state.actions.append(action)
            state.power = action == .forceOff ? .off : .on
        }
    }

    func setBoot(_ target: BootTarget, once: Bool, firmware: MachineFirmware?) async throws(BMCError) {
        if let refusal = state.withLock({ $0.refusal }) { throw refusal }
    }
}

/// A controller over a store, with a machine at each address.
private struct Bench: Sendable {
    let store = MemoryStore()
    let clock = ManualWallClock()
    let machines: [String: FakeBMC]

    func controller(
        bmcs: [BMC] = [], nodes: [Node] = [], sensors: BMCSensors = BMCSensors(),
        certificateChanged: @escaping @Sendable (BMC, Node?, String) async -> Void = { _, _, _ in }
    ) -> BMCController {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return BMCController(
            store: store, bmcs: { bmcs }, nodes: { name in nodes.filter { $0.bmcName == name } },
            passwordVersion: { _ in nil },
            driver: { bmc in try driver(bmc) }, powerRead: { _, _ in },
            certificateChanged: certificateChanged, sensors: sensors, clock: clock, logger: logger)
    }

    func driver(_ bmc: BMC) throws -> FakeBMC { try #require(machines[bmc.spec.address]) }

    func add(_ name: String = "r1", at address: String = "http://a", discovers: Bool = false) async throws {
        let spec = BMC.Spec(
            address: address, system: nil, username: "admin", passwordSecret: "bmc.\(name)",
            powersOnForDiscovery: discovers)
        let bmc = BMC(
            metadata: Metadata(name: name, schemaVersion: BMC.schemaVersion, created: clock.now), spec: spec,
            status: BMC.Status())
        _ = try await store.commit(Transaction(operations: [try Stored(new: bmc).put()]))
    }

    func change(_ body: (inout BMC.Spec) -> Void) async throws {
        var stored = try #require(try await store.fetch(BMC.self, "r1"))
        body(&stored.value.spec)
        _ = try await store.commit(Transaction(operations: [try stored.put()]))
    }

    func bmc(_ name: String = "r1") async throws -> BMC {
        try #require(try await store.fetch(BMC.self, name)).value
    }

    /// Asks the BMC as the store has it, and gives what the store has then.
    func ask(nodes: [Node] = [], identifies: Bool = false) async throws -> BMC.Status {
        _ = await controller(nodes: nodes).ask(try await bmc(), identifies: identifies)
        return try await bmc().status
    }

    /// A node whose BMC was found by its UUID.
    func node(_ uuid: String) -> Node {
        let identity = MachineIdentity(smbiosUUID: uuid, bmc: "r1")
        return Node(
            metadata: Metadata(name: "n1", schemaVersion: Node.schemaVersion, created: clock.now),
            spec: Node.Spec(name: "rack1-n1"),
            status: Node.Status(state: .enroll, since: clock.now, identity: identity))
    }
}

@Suite(.timeLimit(.minutes(1))) struct BMCControllerTests {
    @Test func `a certificate that changes is an alarm once, and one that nobody approved is none`() async throws {
        let machine = FakeBMC("uuid-a")
        let bench = Bench(machines: ["http://a": machine])
        let (old, new) = (
            Digest(bytes: [UInt8](repeating: 1, count: 32)), Digest(bytes: [UInt8](repeating: 2, count: 32))
        )
        let alarms = Mutex<[String]>([])
        func ask() async throws -> BMC.Status {
            let controller = bench.controller(nodes: [bench.node("uuid-a")]) { _, node, message in
                alarms.withLock { $0.append("\(node?.spec.name ?? "") \(message)") }
            }
            _ = await controller.ask(try await bench.bmc(), identifies: true)
            return try await bench.bmc().status
        }
        try await bench.add()
        machine.state.withLock { $0.failure = .tlsUntrusted(found: old) }
        let first = try await ask()
        #expect(first.refusedCertificate?.digest == old)
        #expect(first.lastError?.contains("muster bmc approve r1 --fingerprint \(old.hex)") == true)
        #expect(alarms.withLock { $0.isEmpty })
        try await bench.change {
            $0.approvedCertificate = BMC.ApprovedCertificate(digest: old, by: "operator:admin", at: bench.clock.now)
        }
        machine.state.withLock { $0.failure = nil }
        #expect(try await ask().refusedCertificate == nil)
        machine.state.withLock { $0.failure = .tlsUntrusted(found: new) }
        for _ in 0..<3 {
            let changed = try await ask()
            #expect(!changed.isReachable && changed.power == .unknown)
            #expect(changed.refusedCertificate?.digest == new)
            #expect(changed.lastError?.contains("from \(old.hex) to \(new.hex)") == true)
        }
        #expect(alarms.withLock { $0.count } == 1)
        #expect(alarms.withLock { $0.first?.hasPrefix("rack1-n1 ") } == true)
        try await bench.change { $0.certificateDigest = old }
        let named = try await ask()
        #expect(named.lastError?.contains("'certificateDigest' of 'r1' in the site file") == true)
    }

    @Test func `a power order is carried out once`() async throws {
        let machine = FakeBMC("uuid-a")
        let bench = Bench(machines: ["http://a": machine])
        try await bench.add()
        try await bench.change { $0.power = Node.PowerRequest(number: 1, action: .on) }
        let status = try await bench.ask(identifies: true)
        #expect(status.powerSeen == 1)
        #expect(status.power == .on, "the power is read again after the order")
        _ = try await bench.ask()
        #expect(machine.actions == [.on])
        try await bench.change { $0.power = Node.PowerRequest(number: 2, action: .off) }
        #expect(try await bench.ask().power == .off)
        #expect(machine.actions == [.on, .forceOff])
    }

    @Test func `a power order that fails is told and not tried again`() async throws {
        let machine = FakeBMC("uuid-a")
        machine.state.withLock { $0.refusal = .refused("a lock is set") }
        let bench = Bench(machines: ["http://a": machine])
        try await bench.add()
        try await bench.change { $0.power = Node.PowerRequest(number: 1, action: .on) }
        for identifies in [true, false] {
            let status = try await bench.ask(identifies: identifies)
            #expect(status.isReachable && status.power == .off)
            #expect(status.powerSeen == 1)
            #expect(status.lastError?.contains("a lock is set") == true)
            machine.state.withLock { $0.refusal = nil }
        }
        #expect(machine.actions.isEmpty)
    }

    @Test func `a BMC that has a node gets no order of its own`() async throws {
        let machine = FakeBMC("uuid-a")
        let bench = Bench(machines: ["http://a": machine])
        try await bench.add(discovers: true)
        try await bench.change { $0.power = Node.PowerRequest(number: 1, action: .reset) }
        #expect(try await bench.ask(nodes: [bench.node("uuid-a")], identifies: true).power == .off)
        _ = try await bench.ask()
        #expect(machine.actions == [.on], "once the node is gone it is discovered, and the old order stays dropped")
        #expect(try await bench.bmc().status.discoveryPowerOn != nil)
    }

    @Test func `an order that was carried out is noted when the specification has changed meanwhile`() async throws {
        let machine = FakeBMC("uuid-a")
        let bench = Bench(machines: ["http://a": machine, "http://b": FakeBMC("uuid-b")])
        try await bench.add()
        try await bench.change { $0.power = Node.PowerRequest(number: 1, action: .reset) }
        let before = try await bench.bmc()
        try await bench.change { $0.address = "http://b" }
        _ = await bench.controller().ask(before, identifies: true)
        #expect(machine.actions == [.reset])
        let status = try await bench.bmc().status
        #expect(status.powerSeen == 1)
        #expect(status.systemUUID == nil && !status.isReachable, "what was seen is another machine's")
    }

    @Test func `a corrected address is identified again and its machine discovered`() async throws {
        let (wrong, right) = (FakeBMC("uuid-a"), FakeBMC("uuid-b"))
        let bench = Bench(machines: ["http://a": wrong, "http://b": right])
        try await bench.add(discovers: true)
        var poll = BMCPoll()
        let first = poll.begin(try await bench.bmc(), password: nil, at: bench.clock.now)
        #expect(first == true)
        #expect(try await bench.ask(identifies: true).systemUUID == "uuid-a")
        #expect(wrong.actions == [.on])
        var random = RandomSource.seeded(1)
        poll.end(.changed, at: bench.clock.now, random: &random)
        try await bench.change { $0.address = "http://b" }
        let second = poll.begin(try await bench.bmc(), password: nil, at: bench.clock.now)
        #expect(second == true, "at once, and also who it is")
        let status = try await bench.ask(nodes: [bench.node("uuid-a")], identifies: true)
        #expect(status.systemUUID == "uuid-b")
        #expect(right.actions == [.on])
        #expect(wrong.actions == [.on])
    }

    @Test func `a BMC that has become the one of another machine switches nothing for the node`() async throws {
        let machine = FakeBMC("uuid-b")
        let bench = Bench(machines: ["http://a": machine])
        try await bench.add()
        _ = try await bench.ask(identifies: true)
        let bmc = try await bench.bmc()
        let access = BMCAccess(bmcs: { [bmc] }, driver: { bmc in try bench.driver(bmc) })
        await #expect(throws: BMCOfAnotherMachine(name: "r1", node: "rack1-n1")) {
            try await access.power(bench.node("uuid-a"), .off)
        }
        #expect(machine.actions.isEmpty)
        try await access.power(bench.node("UUID-B"), .on)
        var named = bench.node("uuid-a")
        named.spec.bmc = "r1"
        try await access.power(named, .off)
        #expect(machine.actions == [.on, .forceOff])
        // A node that was seen before its BMC had answered is switched by it all the same.
        var early = bench.node("UUID-B")
        early.status.identity.bmc = nil
        try await access.power(early, .on)
        #expect(machine.actions == [.on, .forceOff, .on])
    }

    @Test func `a refused discovery keeps the power reading and is tried again`() async throws {
        let machine = FakeBMC("uuid-a")
        machine.state.withLock { $0.refusal = .refused("it cannot boot 'Pxe'") }
        let bench = Bench(machines: ["http://a": machine])
        try await bench.add(discovers: true)
        let status = try await bench.ask(identifies: true)
        #expect(status.isReachable && status.power == .off && status.systemUUID == "uuid-a")
        #expect(status.lastError?.contains("it cannot boot 'Pxe'") == true)
        #expect(status.discoveryPowerOn == nil)
        machine.state.withLock { $0.refusal = nil }
        let later = try await bench.ask()
        #expect(later.power == .on && later.lastError == nil)
        #expect(machine.actions == [.on])
    }

    @Test func `a BMC that does not answer is neither on nor off`() async throws {
        let machine = FakeBMC("uuid-a")
        let bench = Bench(machines: ["http://a": machine])
        try await bench.add()
        _ = try await bench.ask(identifies: true)
        machine.state.withLock { $0.failure = .timeout("no answer") }
        let status = try await bench.ask()
        #expect(!status.isReachable && status.power == .unknown && status.lastError != nil)
        #expect(status.systemUUID == "uuid-a")
    }

    @Test func `after a wrong password nobody asks until it is changed`() async throws {
        let machine = FakeBMC("uuid-a")
        machine.state.withLock { $0.failure = .badCredentials }
        let bench = Bench(machines: ["http://a": machine])
        try await bench.add()
        let bmc = try await bench.bmc()
        #expect(await bench.controller().ask(bmc, identifies: true) == .refused)
    }

    @Test func `sensors are read once a minute and forgotten when they are old`() async throws {
        let machine = FakeBMC("uuid-a")
        let bench = Bench(machines: ["http://a": machine])
        try await bench.add()
        let sensors = BMCSensors()
        let controller = bench.controller(sensors: sensors)
        for _ in 0..<3 { _ = await controller.ask(try await bench.bmc(), identifies: false) }
        #expect(machine.state.withLock { $0.sensorReadCount } == 1)
        #expect(sensors.report(of: "r1", at: bench.clock.now)?.readings.map(\.value) == [21.5])
        bench.clock.advance(by: .seconds(61))
        _ = await controller.ask(try await bench.bmc(), identifies: false)
        #expect(machine.state.withLock { $0.sensorReadCount } == 2)
        bench.clock.advance(by: .seconds(601))
        #expect(sensors.report(of: "r1", at: bench.clock.now) == nil)
    }

    @Test func `one BMC that hangs does not hold up another`() async throws {
        let (dead, alive) = (FakeBMC("uuid-a"), FakeBMC("uuid-b"))
        dead.state.withLock { $0.isHanging = true }
        let bench = Bench(machines: ["http://a": dead, "http://b": alive])
        try await bench.add("r1", at: "http://a")
        try await bench.add("r2", at: "http://b")
        let controller = bench.controller(bmcs: [try await bench.bmc("r1"), try await bench.bmc("r2")])
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await controller.run() }
            try await waitUntil {
                bench.clock.advance(by: .seconds(1))
                return alive.readingCount >= 3
            }
        }
        #expect(dead.readingCount == 1, "it is asked again only when it has answered")
        let status = try await bench.bmc("r1").status
        #expect(status == BMC.Status(), "nothing is written of a BMC that the end of the conductor has cut off")
    }
}
