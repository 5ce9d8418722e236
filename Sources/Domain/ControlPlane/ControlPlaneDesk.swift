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
        case late(MembershipStep, Duration)
        /// A controller or a member went away under the step.
        case gone(String)
        /// Nobody answers at the shared address, which has this router identifier.
        case addressSilent(SocketAddress, routerID: Int)

        public var publicMessage: String {
            switch self {
            case .noControlPlane: "The site has no control plane; begin one with: muster controller pivot"
            case .late(let step, let patience):
                "It took more than \(patience.components.seconds) s to \(step); it is tried again. See: "
                    + (step.controller.map { "muster node why \($0)" } ?? "muster conductor list")
            case .gone(let name): "\(name) is not there any more; it is looked at again."
            case .addressSilent(let address, let routerID):
                "No conductor answers at the shared address \(address). Each controller still answers at its own. One of them "
                    + "should have it (VIP in muster controller list); see each with muster node why, and that nobody else on "
                    + "their network has the address or VRRP's router identifier \(routerID). All else is as it was asked for."
            }
        }
    }

    private let store: any ResourceStore
    private let membership: any StoreMembership
    private let surroundings: any ControllerSurroundings
    private let clock: any WallClock
    /// How long a step's effect may take.
    private let patience: Duration
    /// How long the store may say that it is not the time, as it does just after an election, or not answer.
    private let refusalPatience: Duration
    private let pause: @Sendable () async throws -> Void
    /// The generation of the specification that is carried out.
    private var observed: Generation?

    /// A desk; `pause` waits between two looks.
    public init(
        store: any ResourceStore, membership: any StoreMembership, surroundings: any ControllerSurroundings,
        clock: any WallClock, patience: Duration = .seconds(600), refusalPatience: Duration = .seconds(15),
        pause: @escaping @Sendable () async throws -> Void = { try await Task.sleep(for: .milliseconds(500)) }
    ) {
        self.store = store
        self.membership = membership
        self.surroundings = surroundings
        self.clock = clock
        self.patience = patience
        self.refusalPatience = refusalPatience
        self.pause = pause
    }

    /// Makes the control plane what its specification says; what is in the way is told in its status, and thrown.
    ///
    /// May be cancelled at any time, and begun again by anybody.
    public func settle() async throws {
        let record = try await record()
        var desk = self
        desk.observed = record.metadata.generation
        do {
            _ = try await ControlPlaneExecutor(desk).run(try ControlPlaneWish(record.spec))
            try await desk.forgetThoseThatLeft()
        } catch let refusal as MembershipRefusal {
            try? await desk.change { status in
                status.phase = .refused
                status.problem = refusal.publicMessage
            }
            throw refusal
        }
    }

    /// The steps to what is wished as it is now, changing nothing; blobs are taken to have to be copied wherever somebody
    /// comes or leaves. With it come the voters as they are now. Throws `MembershipRefusal`.
    public func plan(
        for wish: ControlPlaneWish
    ) async throws -> (now: QuorumProof.Voters, plan: MembershipPlan) {
        var sight = try await sight(try await record().status)
        sight.blobsShort = Set(sight.members.map(\.controller)) == Set(wish.controllers) ? 0 : 1
        return (sight.voters, try MembershipPlan(from: sight, to: wish))
    }

    /// Blobs are counted only where the next step hangs on them: every conductor is asked for every one. What may pass is
    /// looked at again for a while, as is a shared address that nobody has, which all else that is to be done ends.
    public func look(for wish: ControlPlaneWish) async throws -> ControlPlaneSight {
        let deadline = ContinuousClock.now + refusalPatience
        var last: ControlPlaneSight?
        while true {
            let sight = try await lookOnce(for: wish, after: last)
            guard Self.mayPass(sight, wish), ContinuousClock.now < deadline else { return sight }
            last = sight
            try await pause()
        }
    }

    /// Whether what is in the way may be over in seconds.
    private static func mayPass(_ sight: ControlPlaneSight, _ wish: ControlPlaneWish) -> Bool {
        do {
            guard case .awaitAddress? = try MembershipPlan.next(sight, wish)?.step else { return false }
            return true
        } catch {
            return error.mayPass
        }
    }

    private func lookOnce(
        for wish: ControlPlaneWish, after last: ControlPlaneSight?
    ) async throws -> ControlPlaneSight {
        var sight = try await lookAtMembers(for: wish, after: last)
        if let address = wish.address, Self.isDone(sight, wish) {
            sight.isAddressSilent = await !surroundings.answers(at: address)
        }
        return sight
    }

    private static func isDone(_ sight: ControlPlaneSight, _ wish: ControlPlaneWish) -> Bool {
        do { return try MembershipPlan.next(sight, wish) == nil } catch { return false }
    }

    /// All but the shared address.
    private func lookAtMembers(
        for wish: ControlPlaneWish, after last: ControlPlaneSight?
    ) async throws -> ControlPlaneSight {
        let status = try await record().status
        var sight = try await insist { try await self.sight(status) }
        let steps = [0, 1].map { count -> MembershipStep? in
            sight.blobsShort = count
            return try? MembershipPlan.next(sight, wish)?.step
        }
        guard steps[0] != steps[1] else { return sight }
        if steps[0] == nil, last?.isAddressSilent == true || hasAllBlobs(status, wish) {
            sight.blobsShort = 0
        } else {
            sight.blobsShort = try await told {
                try await insist { try await surroundings.blobsShort(on: wish.controllers) }
            }
        }
        return sight
    }

    /// Whether blobs were counted since this was wished, and only the shared address may be missing.
    private func hasAllBlobs(_ status: ControlPlaneRecord.Status, _ wish: ControlPlaneWish) -> Bool {
        guard status.observed == observed else { return false }
        let last = wish.address.map { MembershipStep.awaitAddress($0).description }
        return status.phase == .settled || (last != nil && status.plan.map(\.step) == [last])
    }

    private func sight(_ status: ControlPlaneRecord.Status) async throws -> ControlPlaneSight {
        let states = try await surroundings.controllers()
        var names: [IPv4Address: String] = [:]
        for (name, state) in states { if let address = state.address { names[address] = name } }
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
            members: members, controllers: controllers, published: Set(status.published))
    }

    /// What was in the way of a step is told until that step is done, so that tries of it are not written each.
    public func show(_ plan: MembershipPlan) async throws {
        let steps = plan.entries.map(ControlPlaneRecord.PlannedStep.init)
        try await change { status in
            let isNext = status.plan.first != steps.first
            if isNext { status.since = clock.now }
            if isNext || steps.isEmpty || status.phase == .refused { status.problem = nil }
            status.plan = steps
            status.phase = steps.isEmpty ? .settled : .changing
        }
    }

    public func carryOut(_ step: MembershipStep, from sight: ControlPlaneSight) async throws {
        try await told { try await take(step) }
    }

    /// What is thrown is told in the status too.
    private func told<Result>(_ body: () async throws -> Result) async throws -> Result {
        do { return try await body() } catch {
            guard !(error is CancellationError), !Task.isCancelled else { throw error }
            let problem = (error as? any UserFacingError)?.publicMessage ?? "An internal error; see the log."
            try? await change { $0.problem = problem }
            throw error
        }
    }

    private func take(_ step: MembershipStep) async throws {
        switch step {
        case .prepare(let name): try await wait(step) { try await state(name)?.isReady == true }
        case .addLearner(let name):
            let peer = SocketAddress(host: try await address(of: name), port: EtcdMemberItem.Port.peer)
            try await insist { try await membership.addLearner(peer) }
        case .startMember(let name): try await startMember(name, step)
        case .awaitCatchUp(let name):
            try await wait(step) {
                let member = try await member(on: name)
                return member?.isHealthy == true && member?.isCaughtUp == true
            }
        case .promote(let name):
            try await insist {
                guard let member = try await member(on: name) else { throw Failure.gone(name) }
                if member.isLearner { try await membership.promote(member.id) }
            }
        case .startConductor(let name):
            let address = try await address(of: name)
            try await assign(name, address) { $0.runsConductor = true }
            try await wait(step) { try await state(name)?.isServing == true }
        case .publish(let names): try await change { $0.published = names.sorted() }
        case .copyBlobs: try await copyBlobs(step)
        case .stopConductor(let name):
            try await withdraw(name) { $0.runsConductor = false }
            // One whose node does not answer ends once it comes back and reads its view.
            if try await state(name)?.isReady == true {
                try await wait(step) { try await state(name)?.isServing != true }
            }
            if try await state(name)?.isServing != true { try await forget(name) }
        case .moveLeader(_, let name):
            guard let member = try await member(on: name) else { throw Failure.gone(name) }
            try await insist { try await membership.moveLeader(to: member.id) }
            try await wait(step) { try await membership.members().contains { $0.id == member.id && $0.isLeader } }
        case .removeMember(_, let id):
            try await insist {
                guard try await membership.members().contains(where: { $0.id == id }) else { return }
                try await membership.remove(id)
            }
        case .stopMember(let name): try await withdraw(name) { $0.member = nil }
        case .awaitAddress(let address):
            // It was looked for long enough, and the next look finds it if it is there. All else is done by now.
            try await forgetThoseThatLeft()
            let vip = try await record().spec.vip
            throw Failure.addressSilent(
                address, routerID: vip?.routerID ?? ControlPlaneRecord.SharedAddress.routerIDDefault)
        }
    }

    /// Copies until no blob is short; the step's time begins anew whenever there are fewer.
    private func copyBlobs(_ step: MembershipStep) async throws {
        let controllers = try await record().spec.controllers
        var (least, deadline) = (Int.max, ContinuousClock.now)
        while true {
            let count = try await insist { try await surroundings.blobsShort(on: controllers) }
            guard count > 0 else { return }
            if count < least { (least, deadline) = (count, .now + patience) }
            guard ContinuousClock.now < deadline else { throw Failure.late(step, patience) }
            try await insist { try await surroundings.copyBlobs(to: controllers) }
            try await pause()
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
        guard let address = try await state(name)?.address else { throw Failure.gone(name) }
        return address
    }

    private func member(on name: String) async throws -> StoreMember? {
        let address = try await address(of: name)
        return try await membership.members().first { $0.peer?.host == address }
    }

    /// Looks again and again; a look that fails is made again for a while, as `insist` does.
    private func wait(_ step: MembershipStep, until isDone: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + patience
        while true {
            if try await insist(isDone) { return }
            guard ContinuousClock.now < deadline else { throw Failure.late(step, patience) }
            try await pause()
        }
    }

    /// Asks again for a while when the store says that it is not the time, or does not answer.
    private func insist<Result>(_ body: () async throws -> Result) async throws -> Result {
        let deadline = ContinuousClock.now + refusalPatience
        while true {
            do { return try await body() } catch {
                guard !(error is CancellationError), !(error is Failure), ContinuousClock.now < deadline else {
                    throw error
                }
            }
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
            stored.value.status.observed = observed ?? before.observed
            body(&stored.value.status)
            return stored.value.status == before ? nil : stored
        }
    }

    // MARK: Who has left

    /// Agents and proxies are told of every conductor that was ever reached somewhere, until that is deleted: here, once
    /// its controller runs none any more. One that was cut off when it left, and came back, has noted it anew.
    private func forgetThoseThatLeft() async throws {
        let states = try await surroundings.controllers()
        let assignments = try await record().status.assignments
        for endpoint in try await store.fetchAll(ConductorEndpoint.self) {
            let name = endpoint.value.metadata.name
            guard let state = states[name], !state.isServing,
                !assignments.contains(where: { $0.controller == name && $0.runsConductor })
            else { continue }
            try await delete(endpoint)
        }
    }

    private func forget(_ name: String) async throws {
        guard let endpoint = try await store.fetch(ConductorEndpoint.self, name) else { return }
        try await delete(endpoint)
    }

    private func delete(_ endpoint: Stored<ConductorEndpoint>) async throws {
        do {
            _ = try await store.commit(
                Transaction(conditions: [endpoint.unchanged], operations: [.delete(endpoint.value.key)]))
        } catch {
            // It has been noted anew: the conductor runs.
            guard case .conflict = error else { throw error }
        }
    }
}

extension ControlPlaneWish {
    /// What a specification says; throws `MembershipRefusal`.
    public init(_ spec: ControlPlaneRecord.Spec) throws(MembershipRefusal) {
        try self.init(
            controllers: spec.controllers, retired: Set(spec.retired.compactMap { UInt64($0, radix: 16) }),
            address: spec.vip.map { SocketAddress(host: $0.address, port: spec.proxied.api) })
    }
}

extension ControlPlaneRecord.PlannedStep {
    /// A planned step in words, with the voters where it is about them.
    public init(_ entry: MembershipPlan.Entry) {
        self.init(
            step: entry.step.description, voters: entry.step.changesMembers ? entry.proof.after.description : nil)
    }
}
