import CatalogBareMetal
import Primitives
import Synchronization

/// Has everybody wait who wants to log in to a BMC while its password is being changed: a login with the one before
/// would be refused, and some BMCs lock the user after a few of those.
///
/// Many may use a BMC at once; whoever changes its password has it alone. Turns are given in the order of asking.
public final class BMCTurns: Sendable {
    private struct Waiter {
        var wantsAlone: Bool
        var continuation: CheckedContinuation<Void, Never>
    }

    private struct Queue {
        var userCount = 0
        var isHeldAlone = false
        var waiting: [Waiter] = []

        var isIdle: Bool { userCount == 0 && !isHeldAlone && waiting.isEmpty }

        mutating func takes(alone: Bool) -> Bool {
            guard !isHeldAlone, alone ? userCount == 0 : true else { return false }
            if alone { isHeldAlone = true } else { userCount += 1 }
            return true
        }
    }

    private let queues = Mutex<[String: Queue]>([:])

    /// Nobody uses any BMC.
    public init() {}

    /// Runs `body` beside others that use the BMC `name`, and beside nobody who changes its password.
    public func shared<Result, Failure: Error>(
        _ name: String, _ body: () async throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        await enter(name, alone: false)
        defer { leave(name, alone: false) }
        return try await body()
    }

    /// Runs `body` while nobody else uses the BMC `name`.
    public func alone<Result, Failure: Error>(
        _ name: String, _ body: () async throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        await enter(name, alone: true)
        defer { leave(name, alone: true) }
        return try await body()
    }

    private func enter(_ name: String, alone: Bool) async {
        await withCheckedContinuation { continuation in
            let isIn = queues.withLock { queues in
                var queue = queues[name] ?? Queue()
                defer { queues[name] = queue }
                if queue.waiting.isEmpty, queue.takes(alone: alone) { return true }
                queue.waiting.append(Waiter(wantsAlone: alone, continuation: continuation))
                return false
            }
            if isIn { continuation.resume() }
        }
    }

    private func leave(_ name: String, alone: Bool) {
        let next = queues.withLock { queues -> [CheckedContinuation<Void, Never>] in
            guard var queue = queues[name] else { return [] }
            if alone { queue.isHeldAlone = false } else { queue.userCount -= 1 }
            var next: [CheckedContinuation<Void, Never>] = []
            while let first = queue.waiting.first, queue.takes(alone: first.wantsAlone) {
                next.append(first.continuation)
                queue.waiting.removeFirst()
            }
            queues[name] = queue.isIdle ? nil : queue
            return next
        }
        for continuation in next { continuation.resume() }
    }
}

/// What `open` gives; whatever else goes wrong is a `BMCError` too.
private func opened<Opened>(_ open: () async throws -> Opened) async throws(BMCError) -> Opened {
    do { return try await open() } catch let error as BMCError { throw error } catch {
        throw .unusable((error as? any UserFacingError)?.publicMessage ?? "\(error)".printable(limit: 300))
    }
}

/// A BMC's driver whose calls wait for their turn, each with the password that is good then.
public struct TurnTakingDriver: BMCDriver {
    private let name: String
    private let turns: BMCTurns
    private let open: @Sendable () async throws -> any BMCDriver

    /// A driver of the BMC `name`; `open` opens it for one call, with the password as it is then.
    public init(_ name: String, turns: BMCTurns, open: @escaping @Sendable () async throws -> any BMCDriver) {
        self.name = name
        self.turns = turns
        self.open = open
    }

    private func call<Result>(
        _ body: (any BMCDriver) async throws(BMCError) -> Result
    ) async throws(BMCError) -> Result {
        try await turns.shared(name) { () async throws(BMCError) in
            try await body(try await opened(open))
        }
    }

    public func powerState() async throws(BMCError) -> PowerState {
        try await call { driver throws(BMCError) in try await driver.powerState() }
    }

    public func setPower(_ action: PowerAction) async throws(BMCError) {
        try await call { driver throws(BMCError) in try await driver.setPower(action) }
    }

    public func setBoot(_ target: BootTarget, once: Bool, firmware: MachineFirmware?) async throws(BMCError) {
        try await call { driver throws(BMCError) in
            try await driver.setBoot(target, once: once, firmware: firmware)
        }
    }

    public func boot(medium url: String) async throws(BMCError) {
        try await call { driver throws(BMCError) in try await driver.boot(medium: url) }
    }

    public func boot(http url: String) async throws(BMCError) {
        try await call { driver throws(BMCError) in try await driver.boot(http: url) }
    }

    public func eject(medium url: String) async throws(BMCError) {
        try await call { driver throws(BMCError) in try await driver.eject(medium: url) }
    }

    public func identify() async throws(BMCError) -> BMCIdentification {
        try await call { driver throws(BMCError) in try await driver.identify() }
    }

    public func sensors() async throws(BMCError) -> [SensorReading] {
        try await call { driver throws(BMCError) in try await driver.sensors() }
    }
}

/// A console that is opened and closed in its BMC's turn, with the password that is good then.
public struct TurnTakingConsole: ConsoleAccess {
    private let name: String
    private let turns: BMCTurns
    private let open: @Sendable () async throws -> any ConsoleAccess

    /// The console of the BMC `name`; `open` chooses it with the password as it is then.
    public init(_ name: String, turns: BMCTurns, open: @escaping @Sendable () async throws -> any ConsoleAccess) {
        self.name = name
        self.turns = turns
        self.open = open
    }

    public func openConsole(takesOver: Bool) async throws(BMCError) -> ConsoleLine {
        try await turns.shared(name) { () async throws(BMCError) in
            let line = try await opened(open).openConsole(takesOver: takesOver)
            return ConsoleLine(
                output: line.output, send: line.send,
                close: { [turns, name] in await turns.shared(name) { () async in await line.close() } })
        }
    }
}
