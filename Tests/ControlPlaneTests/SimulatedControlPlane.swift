import ControlPlane
import Primitives

/// A control plane that does what its steps say, as etcd would let it, and that its steps are broken off in.
actor SimulatedControlPlane: ControlPlaneActions {
    struct Crash: Error, Hashable {}

    /// Where in the steps that are carried out the executor dies next; nil: nowhere.
    enum Fault: Hashable { case before(Int), within(Int), after(Int) }

    private(set) var sight: ControlPlaneSight
    /// What no step may ever do.
    private(set) var violations: [String] = []
    private(set) var shown: [MembershipPlan] = []
    private var fault: Fault?
    private var count = 0
    private var nextID: UInt64
    /// Has members die and come back between steps.
    private var weather: (@Sendable (inout ControlPlaneSight, inout SeededRandom) -> Void)?
    private var random: SeededRandom

    init(
        _ sight: ControlPlaneSight, fault: Fault? = nil, seed: UInt64 = 1,
        weather: (@Sendable (inout ControlPlaneSight, inout SeededRandom) -> Void)? = nil
    ) {
        self.sight = sight
        self.fault = fault
        self.weather = weather
        random = SeededRandom(seed: seed)
        nextID = (sight.members.map(\.id).max() ?? 0) + 1
    }

    func look(for wish: ControlPlaneWish) -> ControlPlaneSight { sight }

    func show(_ plan: MembershipPlan) { shown.append(plan) }

    func carryOut(_ step: MembershipStep, from seen: ControlPlaneSight) throws {
        count += 1
        if fault == .before(count) { throw Crash() }
        judge(step)
        if fault == .within(count), case .startMember(let name) = step {
            // Its view says it, and it has not joined yet.
            sight.controllers[name]?.isMemberAssigned = true
            throw Crash()
        }
        sight = sight.after(step)
        for index in sight.members.indices where sight.members[index].id == 0 {
            sight.members[index].id = nextID
            nextID += 1
        }
        electIfNeeded()
        if step.changesMembers, !sight.voters.haveQuorum { violations.append("no quorum after: \(step)") }
        if fault == .after(count) || fault == .within(count) { throw Crash() }
        if let weather {
            weather(&sight, &random)
            electIfNeeded()
        }
    }

    private func electIfNeeded() {
        guard sight.voters.haveQuorum else {
            for index in sight.members.indices { sight.members[index].isLeader = false }
            return
        }
        guard !sight.members.contains(where: { $0.isLeader && $0.isHealthy && !$0.isLearner }) else { return }
        for index in sight.members.indices { sight.members[index].isLeader = false }
        if let heir = sight.members.firstIndex(where: { !$0.isLearner && $0.isHealthy }) {
            sight.members[heir].isLeader = true
        }
    }

    /// What etcd refuses, and what nobody may do to a control plane.
    private func judge(_ step: MembershipStep) {
        func broken(_ why: String) { violations.append("\(step): \(why)") }
        if step.changesMembers, !sight.voters.haveQuorum { broken("without quorum") }
        switch step {
        case .addLearner(let name):
            // etcd 3.4: one learner, and every voter has to be connected (strict-reconfig-check).
            if sight.members.contains(where: \.isLearner) { broken("a second learner") }
            if sight.members.contains(where: { !$0.isHealthy }) { broken("unhealthy cluster") }
            if sight.members.contains(where: { $0.controller == name }) { broken("its address is taken") }
            if sight.controllers[name]?.isReady != true { broken("not ready") }
        case .promote(let name):
            let learner = sight.members.first { $0.controller == name && $0.isLearner }
            if learner?.isHealthy != true || learner?.isCaughtUp != true { broken("not caught up") }
        case .removeMember(let name, let id):
            let member = sight.members.first { $0.id == id }
            if member?.controller != name { broken("another member") }
            if member?.isHealthy == true, sight.blobsShort > 0 { broken("blobs are not copied yet") }
            if member?.isLeader == true, sight.members.count > 1 { broken("it leads") }
        case .moveLeader(_, let name):
            let heir = sight.members.first { $0.controller == name }
            if heir?.isHealthy != true || heir?.isLearner != false { broken("it cannot lead") }
        case .stopConductor(let name):
            if sight.published.contains(name) { broken("proxies still send to it") }
        default: break
        }
    }
}

extension ControlPlaneSight {
    /// Controllers `a` to `e`; `voters` says who votes, in capitals who is well: `ABc` has `a` and `b`, and `c` is down.
    static func of(_ voters: String, ready: Set<String> = ["a", "b", "c", "d", "e"], serving: Bool = true) -> Self {
        var controllers: [String: Controller] = [:]
        for name in ["a", "b", "c", "d", "e"] { controllers[name] = Controller(isReady: ready.contains(name)) }
        var members: [Member] = []
        for (index, letter) in voters.enumerated() {
            let name = letter.lowercased()
            let isHealthy = letter.isUppercase
            members.append(Member(id: UInt64(index + 100), controller: name, isHealthy: isHealthy))
            controllers[name]?.isMemberAssigned = true
            controllers[name]?.isConductorAssigned = serving
            controllers[name]?.isServing = serving && isHealthy
        }
        var sight = ControlPlaneSight(
            members: members, controllers: controllers, published: Set(members.map(\.controller)))
        if sight.voters.haveQuorum, let leader = members.firstIndex(where: \.isHealthy) {
            sight.members[leader].isLeader = true
        }
        return sight
    }
}
