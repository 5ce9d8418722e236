import AgentProtocol
import Primitives
import TestSupport
import Testing

@testable import ControlPlane

@Suite struct MembershipPlanTests {
    static func steps(_ voters: String, _ wanted: String, retired: Set<UInt64> = []) throws -> [String] {
        let wish = try ControlPlaneWish(controllers: wanted.map(String.init), retired: retired)
        return try MembershipPlan(from: .of(voters), to: wish).entries.map { "\($0.step) [\($0.proof.after)]" }
    }

    @Test("Growing from one to three, replacing one that is dead, shrinking to one: the plans as they are frozen")
    func golden() throws {
        var text = ""
        for (title, voters, wanted, retired) in [
            ("From one to three", "A", "abc", []), ("From three to five", "ABC", "abcde", []),
            ("In the place of one that is dead", "ABc", "abd", []),
            ("In the place of one that is well", "ABC", "abd", []),
            ("The same controller with an empty disk", "ABc", "abc", [102]),
            ("From five to three, the leader among those that leave", "ABCDE", "cde", []),
            ("Back to one", "ABC", "b", []), ("Nothing to do", "ABC", "abc", []),
        ] as [(String, String, String, Set<UInt64>)] {
            text +=
                "\(title)\n" + (try Self.steps(voters, wanted, retired: retired)).map { "  \($0)\n" }.joined() + "\n"
        }
        try GoldenFile.compare(text, with: "controlplane/plans.txt")
    }

    @Test("What would cost the quorum, or nobody can do, is refused in words that say what to do")
    func refusals() throws {
        func refusal(_ voters: String, _ wanted: String, retired: Set<UInt64> = []) -> MembershipRefusal? {
            do {
                _ = try Self.steps(voters, wanted, retired: retired)
                return nil
            } catch { return error as? MembershipRefusal }
        }
        #expect(refusal("Abc", "abc") == .noQuorum(.init(count: 3, healthy: 1), silent: ["b", "c"]))
        #expect(refusal("Abc", "abc")?.publicMessage.contains("Bring 1 back first") == true)
        #expect(refusal("ABc", "abc") == .memberDown("c"))
        #expect(refusal("ABc", "abc")?.publicMessage.contains("muster controller replace c --with NODE") == true)
        #expect(refusal("ABC", "ab") == .badCount(2))
        #expect(refusal("ABC", "") == .badCount(0))
        #expect(refusal("ABC", "abx") == .unknownController("x"))
        // The only member cannot be made anew: there would be none to learn from.
        guard case .quorumWouldBeLost(.removeMember("a", id: 100), _)? = refusal("A", "a", retired: [100]) else {
            Issue.record("\(String(describing: refusal("A", "a", retired: [100])))")
            return
        }
    }

    @Test("A shared address that nobody answers at is waited for last of all, and keeps nothing from being done")
    func silentAddress() throws {
        let address = SocketAddress(host: IPv4Address(0x0A4D_0005), port: 9443)
        func steps(_ voters: String, _ wanted: String, _ address: SocketAddress?) throws -> [MembershipStep] {
            var sight = ControlPlaneSight.of(voters)
            sight.isAddressSilent = true
            sight.blobsShort = 1
            let wish = try ControlPlaneWish(controllers: wanted.map(String.init), address: address)
            return try MembershipPlan(from: sight, to: wish).entries.map(\.step)
        }
        for (voters, wanted) in [("A", "abc"), ("ABc", "abd"), ("ABC", "b"), ("ABC", "abc")] {
            let all = try steps(voters, wanted, nil)
            #expect(try steps(voters, wanted, address) == all + [.awaitAddress(address)])
        }
        #expect(
            MembershipStep.awaitAddress(address).description
                == "wait until the API answers at 10.77.0.5:9443, which the controllers share")
    }

    /// Every control plane of up to five controllers, each absent, well or down, with each wish, and a learner or none.
    @Test("All small configurations: each step keeps the quorum and the plan ends as it is wanted, or it is refused")
    func everyConfiguration() throws {
        let names = ["a", "b", "c", "d", "e"]
        let wishes = try (1..<32).map { bits in (0..<5).filter { bits >> $0 & 1 == 1 }.map { names[$0] } }
            .filter { $0.count % 2 == 1 }.map { try ControlPlaneWish(controllers: $0) }
        var (plans, refusals) = (0, 0)
        for code in 1..<243 {
            let digits = (0..<5).map { code / [1, 3, 9, 27, 81][$0] % 3 }
            let voters = zip(names, digits).map { $1 == 0 ? "" : $1 == 1 ? $0.uppercased() : $0 }.joined()
            let ready: Set<String> = code % 2 == 0 ? Set(names) : []
            let plain = ControlPlaneSight.of(voters, ready: ready)
            for wish in wishes {
                for sight in [plain] + Self.withLearner(plain) {
                    do throws(MembershipRefusal) {
                        try Self.follow(MembershipPlan(from: sight, to: wish), from: sight, to: wish)
                        plans += 1
                    } catch {
                        Self.judge(error, sight, wish)
                        refusals += 1
                    }
                }
            }
        }
        #expect(plans > 1000 && refusals > 3000, "\(plans) plans, \(refusals) refusals")
    }

    /// The same with one that learns and is half way, where one is absent.
    private static func withLearner(_ sight: ControlPlaneSight) -> [ControlPlaneSight] {
        guard
            let name = ["a", "b", "c", "d", "e"].first(where: { name in
                !sight.members.contains { $0.controller == name }
            })
        else { return [] }
        var copy = sight
        copy.members.append(
            .init(id: 900, controller: name, isLearner: true, isStarted: false, isHealthy: false, isCaughtUp: false))
        return [copy]
    }

    private static func follow(_ plan: MembershipPlan, from start: ControlPlaneSight, to wish: ControlPlaneWish) {
        var sight = start
        for entry in plan.entries {
            let before = sight
            sight = sight.after(entry.step)
            #expect(entry.proof.before == before.voters && entry.proof.after == sight.voters && entry.proof.holds)
            let changed = Set(before.members.map(\.controller)).symmetricDifference(sight.members.map(\.controller))
            #expect(changed.count <= 1 && abs(before.voters.count - sight.voters.count) <= 1, "\(entry.step)")
            #expect(sight.members.count(where: \.isLearner) <= 1)
        }
        let names = sight.members.map(\.controller).sorted()
        #expect(names == wish.controllers && sight.voters.healthy == names.count, "\(start) \(wish)")
        #expect(sight.published == Set(names) && names.allSatisfy { sight.controllers[$0]?.isServing == true })
        let others = sight.controllers.filter { !names.contains($0.key) }.values
        #expect(!others.contains { $0.isMemberAssigned || $0.isConductorAssigned })
    }

    private static func judge(_ refusal: MembershipRefusal, _ sight: ControlPlaneSight, _ wish: ControlPlaneWish) {
        switch refusal {
        case .noQuorum: #expect(!sight.voters.haveQuorum)
        case .memberDown(let name):
            #expect(
                sight.members.contains { $0.controller == name && !$0.isHealthy } && wish.controllers.contains(name))
        default: Issue.record("\(refusal) for \(sight)")
        }
    }
}
