import Histories
import Primitives
import Testing

@Suite struct SetCheckTests {
    typealias Line = (client: Int, start: Int64, end: Int64?, action: SetOperation.Action)

    private static func history(_ lines: [Line]) -> [SetOperation] {
        lines.map { SetOperation(client: $0.client, start: $0.start, end: $0.end, action: $0.action) }
    }

    private static func violation(_ operations: [SetOperation]) throws -> SetCheck.Violation? {
        do {
            try SetCheck.check(operations)
            return nil
        } catch let error as SetCheck.Violation {
            return error
        }
    }

    private static let good: [[Line]] = [
        [(1, 0, 1, .add("a")), (2, 2, 3, .list(["a"])), (1, 4, 5, .remove("a")), (2, 6, 7, .list([]))],
        // What overlaps may be seen or not.
        [(1, 0, 10, .add("a")), (2, 1, 9, .list([])), (3, 2, 8, .list(["a"]))],
        [(1, 0, 10, .add("a")), (2, 0, 10, .add("b")), (3, 1, 2, .list(["b"])), (4, 3, 4, .list(["a", "b"]))],
        // Lost answers: late, never, and a removal that came late.
        [(1, 0, nil, .add("a")), (2, 5, 6, .list([])), (2, 7, 8, .list(["a"]))],
        [(1, 0, nil, .add("a")), (2, 5, 6, .list([]))],
        [(1, 0, 1, .add("a")), (1, 2, nil, .remove("a")), (2, 5, 6, .list(["a"])), (2, 7, 8, .list([]))],
    ]

    @Test(arguments: Self.good) func `good histories pass`(_ lines: [Line]) throws {
        #expect(try Self.violation(Self.history(lines)) == nil)
    }

    private static let bad: [(fault: SetCheck.Fault, lines: [Line])] = [
        (.unknownElement, [(1, 0, 1, .list(["a"]))]),
        (.readTooEarly, [(1, 0, 1, .list(["a"])), (2, 2, 3, .add("a"))]),
        (.lost, [(1, 0, 1, .add("a")), (2, 2, 3, .list([]))]),
        (.lost, [(1, 0, 1, .add("a")), (2, 2, 3, .list(["a"])), (2, 4, 5, .list([]))]),
        (.lost, [(1, 0, 1, .add("a")), (2, 2, 3, .missed("a"))]),
        (.cameBack, [(1, 0, 1, .add("a")), (1, 2, 3, .remove("a")), (2, 4, 5, .list(["a"]))]),
        // Two readers at the same time, each of whom has seen what the other has not.
        (
            .contradiction,
            [(1, 0, 50, .add("a")), (2, 0, 50, .add("b")), (3, 10, 20, .list(["a"])), (4, 10, 20, .list(["b"]))]
        ),
        // One after the other has seen less.
        (.backwards, [(1, 0, 50, .add("a")), (2, 10, 20, .list(["a"])), (2, 21, 30, .list([]))]),
        (.backwards, [(1, 0, nil, .add("a")), (2, 10, 20, .list(["a"])), (2, 21, 30, .list([]))]),
        (
            .backwards,
            [(1, 0, 1, .add("a")), (1, 2, nil, .remove("a")), (2, 10, 20, .list([])), (2, 21, 30, .list(["a"]))]
        ),
        // The second of two changes is seen and the first is not.
        (.changesSwapped, [(1, 0, 9, .add("a")), (1, 10, 19, .add("b")), (2, 5, 15, .list(["b"]))]),
    ]

    @Test(arguments: Self.bad) func `bad histories fail`(_ fault: SetCheck.Fault, _ lines: [Line]) throws {
        let violation = try #require(try Self.violation(Self.history(lines)))
        #expect(violation.fault == fault, "\(violation)")
        #expect(violation.part.count <= 4)
    }

    @Test func `what it cannot judge it says`() throws {
        #expect(throws: SetCheck.Unfit.self) {
            try SetCheck.check(Self.history([(1, 0, 1, .add("a")), (1, 2, 3, .add("a"))]))
        }
        #expect(throws: SetCheck.Unfit.self) {
            try SetCheck.check(Self.history([(1, 0, nil, .add("a")), (1, 2, 3, .remove("a"))]))
        }
        let checked = try SetCheck.check(
            Self.history([(1, 0, 10, .add("a")), (1, 11, 20, .remove("a")), (2, 5, 15, .list([]))]))
        #expect(checked.undecidedReads == 1)
    }

    @Test(arguments: 0..<60 as Range<UInt64>)
    func `simulated histories of a true set pass`(_ seed: UInt64) throws {
        var simulated = SimulatedHistory(
            seed: seed, shape: .init(clients: 3 + Int(seed % 8), operations: 600, lostPercent: Int(seed % 20)))
        let history = simulated.set()
        let checked = try SetCheck.check(history)
        let reads = history.count { if case .list = $0.action { true } else { false } }
        #expect(checked.undecidedReads * 4 < reads, "\(checked.undecidedReads) of \(reads)")
    }

    /// What may go wrong in a store, done to the answers of a true set.
    private enum Fault: CaseIterable {
        case lostAddition, elementBack, staleRead, halfRead
    }

    @Test(arguments: 0..<40 as Range<UInt64>)
    func `a fault in a simulated history is found`(_ seed: UInt64) throws {
        for fault in Fault.allCases {
            var simulated = SimulatedHistory(seed: seed, shape: .init(operations: 600, lostPercent: 2))
            var history = simulated.set()
            #expect(try Self.violation(history) == nil)
            try Self.spoil(&history, fault)
            #expect(try Self.violation(history) != nil, "\(fault) of seed \(seed)")
        }
    }

    /// Does one read wrong to a history: the first after the middle that the fault can be done to.
    private static func spoil(_ history: inout [SetOperation], _ fault: Fault) throws {
        let removals = history.reduce(into: [String: Int64]()) { starts, operation in
            if case .remove(let name) = operation.action { starts[name] = operation.start }
        }
        for index in history.indices.dropFirst(history.count / 2) {
            let read = history[index]
            guard case .list(var seen) = read.action, let end = read.end else { continue }
            let earlier = history.filter { ($0.end ?? .max) < read.start }
            let sure = earlier.compactMap { operation -> String? in
                guard case .add(let name) = operation.action, (removals[name] ?? .max) > end else { return nil }
                return name
            }
            let gone = earlier.compactMap { if case .remove(let name) = $0.action { name } else { nil } }
            let stale = earlier.first { before in
                guard case .list(let old) = before.action else { return false }
                return !old.isEmpty && old.isSubset(of: gone)
            }
            switch fault {
            case .lostAddition:
                guard let name = sure.last else { continue }
                seen.remove(name)
            case .halfRead:
                guard sure.count > 1 else { continue }
                seen.subtract(sure)
            case .elementBack:
                guard let name = gone.last else { continue }
                seen.insert(name)
            case .staleRead:
                guard case .list(let old)? = stale?.action else { continue }
                seen = old
            }
            history[index].action = .list(seen)
            return
        }
        Issue.record("there is no place for \(fault)")
    }

    @Test(.timeLimit(.minutes(3))) func `a hundred thousand operations are decided in seconds`() throws {
        var simulated = SimulatedHistory(seed: 1, shape: .init(clients: 12, operations: 100_000, lostPercent: 0))
        let history = simulated.set()
        let start = ContinuousClock.now
        try SetCheck.check(history)
        let took = ContinuousClock.now - start
        #expect(took < .seconds(60), "it takes 5 s unoptimized on an idle core")
    }
}
