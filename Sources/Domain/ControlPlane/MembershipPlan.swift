import AgentProtocol
import Primitives

/// One step on a control plane's way; each may be done twice.
public enum MembershipStep: Hashable, Sendable {
    /// Wait until a controller is active, its agent is connected, and it has its secrets and certificates.
    case prepare(String)
    /// Tell the store of a member that learns.
    case addLearner(String)
    /// Have the controller run the member.
    case startMember(String)
    /// Wait until the learner has what the leader has.
    case awaitCatchUp(String)
    /// Have the learner vote.
    case promote(String)
    /// Have the controller run a conductor, and wait until it serves.
    case startConductor(String)
    /// Tell proxies, the shared address and agents who the controllers are.
    case publish([String])
    /// Copy blobs until each is on two of the wanted controllers, or on the only one.
    case copyBlobs
    /// End the conductor of a controller that leaves.
    case stopConductor(String)
    /// Have another member lead before the leader leaves.
    case moveLeader(from: String, to: String)
    /// Take a member out of the store.
    case removeMember(String, id: UInt64)
    /// End what is left of a member on a controller that has left.
    case stopMember(String)
    /// Wait until a conductor answers at the shared address.
    case awaitAddress(SocketAddress)

    /// Whether it changes who votes, or how many the store waits for.
    public var changesMembers: Bool {
        switch self {
        case .addLearner, .promote, .removeMember: true
        default: false
        }
    }

    /// The controller that it is about; nil: it is about all.
    public var controller: String? {
        switch self {
        case .prepare(let name), .addLearner(let name), .startMember(let name), .awaitCatchUp(let name),
            .promote(let name), .startConductor(let name), .stopConductor(let name), .moveLeader(_, to: let name),
            .removeMember(let name, _), .stopMember(let name):
            name
        case .publish, .copyBlobs, .awaitAddress: nil
        }
    }
}

extension MembershipStep: CustomStringConvertible {
    public var description: String {
        switch self {
        case .prepare(let name): "make sure that \(name) is ready"
        case .addLearner(let name): "add \(name) to the store as a learner"
        case .startMember(let name): "start the store's member on \(name)"
        case .awaitCatchUp(let name): "wait until \(name) has caught up"
        case .promote(let name): "let \(name) vote"
        case .startConductor(let name): "start the conductor on \(name)"
        case .publish(let names): "tell proxies and agents: \(names.joined(separator: ", "))"
        case .copyBlobs: "copy blobs until each is where it shall be"
        case .stopConductor(let name): "stop the conductor on \(name)"
        case .moveLeader(let old, let new): "have \(new) lead the store instead of \(old)"
        case .removeMember(let name, let id): "remove \(name) (member \(Hex.encode(id))) from the store"
        case .stopMember(let name): "stop the store's member on \(name)"
        case .awaitAddress(let address): "wait until the API answers at \(address), which the controllers share"
        }
    }
}

extension Hex {
    fileprivate static func encode(_ value: UInt64) -> String {
        encode((0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * $0)) })
    }
}

/// Why a control plane is left as it is.
public enum MembershipRefusal: UserFacingError, Hashable {
    case badCount(Int)
    case namedTwice
    /// A controller is wanted that there is none of that name.
    case unknownController(String)
    /// Too few members answer for the store to take writes.
    case noQuorum(QuorumProof.Voters, silent: [String])
    /// A member that is wanted does not answer, and nothing may be changed while it is so.
    case memberDown(String)
    /// A step would take the quorum away.
    case quorumWouldBeLost(MembershipStep, QuorumProof)
    /// A step was carried out, and is needed again.
    case noProgress(MembershipStep)

    /// Whether it may be over in seconds, as after an election or the restart of a member.
    public var mayPass: Bool {
        switch self {
        case .noQuorum, .memberDown, .quorumWouldBeLost: true
        case .badCount, .namedTwice, .unknownController, .noProgress: false
        }
    }

    public var publicMessage: String {
        switch self {
        case .badCount(let count):
            "\(count) controllers are no better than \(max(1, count - 1)): name 1, 3, 5 or 7, so that more than half can "
                + "always be told from less."
        case .namedTwice: "A controller is named twice."
        case .unknownController(let name):
            "There is no controller '\(name)': give a node the role first (muster node list --role controller)."
        case .noQuorum(let voters, let silent):
            "The store has no quorum (\(voters)): \(silent.joined(separator: ", ")) "
                + "\(silent.count == 1 ? "does" : "do") not answer. Bring \(voters.quorum - voters.healthy) back first; if "
                + "they are lost for good, put the newest backup into an empty site (muster restore)."
        case .memberDown(let name):
            "The store's member on \(name) does not answer. Start that controller, or replace it: muster controller "
                + "replace \(name) --with NODE"
        case .quorumWouldBeLost(let step, let proof):
            "To \(step) would leave the store without quorum (\(proof.after)). Add or start another controller first."
        case .noProgress(let step):
            "It was done three times without effect: \(step). See the conductor's log and: muster controller list"
        }
    }
}

/// The ordered steps from what is seen to what is wanted, each with its proof.
///
/// A pure function: the plan of what is seen after some of its steps is the rest of it, so that whoever goes on after a
/// crash just plans again. Only one member is changed at a time, and only while enough answer before and after. An even
/// number of voters is only passed through.
public struct MembershipPlan: Hashable, Sendable {
    /// A step and what it does to the quorum.
    public struct Entry: Hashable, Sendable {
        public var step: MembershipStep
        public var proof: QuorumProof
    }

    /// The steps; empty when all is as it is wanted.
    public let entries: [Entry]

    /// More than any plan has: a guard against a planner that does not come to an end.
    private static let entryCountMax = 200

    /// Plans. Throws `MembershipRefusal` when the first step, or one of those after it, may not be taken.
    public init(from sight: ControlPlaneSight, to wish: ControlPlaneWish) throws(MembershipRefusal) {
        var entries: [Entry] = []
        var sight = sight
        while let entry = try Self.next(sight, wish) {
            guard entries.count < Self.entryCountMax else { throw .noProgress(entry.step) }
            entries.append(entry)
            sight = sight.after(entry.step)
        }
        self.entries = entries
    }

    /// The first step, with its proof; nil when all is as it is wanted.
    static func next(_ sight: ControlPlaneSight, _ wish: ControlPlaneWish) throws(MembershipRefusal) -> Entry? {
        let voters = sight.voters
        guard voters.haveQuorum else {
            let silent = sight.members.filter { !$0.isLearner && !$0.isHealthy }.map(\.controller).sorted()
            throw .noQuorum(voters, silent: silent)
        }
        guard let step = try step(sight, wish) else { return nil }
        let proof = QuorumProof(before: voters, after: sight.after(step).voters)
        guard proof.holds else { throw .quorumWouldBeLost(step, proof) }
        return Entry(step: step, proof: proof)
    }

    private static func step(
        _ sight: ControlPlaneSight, _ wish: ControlPlaneWish
    ) throws(MembershipRefusal) -> MembershipStep? {
        let missing = wish.controllers.filter { name in !sight.members.contains { $0.controller == name } }
        // Who replaces another is ready before anything is taken away.
        for name in missing {
            guard let controller = sight.controllers[name] else { throw .unknownController(name) }
            if !controller.isReady { return .prepare(name) }
        }
        // The store adds nobody while one that votes does not answer, so the dead go before the new come.
        let members = sight.members.sorted { ($0.controller, $0.id) < ($1.controller, $1.id) }
        if let dead = members.first(where: { !$0.isLearner && !$0.isHealthy && !wish.includes($0) }) {
            return .removeMember(dead.controller, id: dead.id)
        }
        if let learner = members.first(where: \.isLearner) { return ahead(learner, sight, wish) }
        let voters = members.filter { wish.includes($0) }
        if let down = voters.first(where: { !$0.isHealthy }) { throw .memberDown(down.controller) }
        for voter in voters where sight.controllers[voter.controller]?.isServing != true {
            return .startConductor(voter.controller)
        }
        if let name = missing.first { return .addLearner(name) }
        if sight.published != Set(wish.controllers) { return .publish(wish.controllers) }
        if sight.blobsShort > 0 { return .copyBlobs }
        if let step = leave(members.filter { !wish.includes($0) }, sight, wish) ?? clearUp(sight, wish) { return step }
        // Last of all: nothing else may wait for an address that is lost.
        return sight.isAddressSilent ? wish.address.map(MembershipStep.awaitAddress) : nil
    }

    /// The next step of a member that learns; one at a time does.
    private static func ahead(
        _ learner: ControlPlaneSight.Member, _ sight: ControlPlaneSight, _ wish: ControlPlaneWish
    ) -> MembershipStep {
        let name = learner.controller
        guard wish.includes(learner) else { return .removeMember(name, id: learner.id) }
        if !learner.isStarted || sight.controllers[name]?.isMemberAssigned != true { return .startMember(name) }
        return learner.isHealthy && learner.isCaughtUp ? .promote(name) : .awaitCatchUp(name)
    }

    /// The next step of those that are well and leave, the leader last.
    private static func leave(
        _ leaving: [ControlPlaneSight.Member], _ sight: ControlPlaneSight, _ wish: ControlPlaneWish
    ) -> MembershipStep? {
        guard let member = leaving.first(where: { !$0.isLeader }) ?? leaving.first else { return nil }
        let name = member.controller
        if sight.controllers[name]?.isConductorAssigned == true, !wish.controllers.contains(name) {
            return .stopConductor(name)
        }
        let heir = sight.members.filter { !$0.isLearner && $0.isHealthy && wish.includes($0) }
            .min { $0.controller < $1.controller }
        if member.isLeader, let heir { return .moveLeader(from: name, to: heir.controller) }
        return .removeMember(name, id: member.id)
    }

    /// What is left to be ended on controllers that have left, also on those that do not answer: their views say it.
    private static func clearUp(_ sight: ControlPlaneSight, _ wish: ControlPlaneWish) -> MembershipStep? {
        for (name, controller) in sight.controllers.sorted(by: { $0.key < $1.key })
        where !wish.controllers.contains(name) {
            if controller.isConductorAssigned { return .stopConductor(name) }
            if controller.isMemberAssigned { return .stopMember(name) }
        }
        return nil
    }
}
