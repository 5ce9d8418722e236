import Primitives
import TestSupport
import Testing

@testable import ControlPlane

@Suite struct PivotPlanTests {
    static func start(_ count: Int = 3) -> PivotSight {
        PivotSight(
            seed: .init(revision: 4711),
            controllers: Dictionary(
                uniqueKeysWithValues: ["a", "b", "c", "d", "e"].prefix(count).map {
                    ($0, PivotSight.Controller(blobsShort: 12))
                }), agentsLeft: 7)
    }

    @Test("From a seed to three controllers: the plan as it is frozen")
    func golden() throws {
        let steps = try PivotPlan(from: Self.start()).steps
        try GoldenFile.compare(steps.map { "\($0)\n" }.joined(), with: "controlplane/pivot.txt")
        let frozen = steps.drop { $0 != .freezeSeed }.prefix { $0 != .startConductor("a") }
        #expect(
            Array(frozen) == [.freezeSeed, .stopSeedDHCP, .copyStore, .verifyStore], "all that takes long is before")
    }

    /// Follows a plan step by step, each time planned anew, and checks what must never be.
    private static func follow(_ start: PivotSight, _ source: String) throws -> PivotSight {
        var sight = start
        for _ in 0..<60 {
            let plan = try PivotPlan(from: sight)
            guard let step = plan.steps.first else { return sight }
            let next = sight.after(step)
            #expect(try PivotPlan(from: next).steps == Array(plan.steps.dropFirst()), "\(source)")
            let isServed = next.controllers.values.contains(where: \.isServing)
            #expect(!isServed || next.seed.isReadOnly || next.seed.isRetired, "two stores take writes: \(source)")
            #expect(!isServed || next.copy?.isVerified == true, "served unverified: \(source)")
            #expect(!(next.isDHCPAtControllers && next.seed.servesDHCP), "two answer DHCP: \(source)")
            if step == .retireSeed { #expect(!next.controllers.values.contains { !$0.isServing }, "\(source)") }
            if step == .copyStore { #expect(sight.seed.isReadOnly, "copied while it changes: \(source)") }
            sight = next
        }
        Issue.record("it never ends: \(source)")
        return sight
    }

    @Test("Broken off after any step, the rest of the plan is what is planned again")
    func resumed() throws {
        for count in [1, 3, 5] {
            let end = try Self.follow(Self.start(count), "\(count) controllers")
            #expect(end.seed.isRetired && end.isDHCPAtControllers && end.agentsLeft == 0)
            #expect(end.controllers.values.allSatisfy { $0.isServing && $0.hasSecrets && $0.blobsShort == 0 })
        }
    }

    @Test("From any state that may be found it ends well, or says why not")
    func anyState() throws {
        var (ended, refused) = (0, 0)
        for seed in 1...3000 as ClosedRange<UInt64> {
            var random = SeededRandom(seed: seed)
            func bit() -> Bool { Bool.random(using: &random) }
            var sight = Self.start([1, 3, 5][Int.random(in: 0..<3, using: &random)])
            let isServed = bit()
            for name in sight.controllers.keys {
                sight.controllers[name] = .init(
                    isReady: bit(), hasSecrets: bit(), isMemberAssigned: bit(), isMemberHealthy: bit(),
                    blobsShort: bit() ? 0 : 3, isServing: isServed && bit())
            }
            sight.seed = .init(
                isReachable: Int.random(in: 0..<5, using: &random) > 0, isReadOnly: bit(), revision: 10,
                servesDHCP: bit())
            sight.agentsLeft = bit() ? 0 : 5
            sight.copy = bit() ? nil : .init(revision: bit() ? 10 : 9, isWhole: bit(), isVerified: bit())
            do {
                let end = try Self.follow(sight, "seed \(seed)")
                ended += 1
                #expect(end.seed.isRetired && end.controllers.values.allSatisfy(\.isServing), "seed \(seed)")
            } catch {
                refused += 1
                switch try #require(error as? PivotRefusal) {
                case .seedSilent: #expect(!sight.seed.isReachable)
                case .twoTruths: #expect(sight.isPastReturn && !sight.seed.isReadOnly)
                case .unverified:
                    #expect(sight.isPastReturn && sight.copy?.isVerified != true || sight.copy?.isWhole != true)
                default: Issue.record("seed \(seed): \(error)")
                }
            }
        }
        #expect(ended > 300 && refused > 300, "\(ended) ended, \(refused) refused")
    }

    @Test("There is a way back until a controller serves, and none afterwards")
    func back() throws {
        var sight = Self.start()
        var isPast = false
        for step in try PivotPlan(from: sight).steps {
            sight = sight.after(step)
            if case .startConductor = step { isPast = true }
            if isPast {
                #expect(throws: PivotRefusal.pastReturn) { try PivotPlan(back: sight) }
            } else {
                var home = sight
                for step in try PivotPlan(back: sight).steps { home = home.after(step) }
                #expect(!home.seed.isReadOnly && home.seed.servesDHCP, "after \(step)")
            }
        }
        #expect(isPast)
    }

    @Test("A store is founded by one, three or five")
    func counts() {
        #expect(throws: PivotRefusal.badCount(2)) { try PivotPlan(from: Self.start(2)) }
        #expect(throws: PivotRefusal.noControllers) { try PivotPlan(from: Self.start(0)) }
    }
}
