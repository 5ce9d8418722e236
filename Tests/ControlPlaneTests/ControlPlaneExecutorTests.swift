import Primitives
import Testing

@testable import ControlPlane

@Suite struct ControlPlaneExecutorTests {
    static let ways: [(voters: String, wanted: String, retired: Set<UInt64>)] = [
        ("A", "abc", []), ("A", "abcde", []), ("ABC", "abcde", []), ("ABc", "abd", []), ("ABC", "abd", []),
        ("ABc", "abc", [102]), ("ABC", "abc", [102]), ("ABCDE", "cde", []), ("ABCDe", "ab" + "c", []), ("ABC", "b", []),
        ("ABCDE", "a", []),
    ]

    /// Runs an executor again and again, as an operator would, until it ends.
    private static func finish(
        _ plane: SimulatedControlPlane, _ wish: ControlPlaneWish
    ) async throws -> (runs: Int, steps: [MembershipStep]) {
        var steps: [MembershipStep] = []
        for run in 1...20 {
            do {
                return (run, steps + (try await ControlPlaneExecutor(plane).run(wish)))
            } catch is SimulatedControlPlane.Crash {
                // What it had taken is not told; the plane itself is all that counts.
                steps = []
            }
        }
        Issue.record("it never ends")
        return (20, steps)
    }

    @Test("Without a fault the steps that are taken are the plan that was shown first")
    func plain() async throws {
        for way in Self.ways {
            let wish = try ControlPlaneWish(controllers: way.wanted.map(String.init), retired: way.retired)
            let plane = SimulatedControlPlane(.of(way.voters))
            let plan = try MembershipPlan(from: .of(way.voters), to: wish)
            let (_, steps) = try await Self.finish(plane, wish)
            #expect(steps == plan.entries.map(\.step), "\(way)")
            #expect(await plane.violations == [])
            let rests = await plane.shown.map { $0.entries.map(\.step) }
            #expect(rests == (0...steps.count).map { Array(steps.dropFirst($0)) }, "each plan is the rest of the first")
        }
    }

    @Test("Killed before, within or after any step, another run goes on and comes to the same end")
    func crashes() async throws {
        for way in Self.ways {
            let wish = try ControlPlaneWish(controllers: way.wanted.map(String.init), retired: way.retired)
            let count = try MembershipPlan(from: .of(way.voters), to: wish).entries.count
            for number in 1...count {
                for fault in [SimulatedControlPlane.Fault.before(number), .within(number), .after(number)] {
                    let plane = SimulatedControlPlane(.of(way.voters), fault: fault)
                    let (runs, _) = try await Self.finish(plane, wish)
                    let sight = await plane.sight
                    #expect(await plane.violations == [], "\(way) \(fault)")
                    #expect(
                        runs == 2 && sight.members.map(\.controller).sorted() == wish.controllers, "\(way) \(fault)")
                    #expect(try MembershipPlan(from: sight, to: wish).entries.isEmpty)
                }
            }
        }
    }

    @Test("Members die and come back between steps: the quorum is never given away, and it ends once all are well")
    func weather() async throws {
        var (ended, refused) = (0, 0)
        for seed in 1...400 as ClosedRange<UInt64> {
            var random = SeededRandom(seed: seed)
            let way = Self.ways[Int.random(in: 0..<Self.ways.count, using: &random)]
            let wish = try ControlPlaneWish(controllers: way.wanted.map(String.init), retired: way.retired)
            let plane = SimulatedControlPlane(.of(way.voters), seed: seed) { sight, random in
                guard !sight.members.isEmpty, Int.random(in: 0..<4, using: &random) == 0 else { return }
                let index = Int.random(in: 0..<sight.members.count, using: &random)
                let isBack = !sight.members[index].isHealthy && sight.members[index].isStarted
                sight.members[index].isHealthy = isBack
                let name = sight.members[index].controller
                let hasConductor = sight.controllers[name]?.isConductorAssigned == true
                sight.controllers[name]?.isServing = isBack && hasConductor
            }
            do {
                _ = try await ControlPlaneExecutor(plane).run(wish)
                ended += 1
                #expect(await plane.sight.members.map(\.controller).sorted() == wish.controllers, "seed \(seed)")
            } catch {
                refused += 1
                let refusal = try #require(error as? MembershipRefusal, "seed \(seed): \(error)")
                let sight = await plane.sight
                switch refusal {
                case .noQuorum: #expect(!sight.voters.haveQuorum)
                case .memberDown(let name): #expect(sight.members.contains { $0.controller == name && !$0.isHealthy })
                default: Issue.record("seed \(seed): \(refusal)")
                }
            }
            #expect(await plane.violations == [], "seed \(seed)")
        }
        #expect(ended > 50 && refused > 50, "\(ended) ended, \(refused) refused")
    }

    @Test("A step that never shows is given up after three times")
    func stuck() async throws {
        struct Stuck: ControlPlaneActions {
            func look(for wish: ControlPlaneWish) -> ControlPlaneSight { .of("A") }
            func carryOut(_ step: MembershipStep, from sight: ControlPlaneSight) {}
            func show(_ plan: MembershipPlan) {}
        }
        await #expect(throws: MembershipRefusal.noProgress(.addLearner("b"))) {
            try await ControlPlaneExecutor(Stuck()).run(ControlPlaneWish(controllers: ["a", "b", "c"]))
        }
    }
}
