import CatalogBareMetal
import Logging
import Primitives
import ResourceModel
import StoreMemory
import Synchronization
import TestSupport
import Testing

@testable import BareMetal

/// The conductor ends here.
private struct Crash: Error {}

/// Counts what is done outside of the conductor's memory, and ends it before the effect with a given number.
private final class Effects: Sendable {
    private let state: Mutex<(count: Int, end: Int?)>

    init(endingBefore end: Int? = nil) { state = Mutex((0, end)) }

    var count: Int { state.withLock { $0.count } }

    func next() throws {
        try state.withLock { state in
            state.count += 1
            if let end = state.end, state.count >= end { throw Crash() }
        }
    }
}

/// Passwords beside the BMCs in one store, so that a transaction writes both.
private struct OpenBook: PasswordBook {
    let store: MemoryStore
    let effects: Effects

    static func key(_ slot: PasswordSlot, _ bmc: String) -> ResourceKey {
        ResourceKey(kind: "test.password", name: slot.secretName(of: bmc))
    }

    func password(_ slot: PasswordSlot, of bmc: String) async throws -> SecretText? {
        try await store.get(Self.key(slot, bmc)).map { SecretText(String(decoding: $0.value, as: UTF8.self)) }
    }

    func writing(_ password: SecretText?, into slot: PasswordSlot, of bmc: String) async throws -> Transaction {
        try effects.next()
        let key = Self.key(slot, bmc)
        let now = try await store.get(key)
        let condition: Transaction.Condition = now.map { .unchanged(key, since: $0.revision) } ?? .absent(key)
        return Transaction(
            conditions: [condition],
            operations: [password.map { .put(key, Array($0.revealed.utf8)) } ?? .delete(key)])
    }
}

/// A BMC with one user, who is locked after three wrong passwords in a row.
private final class LockingBMC: Sendable {
    struct State {
        var password = "site-pass"
        var wrongCount = 0
        var wrongInARow = 0
        var told: [String] = []
        /// How it answers the next orders to change the password; then it does what it is told.
        var answers: [BMCError] = []
        /// Whether it does it before it answers so.
        var doesAllTheSame = false
        var rule = PasswordRule()
        var isUnreachable = false
        var pause: Duration = .zero
        var readCount = 0
        var readFailures: [BMCError] = []
        /// The test is done with it.
        var isOver = false
    }

    static let lockCount = 3
    let state = Mutex(State())

    func login(_ password: String) throws(BMCError) {
        let failure = state.withLock { state -> BMCError? in
            if state.isUnreachable { return .unreachable(cause: "no route to host") }
            guard state.wrongInARow < Self.lockCount, state.password == password else {
                state.wrongCount += 1
                state.wrongInARow += 1
                return .badCredentials
            }
            state.wrongInARow = 0
            return nil
        }
        if let failure { throw failure }
    }
}

/// One that opens it with a password.
private struct LockingDriver: BMCDriver {
    let bmc: LockingBMC
    let password: SecretText
    let effects: Effects

    private func call(isEffect: Bool) async throws(BMCError) {
        if isEffect {
            do { try effects.next() } catch { throw .cancelled }
        }
        let pause = bmc.state.withLock { $0.pause }
        if pause > .zero { try? await Task.sleep(for: pause) }
        try bmc.login(password.revealed)
    }

    func identify() async throws(BMCError) -> BMCIdentification {
        try await call(isEffect: false)
        return BMCIdentification(system: "1", uuid: "uuid-a")
    }

    func powerState() async throws(BMCError) -> PowerState {
        do { try await call(isEffect: false) } catch {
            bmc.state.withLock { $0.readFailures.append(error) }
            throw error
        }
        bmc.state.withLock { $0.readCount += 1 }
        return .on
    }

    func sensors() async throws(BMCError) -> [SensorReading] { [] }
    func setPower(_ action: PowerAction) async throws(BMCError) { try await call(isEffect: false) }
    func setBoot(_ target: BootTarget, once: Bool, firmware: MachineFirmware?) async throws(BMCError) {}

    func passwordRule() async throws(BMCError) -> PasswordRule {
        try await call(isEffect: true)
        return bmc.state.withLock { $0.rule }
    }

    func setPassword(_ new: SecretText) async throws(BMCError) {
        try await call(isEffect: true)
        let answer = bmc.state.withLock { state -> BMCError? in
            state.told.append(new.revealed)
            let answer = state.answers.isEmpty ? nil : state.answers.removeFirst()
            if answer == nil || state.doesAllTheSame { state.password = new.revealed }
            return answer
        }
        if let answer { throw answer }
        // The conductor may end before it hears of it.
        do { try effects.next() } catch { throw .cancelled }
    }

    func proveLogin() async throws(BMCError) { try await call(isEffect: true) }
}

/// One BMC, its store, and a conductor that can be started again and again.
private struct RotationBench: Sendable {
    let store = MemoryStore()
    let clock = ManualWallClock()
    let bmc = LockingBMC()
    let turns = BMCTurns()

    final class Outcomes: Sendable { let all = Mutex<[PasswordRotator.Outcome]>([]) }
    let told = Outcomes()

    func begin(address: String = "https://10.0.0.1", source: BMC.PasswordSource = .conductor) async throws {
        var spec = BMC.Spec(address: address, system: nil, username: "admin", passwordSecret: "bmc.r1")
        spec.passwordOrder = BMC.PasswordOrder(number: 1, source: source, by: "operator:ann", at: clock.now)
        let bmc = BMC(
            metadata: Metadata(name: "r1", schemaVersion: 1, created: clock.now), spec: spec, status: BMC.Status())
        _ = try await store.commit(
            Transaction(operations: [
                try Stored(new: bmc).put(), .put(OpenBook.key(.current, "r1"), Array("site-pass".utf8)),
            ]))
    }

    func order(_ number: UInt64, _ source: BMC.PasswordSource = .conductor, given: String? = nil) async throws {
        var stored = try #require(try await store.fetch(BMC.self, "r1"))
        stored.value.spec.passwordOrder = BMC.PasswordOrder(
            number: number, source: source, by: "operator:ann", at: clock.now)
        var operations = [try stored.put()]
        if let given { operations.append(.put(OpenBook.key(.given, "r1"), Array(given.utf8))) }
        _ = try await store.commit(Transaction(operations: operations))
    }

    func rotator(_ effects: Effects = Effects(), others: [BMC] = [], seed: UInt64 = 3) -> PasswordRotator {
        let (bmc, told) = (bmc, told)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return PasswordRotator(
            store: store, book: OpenBook(store: store, effects: effects), bmcs: { others },
            driver: { LockingDriver(bmc: bmc, password: $1, effects: effects) },
            record: { _, outcome in
                told.all.withLock { $0.append(outcome) }
                return []
            }, turns: turns, clock: clock, random: .seeded(seed), logger: logger)
    }

    func stored() async throws -> BMC { try #require(try await store.fetch(BMC.self, "r1")?.value) }

    func password(_ slot: PasswordSlot) async throws -> String? {
        try await OpenBook(store: store, effects: Effects()).password(slot, of: "r1")?.revealed
    }

    /// What everybody else uses.
    func driver() -> any BMCDriver {
        let (bmc, store) = (bmc, store)
        return TurnTakingDriver("r1", turns: turns) {
            if try await store.fetch(BMC.self, "r1")?.value.isPasswordPending == true { throw BMCError.passwordPending }
            let book = OpenBook(store: store, effects: Effects())
            let password = try #require(try await book.password(.current, of: "r1"))
            return LockingDriver(bmc: bmc, password: password, effects: Effects())
        }
    }

    func controller() -> BMCController {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return BMCController(
            store: store, bmcs: { [] }, nodes: { _ in [] }, passwordVersion: { _ in nil },
            driver: { _ in driver() }, powerRead: { _, _ in }, passwords: rotator(), clock: clock, logger: logger)
    }
}

@Suite(.timeLimit(.minutes(1))) struct PasswordRotatorTests {
    @Test func `a BMC gets another password, which is proved before the one before is forgotten`() async throws {
        let bench = RotationBench()
        try await bench.begin()
        let settled = try #require(try await bench.rotator().settle(try await bench.stored()))
        let status = try #require(settled.status.password)
        #expect(status.state == .settled && status.source == .conductor && status.orderSeen == 1)
        #expect(status.rotated == bench.clock.now && status.failure == nil)
        let new = try #require(try await bench.password(.current))
        #expect(new.utf8.count == 20 && new != "site-pass")
        #expect(bench.bmc.state.withLock { $0.password } == new && bench.bmc.state.withLock { $0.told } == [new])
        #expect(try await bench.password(.next) == nil)
        #expect(try await bench.password(.given) == "site-pass", "so that the same site file is no news")
        #expect(bench.bmc.state.withLock { $0.wrongCount } == 0)
        #expect(bench.told.all.withLock { $0.map(\.order.by) } == ["operator:ann"])
        // A second one: what the file gave stays what it gave.
        try await bench.order(2)
        _ = try await bench.rotator(seed: 4).settle(try await bench.stored())
        #expect(try await bench.password(.current) != new)
        #expect(try await bench.password(.given) == "site-pass")
        #expect(try await bench.rotator().settle(try await bench.stored()) == nil, "nothing is ordered")
    }

    @Test func `wherever a conductor ends, the next one finds out and finishes`() async throws {
        let whole = Effects()
        let first = RotationBench()
        try await first.begin()
        _ = try await first.rotator(whole).settle(try await first.stored())
        #expect(whole.count > 8)
        for end in 1...whole.count {
            for second in [Int?.none, 1, 2, 3, 4] {
                let bench = RotationBench()
                try await bench.begin()
                await #expect(throws: (any Error).self, "\(end)") {
                    try await bench.rotator(Effects(endingBefore: end)).settle(try await bench.stored())
                }
                let taken = bench.bmc.state.withLock { $0.password }
                let held = [try await bench.password(.current), try await bench.password(.next)]
                #expect(held.contains(taken), "\(end): the vault has what the BMC takes")
                if let second {
                    _ = try? await bench.rotator(Effects(endingBefore: second)).settle(try await bench.stored())
                }
                _ = try await bench.rotator().settle(try await bench.stored())
                let status = try #require(try await bench.stored().status.password)
                #expect(status.state == .settled && status.orderSeen == 1 && status.failure == nil, "\(end)")
                #expect(try await bench.password(.current) == bench.bmc.state.withLock { $0.password }, "\(end)")
                #expect(try await bench.password(.next) == nil)
                #expect(bench.bmc.state.withLock { $0.wrongInARow } == 0)
                #expect(bench.bmc.state.withLock { $0.wrongCount } < LockingBMC.lockCount, "\(end)")
            }
        }
    }

    @Test func `a BMC that refuses keeps its password, and what it repeats is not told`() async throws {
        let bench = RotationBench()
        try await bench.begin()
        var random = RandomSource.seeded(3)
        let made = StrongPassword.make(length: 20, using: &random).revealed
        let (start, end) = (made.prefix(9), made.suffix(7))
        bench.bmc.state.withLock { $0.answers = [.refused("the value '\(made)' is too weak, \(end) and \(start)")] }
        let settled = try #require(try await bench.rotator().settle(try await bench.stored()))
        #expect(bench.bmc.state.withLock { $0.told } == [made])
        let status = try #require(settled.status.password)
        #expect(status.state == .settled && status.orderSeen == 1 && status.source == .site)
        #expect(status.failure?.contains("the value '•••' is too weak, ••• and •••. Look at") == true)
        for index in made.indices.dropLast(5) {
            #expect(status.failure?.contains(made[index...].prefix(5)) == false, "nothing of it, cut or whole")
        }
        #expect(try await bench.password(.next) == nil)
        #expect(try await bench.password(.given) == nil)
        #expect(bench.told.all.withLock { $0.first?.failure } == status.failure)
    }

    @Test func `a BMC that says no and does it all the same is not lost`() async throws {
        let bench = RotationBench()
        try await bench.begin()
        bench.bmc.state.withLock { state in
            state.answers = [.refused("internal error")]
            state.doesAllTheSame = true
        }
        let settled = try #require(try await bench.rotator().settle(try await bench.stored()))
        #expect(settled.status.password?.failure == nil && settled.status.password?.source == .conductor)
        #expect(try await bench.password(.current) == bench.bmc.state.withLock { $0.password })
    }

    @Test func `a BMC that never answers is told three times and then left as it is`() async throws {
        let bench = RotationBench()
        try await bench.begin()
        bench.bmc.state.withLock { $0.answers = Array(repeating: .timeout("no answer"), count: 9) }
        for _ in 0..<3 {
            await #expect(throws: BMCError.timeout("no answer")) {
                try await bench.rotator().settle(try await bench.stored())
            }
            #expect(try await bench.stored().isPasswordPending)
            await #expect(throws: BMCError.passwordPending) { try await bench.driver().powerState() }
        }
        _ = try await bench.rotator().settle(try await bench.stored())
        let status = try #require(try await bench.stored().status.password)
        #expect(status.state == .settled && status.failure?.contains("told 3 times") == true)
        #expect(bench.bmc.state.withLock { Set($0.told).count } == 1, "one password, told again")
        #expect(try await bench.driver().powerState() == .on)
    }

    @Test func `a BMC whose user is locked is left alone, and found out later`() async throws {
        let bench = RotationBench()
        try await bench.begin()
        bench.bmc.state.withLock { state in
            state.answers = [.timeout("no answer")]
            state.doesAllTheSame = true
        }
        _ = try? await bench.rotator().settle(try await bench.stored())
        bench.bmc.state.withLock { $0.wrongInARow = LockingBMC.lockCount }
        let bmc = try await bench.stored()
        #expect(await bench.controller().ask(bmc, identifies: false) == .refused, "not asked for 15 minutes")
        let waiting = try await bench.stored().status
        #expect(waiting.password?.failure?.contains("may be locked") == true)
        #expect(waiting.lastError == waiting.password?.failure && !waiting.isReachable)
        #expect(try await bench.password(.next) != nil)
        #expect(try await bench.password(.current) == "site-pass")
        bench.bmc.state.withLock { $0.wrongInARow = 0 }
        let later = try await bench.stored()
        #expect(await bench.controller().ask(later, identifies: false) == .changed)
        let status = try await bench.stored().status
        #expect(status.isReachable && status.lastError == nil && status.password?.failure == nil)
        #expect(status.password?.state == .settled && status.password?.source == .conductor)
    }

    @Test func `a BMC that takes none of its passwords is asked once with each`() async throws {
        for given in [nil, "of-the-file"] {
            let bench = RotationBench()
            try await bench.begin()
            bench.bmc.state.withLock { $0.password = "somebody else's" }
            if let given { try await bench.order(1, given: given) }
            #expect(await bench.controller().ask(try await bench.stored(), identifies: true) == .refused)
            #expect(bench.bmc.state.withLock { $0.wrongCount } == (given == nil ? 1 : 2))
            let status = try await bench.stored().status
            #expect(status.password?.orderSeen == 1 && status.password?.state == .settled)
            #expect(status.lastError?.contains("the BMC takes the one in use no more") == true)
            #expect(bench.told.all.withLock { $0.count } == 1)
        }
    }

    @Test func `what a BMC wants of passwords is kept, and what nobody can keep is refused before it is told`()
        async throws
    {
        for (rule, length) in [(PasswordRule(lengthMin: 8, lengthMax: 16), 16), (PasswordRule(lengthMin: 30), 30)] {
            let bench = RotationBench()
            try await bench.begin()
            bench.bmc.state.withLock { $0.rule = rule }
            _ = try await bench.rotator().settle(try await bench.stored())
            #expect(try await bench.password(.current)?.utf8.count == length)
        }
        for rule in [PasswordRule(lengthMax: 6), PasswordRule(lengthMin: 1_000_000)] {
            let bench = RotationBench()
            try await bench.begin()
            bench.bmc.state.withLock { $0.rule = rule }
            _ = try await bench.rotator().settle(try await bench.stored())
            #expect(try await bench.stored().status.password?.failure?.contains("wants passwords of") == true)
            #expect(bench.bmc.state.withLock { $0.told }.isEmpty)
        }
        let bench = RotationBench()
        try await bench.begin(address: "ipmi://10.0.0.1")
        _ = try await bench.rotator().settle(try await bench.stored())
        #expect(try await bench.password(.current)?.utf8.count == 16)
    }

    @Test func `two that share a user are not told apart, so nothing is changed`() async throws {
        let bench = RotationBench()
        try await bench.begin()
        var other = try await bench.stored()
        other.metadata = Metadata(name: "r2", schemaVersion: 1, created: bench.clock.now)
        _ = try await bench.rotator(others: [try await bench.stored(), other]).settle(try await bench.stored())
        let failure = try #require(try await bench.stored().status.password?.failure)
        #expect(failure.contains("'r2' is reached as the same user"))
        #expect(bench.bmc.state.withLock { $0.told }.isEmpty)
    }

    @Test func `the site file's own password is taken back, and one that cannot be sent is not`() async throws {
        let bench = RotationBench()
        try await bench.begin()
        _ = try await bench.rotator().settle(try await bench.stored())
        try await bench.order(2, .site, given: "our-own-Pass1")
        _ = try await bench.rotator().settle(try await bench.stored())
        #expect(bench.bmc.state.withLock { $0.password } == "our-own-Pass1", "the conductor has given it to the BMC")
        #expect(try await bench.password(.current) == "our-own-Pass1")
        #expect(try await bench.password(.given) == nil)
        #expect(try await bench.stored().status.password?.source == .site)
        try await bench.order(3)
        _ = try await bench.rotator().settle(try await bench.stored())
        let made = try #require(try await bench.password(.current))
        for (number, bad) in ["geheim ü", "a b", "x\u{1}y", String(repeating: "y", count: 80)].enumerated() {
            try await bench.order(4 + UInt64(number), .site, given: bad)
            _ = try await bench.rotator().settle(try await bench.stored())
            #expect(try await bench.stored().status.password?.failure?.contains("cannot be one of this BMC") == true)
        }
        #expect(try await bench.password(.current) == made && bench.bmc.state.withLock { $0.password } == made)
    }

    @Test func `who reads the power meanwhile waits, and is refused by nobody`() async throws {
        let bench = RotationBench()
        try await bench.begin()
        bench.bmc.state.withLock { $0.pause = .milliseconds(3) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    while !bench.bmc.state.withLock({ $0.isOver }) {
                        _ = try await bench.driver().powerState()
                        await Task.yield()
                    }
                }
            }
            for number in UInt64(2)...6 {
                _ = try await bench.rotator().settle(try await bench.stored())
                try await bench.order(number)
            }
            bench.bmc.state.withLock { $0.isOver = true }
            try await group.waitForAll()
        }
        let state = bench.bmc.state.withLock { $0 }
        #expect(state.told.count == 5 && state.readCount > 8)
        #expect(state.wrongCount == 0 && state.readFailures.isEmpty)
    }

    @Test func `what is written of the power leaves the password's part alone`() async throws {
        let bench = RotationBench()
        try await bench.begin()
        let stale = try await bench.stored()
        _ = try await bench.rotator().settle(stale)
        // The catalog has not heard of it yet.
        #expect(await bench.controller().ask(stale, identifies: true) == .changed)
        let status = try await bench.stored().status
        #expect(status.isReachable && status.password?.orderSeen == 1 && status.systemUUID == "uuid-a")
        #expect(bench.bmc.state.withLock { $0.told.count } == 1)
    }

    @Test func `a BMC that is reached elsewhere by now gets nothing of the one before`() async throws {
        let bench = RotationBench()
        try await bench.begin()
        bench.bmc.state.withLock { $0.answers = [.timeout("no answer")] }
        _ = try? await bench.rotator().settle(try await bench.stored())
        let rotator = bench.rotator()
        let before = try await bench.stored()
        var moved = try #require(try await bench.store.fetch(BMC.self, "r1"))
        moved.value.spec.address = "https://10.0.0.2"
        _ = try await bench.store.commit(Transaction(operations: [try moved.put()]))
        // It is looked at anew there, and told there.
        _ = try await rotator.settle(before)
        #expect(try await bench.password(.current) == bench.bmc.state.withLock { $0.password })
    }
}
