import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel

/// Carries a control plane's steps out on the real store: writes what each controller runs into `fleet.controlplane`,
/// from which the controllers' views are made, and changes the store's members. For the conductor that leads.
public struct ControlPlaneDesk: ControlPlaneActions {
    /// Why a step was not done.
    public enum Failure: UserFacingError, Hashable {
        case noControlPlane
        /// The effect of a step did not show.
        case late(String, Duration)
        /// A controller or a member went away under the step.
        case gone(String)

        public var publicMessage: String {
            switch self {
            case .noControlPlane: "The site has no control plane; begin one with: muster controller pivot"
            case .late(let step, let patience):
                "It took more than \(patience.components.seconds) s to \(step). See the node (muster why NODE); the same "
                    + "command goes on."
            case .gone(let name): "\(name) is not there any more; run the same command again."
            }
        }
    }

    private let store: any ResourceStore
    private let membership: any StoreMembership
    private let surroundings: any ControllerSurroundings
    private let clock: any WallClock
    /// How long a step's effect may take.
    private let patience: Duration
    private let pause: @Sendable () async throws -> Void

    /// A desk; `pause` waits between two looks.
    public init(
        store: any ResourceStore, membership: any StoreMembership, surroundings: any ControllerSurroundings,
        clock: any WallClock, patience: Duration = .seconds(600),
        pause: @escaping @Sendable () async throws -> Void = { try await Task.sleep(for: .milliseconds(500)) }
    ) {
        self.store = store
        self.membership = membership
        self.surroundings = surroundings
        self.clock = clock
        self.patience = patience
        self.pause = pause
    }

    /// Makes the control plane what its specification says; what is in the way is told in its status, and thrown.
    public func settle() async throws {
        let spec = try await record().spec
        do {
            let wish = try ControlPlaneWish(
                controllers: spec.controllers, retired: Set(spec.retired.compactMap { UInt64($0, radix: 16) }))
            _ = try await ControlPlaneExecutor(self).run(wish)
        } catch {
            let problem = (error as? any UserFacingError)?.publicMessage ?? "An internal error; see the log."
            try await change { status in
                if error is MembershipRefusal { status.phase = .refused }
                status.problem = problem
            }
            throw error
        }
    }

    public func look(for wish: ControlPlaneWish) async throws -> ControlPlaneSight {
        let status = try await record().status
        let states = try await surroundings.controllers()
        var names: [IPv4Address: String] = [:]
        for (name, state) in states { names[state.address] = name }
        for assignment in status.assignments { names[assignment.address] = assignment.controller }
        let members = try await membership.members().map { member in
            ControlPlaneSight.Member(
                id: member.id, controller: member.peer.flatMap { names[$0.host] } ?? "member-\(member.id)",
                isLearner: member.isLearner, isStarted: member.isStarted, isHealthy: member.isHealthy,
                isCaughtUp: member.isCaughtUp, isLeader: member.isLeader)
        }
        var controllers = states.mapValues {
            ControlPlaneSight.Controller(isReady: $0.isReady, isServing: $0.isServing)
        }
        for assignment in status.assignments {
            var controller = controllers[assignment.controller] ?? ControlPlaneSight.Controller(isReady: false)
            controller.isMemberAssigned = assignment.member != nil
            controller.isConductorAssigned = assignment.runsConductor
            controllers[assignment.controller] = controller
        }
        return ControlPlaneSight(
            members: members, controllers: controllers, published: Set(status.published),
            blobsShort: try await surroundings.blobsShort(on: wish.controllers))
    }

    public func show(_ plan: MembershipPlan) async {
        let steps = plan.entries.map {
            ControlPlaneRecord.PlannedStep(
                step: $0.step.description, voters: $0.step.changesMembers ? $0.proof.after.description : nil)
        }
        // A plan that is not shown is carried out all the same; the next one is shown with the next step.
        try? await change { status in
            if status.plan.first != steps.first { status.since = clock.now }
            status.plan = steps
            status.phase = steps.isEmpty ? .settled : .changing
            status.problem = nil
        }
    }

    public func carryOut(_ step: MembershipStep, from sight: ControlPlaneSight) async throws {
        switch step {
        case .prepare(let name): try await wait(step) { try await state(name)?.isReady == true }
        case .addLearner(let name):
            let address = try await address(of: name)
            try await membership.addLearner(SocketAddress(host: address, port: EtcdMemberItem.Port.peer))
        case .startMember(let name): try await startMember(name, step)
        case .awaitCatchUp(let name):
            try await wait(step) {
                let member = try await member(on: name)
                return member?.isHealthy == true && member?.isCaughtUp == true
            }
        case .promote(let name):
            guard let member = try await member(on: name) else { throw Failure.gone(name) }
            if member.isLearner { try await membership.promote(member.id) }
        case .startConductor(let name):
            let address = try await address(of: name)
            try await assign(name, address) { $0.runsConductor = true }
            try await wait(step) { try await state(name)?.isServing == true }
        case .publish(let names): try await change { $0.published = names.sorted() }
        case .copyBlobs:
            let spec = try await record().spec
            try await surroundings.copyBlobs(to: spec.controllers)
            try await wait(step) { try await surroundings.blobsShort(on: spec.controllers) == 0 }
        case .stopConductor(let name):
            try await withdraw(name) { $0.runsConductor = false }
            // One whose node does not answer ends once it comes back and reads its view.
            guard try await state(name)?.isReady == true else { return }
            try await wait(step) { try await state(name)?.isServing != true }
        case .moveLeader(_, let name):
            guard let member = try await member(on: name) else { throw Failure.gone(name) }
            try await membership.moveLeader(to: member.id)
            try await wait(step) { try await membership.members().contains { $0.id == member.id && $0.isLeader } }
        case .removeMember(_, let id):
            guard try await membership.members().contains(where: { $0.id == id }) else { return }
            try await membership.remove(id)
        case .stopMember(let name): try await withdraw(name) { $0.member = nil }
        }
    }

    /// Tells a controller's view of the membership that the store has for it, and waits until it has joined.
    private func startMember(_ name: String, _ step: MembershipStep) async throws {
        let address = try await address(of: name)
        let members = try await membership.members()
        guard let member = members.first(where: { $0.peer?.host == address }) else { throw Failure.gone(name) }
        let assignments = try await record().status.assignments
        let cluster = members.compactMap { other -> EtcdMemberItem.Peer? in
            guard let peer = other.peer else { return nil }
            let known = assignments.first { $0.address == peer.host }?.controller
            return EtcdMemberItem.Peer(
                name: other.id == member.id ? name : known ?? "member-\(other.id)", address: peer)
        }
        let own = ControlPlaneRecord.Member(
            incarnation: String(member.id, radix: 16), founding: .existing, cluster: cluster)
        try await assign(name, address) { $0.member = own }
        try await wait(step) { try await self.member(on: name)?.isStarted == true }
    }

    // MARK: What is there

    private func record() async throws -> ControlPlaneRecord {
        guard let stored = try await store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name) else {
            throw Failure.noControlPlane
        }
        return stored.value
    }

    private func state(_ name: String) async throws -> ControllerState? { try await surroundings.controllers()[name] }

    private func address(of name: String) async throws -> IPv4Address {
        if let own = try await record().status.assignments.first(where: { $0.controller == name }) {
            return own.address
        }
        guard let state = try await state(name) else { throw Failure.gone(name) }
        return state.address
    }

    private func member(on name: String) async throws -> StoreMember? {
        let address = try await address(of: name)
        return try await membership.members().first { $0.peer?.host == address }
    }

    private func wait(_ step: MembershipStep, until isDone: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + patience
        while try await !isDone() {
            guard ContinuousClock.now < deadline else { throw Failure.late("\(step)", patience) }
            try await pause()
        }
    }

    // MARK: What is written

    private func assign(
        _ name: String, _ address: IPv4Address, _ body: @escaping (inout ControlPlaneRecord.Assignment) -> Void
    ) async throws {
        try await change { status in
            var own =
                status.assignments.first { $0.controller == name }
                ?? ControlPlaneRecord.Assignment(controller: name, address: address)
            body(&own)
            status.assignments.removeAll { $0.controller == name }
            status.assignments.append(own)
            status.assignments.sort { $0.controller < $1.controller }
        }
    }

    private func withdraw(
        _ name: String, _ body: @escaping (inout ControlPlaneRecord.Assignment) -> Void
    ) async throws {
        try await change { status in
            for index in status.assignments.indices where status.assignments[index].controller == name {
                body(&status.assignments[index])
            }
            status.assignments.removeAll { $0.member == nil && !$0.runsConductor }
        }
    }

    private func change(_ body: (inout ControlPlaneRecord.Status) -> Void) async throws {
        try await store.update(ControlPlaneRecord.self, ControlPlaneRecord.name) { (current) throws(Failure) in
            guard var stored = current else { throw .noControlPlane }
            let before = stored.value.status
            body(&stored.value.status)
            return stored.value.status == before ? nil : stored
        }
    }
}
