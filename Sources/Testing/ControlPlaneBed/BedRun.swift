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
            /// What its other writes came to meanwhile, and how often.
            public var refusals: [String: Int]
            /// The longest time without a connection to the virtual address.
            public var addressGap: Double
            /// Simulated agents that have lost their stream; nil: the bed has no agents.
            public var agentsLost: Int?
            /// Seconds from the fault until all of them had one again; nil: not by the next fault, or none was lost.
            public var agentGap: Double?
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
        /// The nodes whose agents were there.
        public var agentCount = 0
        /// Seconds after the end of all faults at which each node had one stream and the catalog said so.
        public var agentsSettled: Double?
        /// Nodes that were told to be gone and are not, that have no stream at the end, or more than one.
        public var agentFaults: [String] = []

        /// Whether nothing was lost, all answers have an explanation, and no agent was forgotten.
        public var isGood: Bool {
            lost.isEmpty && violations.isEmpty && surprises.isEmpty && acknowledgedCount > 0 && agentFaults.isEmpty
        }

        /// All operations of its clients.
        public var operationCount: Int { registerCount + setCount + acknowledgedCount }

        public var description: String {
            var lines = costs.map { cost in
                "  \(cost.fault) (\(cost.controller)): API gap \(Self.text(cost.apiGap))\(Self.text(cost.refusals)), "
                    + "virtual address gap \(Self.text(cost.addressGap))" + Self.text(cost.agentsLost, cost.agentGap)
            }
            lines.append(
                "  lost = \(lost.count), found = \(foundCount) of \(acknowledgedCount) acknowledged writes; "
                    + "\(registerCount) register and \(setCount) set operations, \(unknownCount) of unknown outcome, "
                    + "\(undecidedReads) reads undecided: \(violations.isEmpty ? "linearizable" : "NOT LINEARIZABLE")")
            if agentCount > 0 {
                let end =
                    agentsSettled.map { "all had one stream \(Self.text($0)) after the last" }
                    ?? "not all have a stream"
                lines.append(
                    "  \(agentCount) agents: \(end); \(agentFaults.isEmpty ? "none was told to be gone" : "FORGOTTEN")")
                lines += agentFaults.prefix(10).map { "  agent: \($0)" }
            }
            lines += lost.prefix(10).map { "  lost: \($0)" } + violations + surprises.map { "  unexpected: \($0)" }
            return "seed \(seed): \(isGood ? "good" : "BAD")\n" + lines.joined(separator: "\n")
        }

        private static func text(_ lost: Int?, _ gap: Double?) -> String {
            guard let lost, lost > 0 else { return "" }
            return ", \(lost) agents lost their stream"
                + (gap.map { ", all back after \(text($0))" } ?? ", not all back by the next fault")
        }

        private static func text(_ refusals: [String: Int]) -> String {
            let parts = refusals.sorted { $0.key < $1.key }.map { "\($0.value) x \($0.key)" }
            return parts.isEmpty ? "" : " (\(parts.joined(separator: ", ")))"
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
    private let scale: Int
    private let operations: Int

    /// A run of `schedule` on a bed that is up, with `scale` times the usual clients. With `operations` it goes on until the
    /// clients have made so many; what is left of the schedule then is left out.
    public init(_ bed: Bed, _ schedule: FaultSchedule, program: String, scale: Int = 1, operations: Int = 0) {
        self.bed = bed
        self.schedule = schedule
        self.program = program
        self.scale = scale
        self.operations = operations
    }

    static func begunFile(_ bed: Bed, _ seed: UInt64) -> String { "\(bed.plan.root)/run/client-\(seed).begun" }
    static func overFile(_ bed: Bed, _ seed: UInt64) -> String { "\(bed.plan.root)/run/client-\(seed).over" }
    static func settledFile(_ bed: Bed, _ seed: UInt64) -> String { "\(bed.plan.root)/run/client-\(seed).settled" }
    static func countFile(_ bed: Bed, _ seed: UInt64) -> String { "\(bed.plan.root)/run/client-\(seed).count" }
    static func recordFile(_ bed: Bed, _ seed: UInt64) -> String { "\(bed.plan.root)/run/record-\(seed).json" }

    /// The client's side, in the client's namespace: works until it is told to end, and writes down what it saw.
    public static func serveClient(_ bed: Bed, seed: UInt64, scale: Int = 1) async throws {
        @Sendable func wait(for path: String) async throws {
            while !FileManager.default.fileExists(atPath: path) { try await Task.sleep(for: .milliseconds(50)) }
        }
        let over = overFile(bed, seed)
        let settled = settledFile(bed, seed)
        let workload = try await Workload(bed, seed: seed, scale: scale) {
            FileManager.default.fileExists(atPath: over)
        }
        let begun = begunFile(bed, seed)
        let counting = Task {
            while true {
                let text = "\(workload.operationCount)"
                try Data(text.utf8).write(to: URL(filePath: countFile(bed, seed)), options: .atomic)
                try await Task.sleep(for: .milliseconds(500))
            }
        }
        let record = try await workload.run {
            try Data().write(to: URL(filePath: begun))
        } settled: {
            try await wait(for: settled)
        }
        counting.cancel()
        try JSONEncoder().encode(record).write(to: URL(filePath: recordFile(bed, seed)), options: .atomic)
    }

    /// A fault that was done, and when.
    private struct Moment: Sendable {
        var injuries: [Bed.Injury]
        var time: Int64
    }

    /// Runs the schedule; the bed is whole again afterwards. Throws `BedError` and `RackError`.
    public func execute(progress: @escaping @Sendable (String) -> Void = { _ in }) async throws -> Report {
        let seed = schedule.seed
        let files = [Self.begunFile, Self.overFile, Self.settledFile, Self.countFile, Self.recordFile]
        for file in files { try? FileManager.default.removeItem(atPath: file(bed, seed)) }
        let client = try bed.spawn(
            [program, "client", "--directory", bed.plan.root, "--seed", "\(seed)", "--scale", "\(scale)"],
            as: "client-\(seed)", at: .client)
        let census = CensusTaker(bed)
        let counting = Task { await census.run() }
        defer { counting.cancel() }
        let moments: [Moment]
        do {
            moments = try await hurt(client, progress)
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
        try await client.waitForEnd(within: .seconds(120))
        guard let data = FileManager.default.contents(atPath: Self.recordFile(bed, seed)) else {
            throw BedError.failed("The client has told nothing: \(client.logTail())")
        }
        var report = judge(try JSONDecoder().decode(Workload.Record.self, from: data), moments, over)
        if bed.plan.agents > 0 { await judgeAgents(&report, moments, over, census) }
        return report
    }

    /// Does one fault after the other until the schedule is over, and the operations are done.
    private func hurt(
        _ client: RackProcess, _ progress: @Sendable (String) -> Void
    ) async throws -> [Moment] {
        // Who has not begun when the faults come sees nothing of them.
        try await waitUntil("the clients begin", within: .seconds(90)) {
            FileManager.default.fileExists(atPath: Self.begunFile(bed, schedule.seed)) || !client.isRunning
        }
        var moments: [Moment] = []
        for step in schedule.steps where operations == 0 || operationCount < operations {
            try await Task.sleep(for: step.quiet)
            guard client.isRunning else { throw BedError.failed("The client has ended: \(client.logTail())") }
            var moment = Moment(injuries: [], time: monotonicNanoseconds())
            for fault in step.faults {
                let injury = try await bed.inflict(fault, sparing: moment.injuries.map(\.controller))
                progress("\(injury.fault) (\(injury.controller))")
                moment.injuries.append(injury)
            }
            moments.append(moment)
            try await Task.sleep(for: step.lasts)
            for injury in moment.injuries.reversed() {
                try await bed.heal(injury)
                progress("over: \(injury.fault) (\(injury.controller))")
            }
        }
        while client.isRunning, operationCount < operations { try await Task.sleep(for: .milliseconds(500)) }
        return moments
    }

    private var operationCount: Int {
        let data = FileManager.default.contents(atPath: Self.countFile(bed, schedule.seed)) ?? Data()
        return Int(String(decoding: data, as: UTF8.self)) ?? 0
    }

    /// Waits until all agents are where they belong, and tells how it went with them.
    private func judgeAgents(
        _ report: inout Report, _ moments: [Moment], _ over: Int64, _ census: CensusTaker
    ) async {
        report.agentCount = bed.plan.nodeCount
        do {
            try await bed.waitForAgents(within: Self.agentPatience)
            report.agentsSettled = Double(monotonicNanoseconds() - over) / 1e9
        } catch {
            report.agentFaults.append("\(error)")
        }
        let judge = AgentJudge(AgentJournal.read(bed.plan.agentJournal))
        for (index, moment) in moments.enumerated() {
            let end = index + 1 < moments.count ? moments[index + 1].time : monotonicNanoseconds()
            let resettling = judge.resettling(from: moment.time, to: end)
            report.costs[index].agentsLost = resettling.lost
            report.costs[index].agentGap = resettling.lost > 0 ? resettling.seconds : nil
        }
        for taken in await census.taken {
            for node in judge.wronglyGone(taken) where report.agentFaults.count < 20 {
                report.agentFaults.append("\(node) was told to be gone while its stream was open")
            }
        }
    }

    /// How long an agent may take to be connected again when everybody is: pings tell it of a lost conductor after 45 s.
    private static let agentPatience = Duration.seconds(90)

    private func judge(
        _ record: Workload.Record, _ moments: [Moment], _ over: Int64
    ) -> Report {
        var report = Report(seed: schedule.seed)
        report.registerCount = record.registers.count
        report.setCount = record.set.count
        report.unknownCount = record.registers.count { $0.end == nil } + record.set.count { $0.end == nil }
        report.acknowledgedCount = record.acknowledged.count
        // A conductor whose clock is minutes behind refuses tokens that are not good yet; nothing is done then.
        let hasWrongClock = moments.flatMap(\.injuries).contains { if case .clock = $0.fault { true } else { false } }
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
                    fault: moment.injuries.map { "\($0.fault)" }.joined(separator: " and "),
                    controller: moment.injuries.map(\.controller).joined(separator: ", "),
                    apiGap: Self.gap(writes, moment.time, end),
                    refusals: record.attempts.filter { $0.end > moment.time && $0.end <= end }
                        .reduce(into: [:]) { $0[$1.outcome, default: 0] += 1 },
                    addressGap: Self.gap(connections, moment.time, end)))
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

/// Asks the conductors in turns, again and again, what the catalog says of the agents.
private actor CensusTaker {
    private let bed: Bed
    private(set) var taken: [AgentCensus] = []

    init(_ bed: Bed) { self.bed = bed }

    func run() async {
        guard bed.plan.agents > 0 else { return }
        let pause = Duration.milliseconds(500 + bed.plan.agents)
        var turn = 0
        while !Task.isCancelled {
            turn += 1
            if let census = await bed.census(at: bed.plan.controllers[turn % bed.plan.count]) { taken.append(census) }
            try? await Task.sleep(for: pause)
        }
    }
}
