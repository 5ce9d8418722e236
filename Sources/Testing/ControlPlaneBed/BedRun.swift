import FoundationEssentials
import Histories
import Primitives
import VirtualRack

/// A workload on a bed while faults happen to it, and the judgement of what the clients saw.
public struct BedRun: Sendable {
    /// What came of a run.
    public struct Report: Sendable, Codable, CustomStringConvertible {
        /// What a fault cost.
        public struct Cost: Sendable, Codable {
            public var fault: String
            public var controller: String
            /// The longest time without an acknowledged write at the virtual address, from the fault to the next.
            public var apiGap: Double
            /// The same of connections to the virtual address.
            public var addressGap: Double
        }

        public var seed: UInt64
        public var costs: [Cost] = []
        /// Answers of registers, answers of the set, and those of unknown outcome among both.
        public var registerCount = 0
        public var setCount = 0
        public var unknownCount = 0
        public var undecidedReads = 0
        /// The probe's acknowledged writes.
        public var acknowledgedCount = 0
        /// Those of them that some conductor does not show at the end.
        public var lost: [String] = []
        /// Those that all show.
        public var foundCount = 0
        /// What is not linearizable, in words.
        public var violations: [String] = []
        /// Answers that nobody expected.
        public var surprises: [String] = []

        /// Whether nothing was lost and all answers have an explanation.
        public var isGood: Bool { lost.isEmpty && violations.isEmpty && surprises.isEmpty && acknowledgedCount > 0 }

        public var description: String {
            var lines = costs.map { cost in
                "  \(cost.fault) (\(cost.controller)): API gap \(Self.text(cost.apiGap)), "
                    + "virtual address gap \(Self.text(cost.addressGap))"
            }
            lines.append(
                "  lost = \(lost.count), found = \(foundCount) of \(acknowledgedCount) acknowledged writes; "
                    + "\(registerCount) register and \(setCount) set operations, \(unknownCount) of unknown outcome, "
                    + "\(undecidedReads) reads undecided: \(violations.isEmpty ? "linearizable" : "NOT LINEARIZABLE")")
            lines += lost.prefix(10).map { "  lost: \($0)" } + violations + surprises.map { "  unexpected: \($0)" }
            return "seed \(seed): \(isGood ? "good" : "BAD")\n" + lines.joined(separator: "\n")
        }

        private static func text(_ seconds: Double) -> String {
            let hundredths = Int((seconds * 100).rounded())
            return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100) s"
        }
    }

    private let bed: Bed
    private let schedule: FaultSchedule
    /// The program of the bed, which is started once more as the client.
    private let program: String

    /// A run of `schedule` on a bed that is up.
    public init(_ bed: Bed, _ schedule: FaultSchedule, program: String) {
        self.bed = bed
        self.schedule = schedule
        self.program = program
    }

    static func begunFile(_ bed: Bed, _ seed: UInt64) -> String { "\(bed.plan.root)/run/client-\(seed).begun" }
    static func overFile(_ bed: Bed, _ seed: UInt64) -> String { "\(bed.plan.root)/run/client-\(seed).over" }
    static func settledFile(_ bed: Bed, _ seed: UInt64) -> String { "\(bed.plan.root)/run/client-\(seed).settled" }
    static func recordFile(_ bed: Bed, _ seed: UInt64) -> String { "\(bed.plan.root)/run/record-\(seed).json" }

    /// The client's side, in the client's namespace: works until it is told to end, and writes down what it saw.
    public static func serveClient(_ bed: Bed, seed: UInt64) async throws {
        @Sendable func wait(for path: String) async throws {
            while !FileManager.default.fileExists(atPath: path) { try await Task.sleep(for: .milliseconds(50)) }
        }
        let over = overFile(bed, seed)
        let settled = settledFile(bed, seed)
        let workload = try await Workload(bed, seed: seed) { FileManager.default.fileExists(atPath: over) }
        let begun = begunFile(bed, seed)
        let record = try await workload.run {
            try Data().write(to: URL(filePath: begun))
        } settled: {
            try await wait(for: settled)
        }
        try JSONEncoder().encode(record).write(to: URL(filePath: recordFile(bed, seed)), options: .atomic)
    }

    /// Runs the schedule; the bed is whole again afterwards. Throws `BedError` and `RackError`.
    public func execute(progress: @Sendable (String) -> Void = { _ in }) async throws -> Report {
        let seed = schedule.seed
        let begun = Self.begunFile(bed, seed)
        for path in [begun, Self.overFile(bed, seed), Self.settledFile(bed, seed), Self.recordFile(bed, seed)] {
            try? FileManager.default.removeItem(atPath: path)
        }
        let client = try bed.spawn(
            [program, "client", "--directory", bed.plan.root, "--seed", "\(seed)"], as: "client-\(seed)", at: .client)
        var moments: [(injury: Bed.Injury, time: Int64)] = []
        do {
            // Who has not begun when the faults come sees nothing of them.
            try await waitUntil("the clients begin", within: .seconds(90)) {
                FileManager.default.fileExists(atPath: begun) || !client.isRunning
            }
            for step in schedule.steps {
                try await Task.sleep(for: step.quiet)
                guard client.isRunning else { throw BedError.failed("The client has ended: \(client.logTail())") }
                let time = monotonicNanoseconds()
                let injury = try await bed.inflict(step.fault)
                progress("\(step.fault) (\(injury.controller))")
                moments.append((injury, time))
                try await Task.sleep(for: step.lasts)
                try await bed.heal(injury)
            }
            // Whoever was away has to come back while there is a load.
            try await bed.waitForAPI(at: BedPlan.virtualAddress, hint: "c1-keepalived", within: .seconds(60))
            try await Task.sleep(for: .seconds(2))
        } catch {
            client.signal(9)
            try await bed.healAll()
            throw error
        }
        let over = monotonicNanoseconds()
        try Data().write(to: URL(filePath: Self.overFile(bed, seed)))
        try await bed.healAll()
        try Data().write(to: URL(filePath: Self.settledFile(bed, seed)))
        try await client.waitForEnd(within: .seconds(60))
        guard let data = FileManager.default.contents(atPath: Self.recordFile(bed, seed)) else {
            throw BedError.failed("The client has told nothing: \(client.logTail())")
        }
        return judge(try JSONDecoder().decode(Workload.Record.self, from: data), moments, over)
    }

    private func judge(
        _ record: Workload.Record, _ moments: [(injury: Bed.Injury, time: Int64)], _ over: Int64
    ) -> Report {
        var report = Report(seed: schedule.seed)
        report.registerCount = record.registers.count
        report.setCount = record.set.count
        report.unknownCount = record.registers.count { $0.end == nil } + record.set.count { $0.end == nil }
        report.acknowledgedCount = record.acknowledged.count
        // A conductor whose clock is minutes behind refuses tokens that are not good yet; nothing is done then.
        let hasWrongClock = schedule.steps.contains { if case .clock = $0.fault { true } else { false } }
        report.surprises = record.surprises.filter { !(hasWrongClock && $0.hasSuffix(": 401")) }
        for element in record.acknowledged.keys.sorted() {
            let without = record.found.filter { !$0.value.contains(element) }.keys.sorted()
            if without.isEmpty {
                report.foundCount += 1
            } else {
                report.lost.append("\(element), which \(without.joined(separator: ", ")) does not show")
            }
        }
        let writes = record.acknowledged.values.sorted()
        let connections = record.connections.sorted()
        for (index, moment) in moments.enumerated() {
            let end = index + 1 < moments.count ? moments[index + 1].time : over
            report.costs.append(
                Report.Cost(
                    fault: "\(moment.injury.fault)", controller: moment.injury.controller,
                    apiGap: Self.gap(writes, moment.time, end), addressGap: Self.gap(connections, moment.time, end)))
        }
        do throws(RegisterCheck.Violation) { try RegisterCheck.check(record.registers) } catch {
            report.violations.append(error.description)
        }
        do {
            report.undecidedReads = try SetCheck.check(record.set).undecidedReads
        } catch {
            report.violations.append("\(error)")
        }
        return report
    }

    /// The longest time in seconds without any of `times`, which are sorted, that lies in part between `start` and `end`; what
    /// has not come by `end` counts until then.
    static func gap(_ times: [Int64], _ start: Int64, _ end: Int64) -> Double {
        let within = times.filter { $0 <= end }
        let last = within.last { $0 <= start } ?? start
        let moments = [last] + within.filter { $0 > start } + [end]
        return Double(zip(moments, moments.dropFirst()).map { $1 - $0 }.max() ?? 0) / 1e9
    }
}
