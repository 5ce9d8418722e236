import Primitives
import ResourceModel
import TestSupport
import Testing

@testable import ControlPlane

@Suite struct PivotPlanTests {
    static func start(_ count: Int = 3) -> PivotSight {
        PivotSight(
            seed: .init(revision: 4711),
            controllers: Dictionary(
                uniqueKeysWithValues: ["a", "b", "c", "d", "e"].prefix(count).map { ($0, PivotSight.Controller()) }),
            agentsLeft: 7)
    }

    @Test("From a seed to three controllers: the plan as it is frozen")
    func golden() throws {
        let steps = try PivotPlan(from: Self.start()).steps
        try GoldenFile.compare(steps.map { "\($0)\n" }.joined(), with: "controlplane/pivot.txt")
        let frozen = steps.drop { $0 != .freezeSeed }.prefix { $0 != .openStore }
        #expect(
            Array(frozen) == [.freezeSeed, .stopSeedDHCP, .copyStore, .verifyStore], "all that takes long is before")
        let reserved = try #require(steps.firstIndex(of: .reserveStore))
        #expect(reserved < steps.firstIndex(of: .assignConductors) ?? 0, "no conductor finds a store without the mark")
    }

    /// What must never be, of a state and the step that led to it.
    private static func judge(_ step: PivotStep, _ before: PivotSight, _ after: PivotSight, _ source: String) {
        #expect(
            !after.isPastReturn || after.seed.isReadOnly || after.seed.isRetired, "two stores take writes: \(source)")
        if step.isWait, !before.isPastReturn { #expect(!before.seed.isReadOnly, "frozen while it waits: \(source)") }
        if step == .copyStore { #expect(before.seed.isReadOnly, "copied while it changes: \(source)") }
        if step == .assignConductors {
            if case .reserved = before.store {} else { Issue.record("conductors without the mark: \(source)") }
        }
        if step == .openStore {
            let copy = PivotSight.Copy(revision: before.seed.revision, isVerified: true)
            #expect(before.store == .reserved(copy) && !before.seed.servesDHCP, "opened unverified: \(source)")
        }
        if step == .retireSeed { #expect(before.isSettled && before.isPastReturn, "\(source)") }
    }

    /// Follows a plan step by step, each time planned anew, and checks what must never be.
    private static func follow(_ start: PivotSight, _ source: String) throws -> PivotSight {
        var sight = start
        for _ in 0..<60 {
            let plan = try PivotPlan(from: sight)
            guard let step = plan.steps.first else { return sight }
            let next = sight.after(step)
            #expect(try PivotPlan(from: next).steps == Array(plan.steps.dropFirst()), "\(source)")
            judge(step, sight, next, source)
            sight = next
        }
        Issue.record("it never ends: \(source)")
        return sight
    }

    @Test("Broken off after any step, the rest of the plan is what is planned again")
    func resumed() throws {
        for count in [1, 3, 5] {
            let end = try Self.follow(Self.start(count), "\(count) controllers")
            #expect(end.seed.isRetired && end.isSettled && end.agentsLeft == 0 && end.isPublished)
            #expect(end.controllers.values.allSatisfy { $0.isConductorAssigned && $0.hasSecrets && $0.isMemberHealthy })
        }
    }

    @Test("From any state that may be found it ends well, or says why not")
    func anyState() throws {
        var (ended, refused) = (0, 0)
        let stranger = ResourceKey(kind: "test.thing", name: "stranger")
        for seed in 1...3000 as ClosedRange<UInt64> {
            var random = SeededRandom(seed: seed)
            func bit() -> Bool { Bool.random(using: &random) }
            var sight = Self.start([1, 3, 5][Int.random(in: 0..<3, using: &random)])
            for name in sight.controllers.keys {
                sight.controllers[name] = .init(
                    isReady: bit(), hasSecrets: bit(), isMemberAssigned: bit(), isMemberHealthy: bit(),
                    isConductorAssigned: bit())
            }
            sight.seed = .init(isReadOnly: bit(), revision: 10, servesDHCP: bit(), hasLetGo: bit())
            sight.agentsLeft = bit() ? 0 : 5
            sight.isPublished = bit()
            sight.isSettled = bit()
            let copy = bit() ? nil : PivotSight.Copy(revision: bit() ? 10 : 9, isVerified: bit())
            let stores: [PivotSight.Store] = [.silent, .empty, .reserved(copy), .taken(stranger), .open]
            sight.store = stores[Int.random(in: 0..<stores.count, using: &random)]
            do {
                let end = try Self.follow(sight, "seed \(seed)")
                ended += 1
                #expect(end.seed.isRetired && end.isPastReturn, "seed \(seed)")
            } catch {
                refused += 1
                switch try #require(error as? PivotRefusal) {
                case .twoTruths: #expect(sight.isPastReturn && !sight.seed.isReadOnly)
                case .storeTaken(let key): #expect(sight.store == .taken(key))
                default: Issue.record("seed \(seed): \(error)")
                }
            }
        }
        #expect(ended > 300 && refused > 300, "\(ended) ended, \(refused) refused")
    }

    @Test("What has to be waited for while the seed is frozen thaws it first")
    func thaws() throws {
        var sight = Self.start()
        for step in try PivotPlan(from: sight).steps.prefix(while: { $0 != .verifyStore }) { sight = sight.after(step) }
        #expect(sight.seed.isReadOnly)
        var blip = sight
        blip.controllers["b"]?.isReady = false
        blip.agentsLeft = 3
        #expect(try PivotPlan(from: blip).steps.first == .verifyStore, "a stream that ends now does not matter")
        blip.controllers["b"]?.isMemberHealthy = false
        #expect(try Array(PivotPlan(from: blip).steps.prefix(3)) == [.thawSeed, .startSeedDHCP, .prepare("b")])
    }

    @Test("There is a way back until the new store is open, and none afterwards")
    func back() throws {
        var sight = Self.start()
        for step in try PivotPlan(from: sight).steps {
            sight = sight.after(step)
            if sight.isPastReturn {
                #expect(throws: PivotRefusal.pastReturn) { try PivotPlan(back: sight) }
            } else {
                var home = sight
                for step in try PivotPlan(back: sight).steps { home = home.after(step) }
                #expect(!home.seed.isReadOnly && home.seed.servesDHCP && !home.isPublished, "after \(step)")
                #expect(home.controllers.values.allSatisfy { !$0.isMemberAssigned && !$0.isConductorAssigned })
            }
        }
        #expect(sight.isPastReturn)
    }

    @Test("A store is founded by one, three or five")
    func counts() {
        #expect(throws: PivotRefusal.badCount(2)) { try PivotPlan(from: Self.start(2)) }
        #expect(throws: PivotRefusal.noControllers) { try PivotPlan(from: Self.start(0)) }
    }
}
