import BMCDrivers
import CatalogBareMetal
import Logging
import Primitives
import ResourceModel
import StoreMemory
import Synchronization
import TestSupport
import Testing

@testable import BareMetal

/// Orders to change the password of the real `ipmi_sim`, with conductors that end at every call to it, and others that read
/// its power meanwhile.
@Suite(.timeLimit(.minutes(2)), .enabled(if: SimulatedBMC.isInstalled, "openipmi or ipmitool is not installed"))
struct IPMIRotationTests {
    /// Passwords in the same store as the BMC.
    private struct Book: PasswordBook {
        let store: MemoryStore

        private func key(_ slot: PasswordSlot, _ bmc: String) -> ResourceKey {
            ResourceKey(kind: "test.password", name: slot.secretName(of: bmc))
        }

        func password(_ slot: PasswordSlot, of bmc: String) async throws -> SecretText? {
            try await store.get(key(slot, bmc)).map { SecretText(String(decoding: $0.value, as: UTF8.self)) }
        }

        func writing(_ password: SecretText?, into slot: PasswordSlot, of bmc: String) async throws -> Transaction {
            let key = key(slot, bmc)
            return Transaction(operations: [password.map { .put(key, Array($0.revealed.utf8)) } ?? .delete(key)])
        }
    }

    /// The real driver; its conductor ends before or after the call with a number.
    private struct EndingDriver: BMCDriver {
        let driver: any BMCDriver
        let calls: Calls

        final class Calls: Sendable {
            private let count = Mutex(0)
            let end: Int?
            let isBefore: Bool

            init(end: Int? = nil, isBefore: Bool = true) { (self.end, self.isBefore) = (end, isBefore) }

            var number: Int { count.withLock { $0 } }
            func next() -> Int {
                count.withLock {
                    $0 += 1; return $0
                }
            }
        }

        private func call<Result>(_ body: () async throws(BMCError) -> Result) async throws(BMCError) -> Result {
            let number = calls.next()
            if let end = calls.end, calls.isBefore ? number >= end : number > end { throw .cancelled }
            let result = try await body()
            if number == calls.end { throw .cancelled }
            return result
        }

        func identify() async throws(BMCError) -> BMCIdentification { try await driver.identify() }
        func powerState() async throws(BMCError) -> PowerState { try await driver.powerState() }
        func sensors() async throws(BMCError) -> [SensorReading] { [] }
        func setPower(_ action: PowerAction) async throws(BMCError) { try await driver.setPower(action) }
        func setBoot(_ target: BootTarget, once: Bool, firmware: MachineFirmware?) async throws(BMCError) {}
        func passwordRule() async throws(BMCError) -> PasswordRule {
            try await call { () async throws(BMCError) in try await driver.passwordRule() }
        }
        func setPassword(_ new: SecretText) async throws(BMCError) {
            try await call { () async throws(BMCError) in try await driver.setPassword(new) }
        }
        func proveLogin() async throws(BMCError) {
            try await call { () async throws(BMCError) in try await driver.proveLogin() }
        }
    }

    private struct Bench: Sendable {
        let store = MemoryStore()
        let clock = ManualWallClock()
        let turns = BMCTurns()
        let simulator: SimulatedBMC

        var book: Book { Book(store: store) }

        func begin(with password: String) async throws {
            let spec = BMC.Spec(
                address: "ipmi://127.0.0.1:\(simulator.port)", system: nil, username: "admin", passwordSecret: "bmc.r1")
            let bmc = BMC(
                metadata: Metadata(name: "r1", schemaVersion: 1, created: clock.now), spec: spec, status: BMC.Status())
            var transaction = try await book.writing(SecretText(password), into: .current, of: "r1")
            transaction.operations.append(try Stored(new: bmc).put())
            _ = try await store.commit(transaction)
        }

        func order() async throws {
            try await store.update(BMC.self, "r1") { stored in
                guard var stored else { return nil }
                let last = stored.value.spec.passwordOrder?.number ?? 0
                stored.value.spec.passwordOrder = BMC.PasswordOrder(
                    number: last + 1, source: .conductor, by: "operator:ann", at: clock.now)
                return stored
            }
        }

        func settle(_ calls: EndingDriver.Calls = EndingDriver.Calls()) async throws {
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            let rotator = PasswordRotator(
                store: store, book: book, bmcs: { [] },
                driver: { EndingDriver(driver: try simulator.driver(password: $1.revealed), calls: calls) },
                record: { _, _ in [] }, turns: turns, clock: clock, logger: logger)
            _ = try await rotator.settle(try #require(try await store.fetch(BMC.self, "r1")?.value))
        }

        func current() async throws -> String { try #require(try await book.password(.current, of: "r1")).revealed }

        func readPower() async throws {
            let driver = TurnTakingDriver("r1", turns: turns) { try simulator.driver(password: try await current()) }
            _ = try await driver.powerState()
        }
    }

    @Test func `a conductor that ends at any call leaves a password that the next one finds`() async throws {
        try await SimulatedBMC.with { simulator in
            let bench = Bench(simulator: simulator)
            try await bench.begin(with: "hunter2")
            let whole = EndingDriver.Calls()
            try await bench.order()
            try await bench.settle(whole)
            #expect(whole.number == 4, "proved, asked for its rule, told, proved")
            for end in 1...whole.number {
                for isBefore in [true, false] {
                    let before = try await bench.current()
                    try await bench.order()
                    await #expect(throws: BMCError.cancelled) {
                        try await bench.settle(EndingDriver.Calls(end: end, isBefore: isBefore))
                    }
                    try await bench.settle()
                    let after = try await bench.current()
                    #expect(after != before && after.utf8.count == 16)
                    try await simulator.driver(password: after).proveLogin()
                    let status = try #require(try await bench.store.fetch(BMC.self, "r1")?.value.status.password)
                    #expect(status.state == .settled && status.failure == nil && status.rotated != nil)
                    #expect(try await bench.book.password(.next, of: "r1") == nil)
                }
            }
            #expect(try await bench.book.password(.given, of: "r1")?.revealed == "hunter2")
        }
    }

    @Test func `who reads the power meanwhile is never refused`() async throws {
        try await SimulatedBMC.with { simulator in
            let bench = Bench(simulator: simulator)
            try await bench.begin(with: "hunter2")
            let isOver = EndingDriver.Calls()
            try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<3 {
                    group.addTask {
                        var count = 0
                        while isOver.number == 0 {
                            try await bench.readPower()
                            count += 1
                        }
                        return count
                    }
                }
                for _ in 0..<5 {
                    try await bench.order()
                    try await bench.settle()
                }
                _ = isOver.next()
                for try await count in group { #expect(count > 0) }
            }
        }
    }
}
