import Primitives
import Testing

@testable import Histories

@Suite struct RegisterCheckTests {
    typealias Line = (client: Int, start: Int64, end: Int64?, action: RegisterOperation.Action)

    private static func history(_ operations: [Line]) -> [RegisterOperation] {
        operations.map {
            RegisterOperation(key: "x", client: $0.client, start: $0.start, end: $0.end, action: $0.action)
        }
    }

    private static func violation(_ operations: [RegisterOperation]) -> RegisterCheck.Violation? {
        do throws(RegisterCheck.Violation) {
            try RegisterCheck.check(operations)
            return nil
        } catch {
            return error
        }
    }

    private static let good: [[Line]] = [
        // What overlaps may be in either order, and a reader in between sees either.
        [(1, 0, 10, .write(1)), (2, 5, 15, .write(2)), (3, 16, 20, .read(1))],
        [(1, 0, 10, .write(1)), (2, 5, 15, .write(2)), (3, 16, 20, .read(2))],
        [(1, 0, 10, .write(1)), (2, 1, 9, .read(0)), (3, 2, 8, .read(1))],
        // A lost answer: at once, late, never, and twice seen.
        [(1, 0, nil, .write(1)), (2, 50, 60, .read(1))],
        [(1, 0, nil, .write(1)), (2, 50, 60, .read(0)), (2, 70, 80, .read(1))],
        [(1, 0, nil, .write(1)), (2, 50, 60, .read(0))],
        [(1, 0, nil, .write(1)), (2, 1, 2, .write(2)), (2, 3, 4, .read(2)), (2, 5, 6, .read(1))],
        // A lost change is what another one is refused for, and what a chain of lost changes stands on.
        [(1, 0, nil, .write(1)), (2, 5, 6, .refusedSwap(from: 0))],
        [(1, 0, nil, .swap(from: 0, to: 1)), (2, 0, nil, .swap(from: 1, to: 2)), (3, 9, 10, .read(2))],
        [(1, 0, 5, .swap(from: 0, to: 1)), (2, 0, 5, .refusedSwap(from: 0)), (1, 6, 7, .swap(from: 1, to: 2))],
    ]

    @Test(arguments: Self.good) func `good histories pass`(_ operations: [Line]) throws {
        try RegisterCheck.check(Self.history(operations))
    }

    private static let bad: [[Line]] = [
        // A stale read.
        [(1, 0, 1, .write(1)), (2, 2, 3, .read(0))],
        [(1, 0, 1, .write(1)), (1, 2, 3, .write(2)), (2, 4, 5, .read(1))],
        // A lost update: two changes of one value.
        [(1, 0, 5, .swap(from: 0, to: 1)), (2, 0, 5, .swap(from: 0, to: 2))],
        // A write that comes back.
        [
            (1, 0, 9, .write(1)), (2, 0, 9, .write(2)), (3, 10, 11, .read(1)), (3, 12, 13, .read(2)),
            (3, 14, 15, .read(1)),
        ],
        // A read of the future.
        [(1, 0, 1, .read(1)), (2, 2, 3, .write(1))],
        // Readers that see a change in one order only.
        [(1, 0, 100, .write(1)), (2, 10, 20, .read(1)), (3, 30, 40, .read(0))],
        // A lost answer takes effect once.
        [(1, 0, nil, .write(1)), (2, 1, 2, .read(1)), (2, 3, 4, .write(2)), (2, 5, 6, .read(1))],
        // A refusal without a cause, and a change without its condition.
        [(1, 0, 1, .write(1)), (2, 2, 3, .refusedSwap(from: 1))],
        [(1, 0, 1, .write(1)), (2, 2, 3, .swap(from: 0, to: 2))],
        // A value that nobody wrote.
        [(1, 0, 1, .read(7))],
    ]

    @Test(arguments: Self.bad) func `bad histories fail`(_ operations: [Line]) {
        #expect(Self.violation(Self.history(operations)) != nil)
    }

    @Test(arguments: 0..<60 as Range<UInt64>)
    func `simulated histories of a true register pass`(_ seed: UInt64) throws {
        var simulated = SimulatedHistory(
            seed: seed, shape: .init(clients: 3 + Int(seed % 8), operations: 600, keys: 2, lostPercent: Int(seed % 20)))
        try RegisterCheck.check(simulated.registers())
    }

    @Test func `one changed answer in a simulated history is found`() throws {
        var random = SeededRandom(seed: 7)
        var found = 0
        for seed in 0..<40 as Range<UInt64> {
            var simulated = SimulatedHistory(seed: seed, shape: .init(operations: 400, keys: 1))
            var history = simulated.registers()
            // A read is told what was written long before, or not before it had ended.
            let reads = history.indices.filter { if case .read = history[$0].action { true } else { false } }
            let read = reads[reads.count / 4 + Int.random(in: 0..<reads.count / 2, using: &random)]
            guard case .read(let value) = history[read].action else { continue }
            let isFuture = Bool.random(using: &random)
            history[read].action = .read(isFuture ? value + 30 : value - 30)
            let violation = try #require(Self.violation(history), "seed \(seed)")
            #expect(violation.part.count <= 6, "\(violation)")
            found += 1
        }
        #expect(found == 40)
    }

    /// The place of a write that began when the one before it was answered, and that somebody has read who began when it was
    /// answered: without it no order explains that read.
    private static func decisiveWrite(_ history: [RegisterOperation]) -> (lost: Int, before: Int)? {
        var before: RegisterOperation?
        for operation in history {
            guard let made = operation.action.made else { continue }
            if let before, let value = before.action.made, let ended = before.end, ended < operation.start,
                let answered = operation.end, case .write = operation.action,
                history.contains(where: { $0.action == .read(made) && $0.start > answered })
            {
                return (made, value)
            }
            before = operation
        }
        return nil
    }

    @Test func `a register that loses an acknowledged write is found`() throws {
        var tried = 0
        for seed in 0..<40 as Range<UInt64> {
            var simulated = SimulatedHistory(
                seed: seed, shape: .init(clients: 3, operations: 500, keys: 1, lostPercent: 0))
            var history = simulated.registers()
            guard let (lost, before) = Self.decisiveWrite(history) else { continue }
            tried += 1
            // The acknowledged write has never happened: whoever has seen it saw what was before.
            for index in history.indices {
                switch history[index].action {
                case .read(lost): history[index].action = .read(before)
                case .swap(lost, let next): history[index].action = .swap(from: before, to: next)
                default: break
                }
            }
            #expect(Self.violation(history) != nil, "seed \(seed)")
        }
        #expect(tried >= 20)
    }

    @Test func `what shows the fault is small, and fails by itself`() throws {
        var simulated = SimulatedHistory(seed: 3, shape: .init(clients: 6, operations: 3000, keys: 1, lostPercent: 2))
        var history = simulated.registers()
        let read = try #require(
            history.indices.dropFirst(2000).first { if case .read = history[$0].action { true } else { false } })
        history[read].action = .read(1)
        let violation = try #require(Self.violation(history))
        #expect(violation.operationCount == history.count)
        #expect(violation.part.count <= 6, "\(violation)")
        #expect(Self.violation(violation.part) != nil)
        #expect(violation.description.contains("read 1"))
    }

    @Test(.timeLimit(.minutes(3))) func `a hundred thousand operations are decided in seconds`() throws {
        var simulated = SimulatedHistory(
            seed: 1, shape: .init(clients: 12, operations: 100_000, keys: 10, lostPercent: 2))
        let history = simulated.registers()
        let start = ContinuousClock.now
        try RegisterCheck.check(history)
        let took = ContinuousClock.now - start
        #expect(took < .seconds(60), "it takes 3 s unoptimized on an idle core, 0.5 s optimized")
    }
}
