import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel

/// Carries a pivot's steps out, from within the seed that it moves away from.
///
/// What there is is looked at anew before each step, so that a seed that was killed goes on after its next start. Only
/// that a copy was made and compared is remembered, for as long as this desk lives: after a start it is made anew.
public actor PivotDesk {
    /// How far one call has come.
    public enum Progress: Hashable, Sendable {
        /// No pivot is ordered.
        case idle
        /// A step was done.
        case took(PivotStep)
        /// Others have to do something first.
        case waits(PivotStep)
        /// The new store is open: the seed has to let go.
        case hasMoved
        /// It is as it was before, or all is done.
        case isDone
    }

    /// Why a step was not done.
    public enum Failure: UserFacingError, Hashable {
        /// A controller has no address in a segment of the site.
        case noAddress(String)
        /// The new store counts less far than the seed's.
        case storeBehind(Revision, Revision)
        /// The new store may have been opened, and is not there any more.
        case storeLost
        /// The control plane was changed under the step.
        case gone

        public var publicMessage: String {
            switch self {
            case .noAddress(let name):
                "\(name) has no address in a segment of the site. See the node: muster node show \(name)"
            case .storeBehind(let new, let old):
                "The new store counts from \(new), and the seed's is at \(old) by now: it was reserved too long ago. Go back "
                    + "(muster controller pivot --back) and begin anew."
            case .storeLost:
                "The controllers' store may have been opened, and what is there now is not it: the seed stays shut, as others "
                    + "may have written to it. Bring the store's members back. Only if all of them are lost for good, delete "
                    + "the file 'moved' in the seed's state directory and start the seed again: it goes on with what it had."
            case .gone: "The control plane was changed meanwhile; run the same command again."
            }
        }
    }

    /// How far the new store's revisions are ahead of the seed's when it is reserved: more than a site commits until it is
    /// opened, if that takes weeks.
    static let revisionGap: UInt64 = 1_000_000_000

    private let seed: any PivotSeed
    private let surroundings: any PivotSurroundings
    private let clock: any WallClock
    /// Makes a name that nobody else has, a DNS label.
    private let makeName: @Sendable () -> String
    /// How long others may take before people are told.
    private let patience: Duration
    /// How long agents are waited for that do not tell what they know: they have been told.
    private let agentPatience: Duration

    /// The copy of this desk, with what it was made under.
    private var copy: (report: StoreMigration.Report, reservation: StoreMigration.Reservation, isVerified: Bool)?
    /// The revision from which on views name the controllers, and since when that is known.
    private var published: (revision: Revision, since: Timestamp)?

    /// A desk.
    public init(
        seed: any PivotSeed, surroundings: any PivotSurroundings, clock: any WallClock,
        patience: Duration = .seconds(600), agentPatience: Duration = .seconds(90),
        makeName: @escaping @Sendable () -> String = PivotDesk.randomName
    ) {
        self.seed = seed
        self.surroundings = surroundings
        self.clock = clock
        self.makeName = makeName
        self.patience = patience
        self.agentPatience = agentPatience
    }

    /// A UUID.
    public static func randomName() -> String {
        var random = SystemRandomNumberGenerator()
        return UUIDText.random(using: &random)
    }

    /// Looks, plans, and does the next step. Throws `PivotRefusal`, `Failure`, and what the parts throw; after any of
    /// these call `recover`, and try again later.
    public func advance() async throws -> Progress {
        guard let plane = try await record(), Self.isUnderWay(plane) else { return .idle }
        let sight = try await look(plane)
        let goesBack = Self.goesBack(plane) && !sight.isPastReturn
        let plan = try goesBack ? PivotPlan(back: sight) : PivotPlan(from: sight)
        guard let step = plan.steps.first else { return .isDone }
        if step == .letGo { return .hasMoved }
        await show(plan)
        if step.isWait { return .waits(step) }
        try await carryOut(step, plane)
        return step == .retireSeed || step == .dismissControllers ? .isDone : .took(step)
    }

    /// What a pivot to `plane` would do now.
    public func plan(for plane: ControlPlaneRecord) async throws -> PivotPlan {
        try PivotPlan(from: try await look(plane))
    }

    /// Lets the seed serve again after a failure, unless the new store is open. When nobody knows whether it is, this
    /// throws, and the seed stays shut.
    public func recover() async throws {
        guard seed.isReadOnly, !seed.hasLetGo else { return }
        if try seed.note() != nil {
            guard let plane = try await record() else { throw Failure.gone }
            guard try await lookAtStore(plane) != .open else { return }
        }
        await seed.thaw()
        seed.startDHCP()
    }

    /// Tells people why it does not go on.
    public func tell(_ problem: String) async {
        guard !seed.isReadOnly else { return }
        _ = try? await change { $0.problem = problem }
    }

    /// Ends the connections to the new store.
    public func close() async { await surroundings.close() }

    private static func isUnderWay(_ plane: ControlPlaneRecord) -> Bool { plane.status.phase == .pivoting }
    private static func goesBack(_ plane: ControlPlaneRecord) -> Bool { plane.spec.goesBack == true }

    // MARK: What is there

    func look(_ plane: ControlPlaneRecord) async throws -> PivotSight {
        var sight = PivotSight(
            seed: .init(
                isReadOnly: seed.isReadOnly, revision: try await seed.store.currentRevision().number,
                servesDHCP: seed.servesDHCP, hasLetGo: seed.hasLetGo), controllers: [:])
        let assignments = Dictionary(
            plane.status.assignments.map { ($0.controller, $0) }, uniquingKeysWith: { first, _ in first })
        let found = try await surroundings.controllers()
        for name in plane.spec.controllers {
            let own = assignments[name]
            sight.controllers[name] = .init(
                isReady: found[name]?.isReady == true, hasSecrets: found[name]?.hasSecrets == true,
                isMemberAssigned: own?.member != nil, isConductorAssigned: own?.runsConductor == true)
        }
        sight.isPublished = plane.status.published == plane.spec.controllers
        guard sight.controllers.values.allSatisfy(\.isMemberAssigned), !sight.controllers.isEmpty else { return sight }
        if try seed.note() == nil {
            // A store that nobody has opened is not asked on the way back: it may be why.
            guard !Self.goesBack(plane), let members = try? await surroundings.members(at: Self.addresses(plane)) else {
                return sight
            }
            for member in members where member.isHealthy {
                guard let own = plane.status.assignments.first(where: { $0.address == member.peer?.host }) else {
                    continue
                }
                sight.controllers[own.controller]?.isMemberHealthy = true
            }
            guard sight.controllers.values.allSatisfy(\.isMemberHealthy) else { return sight }
        }
        sight.store = try await lookAtStore(plane)
        if sight.isPastReturn {
            sight.isSettled = try await isSettled(plane)
        } else {
            sight.agentsLeft = await agentsLeft(sight)
        }
        return sight
    }

    private static func addresses(_ plane: ControlPlaneRecord) -> [SocketAddress] {
        plane.status.assignments.filter { $0.member != nil }
            .map { SocketAddress(host: $0.address, port: EtcdMemberItem.Port.client) }.sorted()
    }

    /// What the new store holds. When an earlier attempt may have opened it, that is made sure of here: the mark is
    /// written anew, so that what is still under way of that attempt has no effect, or is found to be gone.
    private func lookAtStore(_ plane: ControlPlaneRecord) async throws -> PivotSight.Store {
        let target = try await surroundings.target(at: Self.addresses(plane))
        if try seed.note() != nil {
            guard try await !isOpenForGood(target, plane) else { return .open }
            copy = nil
            try seed.keep(nil)
        }
        if try await StoreMigration.isUnfinished(in: target) {
            return .reserved(
                copy.map { PivotSight.Copy(revision: $0.report.revision.number, isVerified: $0.isVerified) })
        }
        if try await isOpen(target, plane) { return .open }
        let first = try await target.list(kind: nil, after: nil, limit: 1).documents.first
        return first.map { .taken($0.key) } ?? .empty
    }

    /// Whether an attempt to open it has succeeded; if not, it does not any more.
    private func isOpenForGood(_ target: any ResourceStore, _ plane: ControlPlaneRecord) async throws -> Bool {
        while true {
            if try await isOpen(target, plane) { return true }
            guard try await StoreMigration.isUnfinished(in: target) else { throw Failure.storeLost }
            do {
                _ = try await StoreMigration(from: seed.store, to: target).reserve()
                return false
            } catch let error as MigrationError {
                // It was opened between the two looks.
                guard case .notEmpty = error else { throw error }
            }
        }
    }

    private func isOpen(_ target: any ResourceStore, _ plane: ControlPlaneRecord) async throws -> Bool {
        guard try await !StoreMigration.isUnfinished(in: target) else { return false }
        let there = try await target.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name)?.value
        return there != nil && there?.status.token == plane.status.token
    }

    private func isSettled(_ plane: ControlPlaneRecord) async throws -> Bool {
        let target = try await surroundings.target(at: Self.addresses(plane))
        let there = try await target.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name)?.value
        return there?.status.phase == .settled
    }

    private func agentsLeft(_ sight: PivotSight) async -> Int {
        guard sight.isPublished else { return 0 }
        let now = clock.now
        let known = published ?? (Revision(sight.seed.revision), now)
        published = known
        return now.since(known.since) < agentPatience ? await surroundings.agentsBehind(known.revision) : 0
    }

    private func record() async throws -> ControlPlaneRecord? {
        try await seed.store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name)?.value
    }

    // MARK: What is done

    private func carryOut(_ step: PivotStep, _ plane: ControlPlaneRecord) async throws {
        switch step {
        case .prepare, .handOverSecrets, .awaitStore, .tellAgents, .awaitSettled, .letGo: return
        case .foundMembers: try await foundMembers(plane)
        case .reserveStore: try await reserve(plane)
        case .assignConductors:
            try await change { status in
                for index in status.assignments.indices { status.assignments[index].runsConductor = true }
            }
        case .publish:
            let revision = try await change { $0.published = plane.spec.controllers }
            published = (revision, clock.now)
        case .freezeSeed: await seed.freeze()
        case .stopSeedDHCP: try await seed.stopDHCP()
        case .copyStore: try await copyStore(plane)
        case .verifyStore:
            guard let copy else { throw Failure.gone }
            try await migration(plane).verify(copy.report)
            self.copy?.isVerified = true
        case .openStore: try await open(plane)
        case .retireSeed: try await retire(plane)
        case .thawSeed: await seed.thaw()
        case .startSeedDHCP: seed.startDHCP()
        case .dismissControllers:
            copy = nil
            published = nil
            _ = try await seed.store.commit(
                Transaction(operations: [.delete(ControlPlaneRecord.key(ControlPlaneRecord.name))]))
        }
    }

    /// All at once: each has to know all when it starts.
    private func foundMembers(_ plane: ControlPlaneRecord) async throws {
        let found = try await surroundings.controllers()
        let cluster = try plane.spec.controllers.map { name in
            guard let address = found[name]?.address else { throw Failure.noAddress(name) }
            return EtcdMemberItem.Peer(
                name: name, address: SocketAddress(host: address, port: EtcdMemberItem.Port.peer))
        }
        let (token, incarnation) = (makeName(), makeName())
        try await change { status in
            status.token = token
            status.assignments = cluster.map { peer in
                ControlPlaneRecord.Assignment(
                    controller: peer.name, address: peer.address.host,
                    member: .init(incarnation: incarnation, founding: .new, cluster: cluster))
            }
        }
    }

    private func migration(_ plane: ControlPlaneRecord) async throws -> StoreMigration {
        StoreMigration(from: seed.store, to: try await surroundings.target(at: Self.addresses(plane)))
    }

    private func reserve(_ plane: ControlPlaneRecord) async throws {
        let addresses = Self.addresses(plane)
        // A conductor that has it open would go on counting as before; the first of them starts after this.
        let beyond = Revision(try await seed.store.currentRevision().number + Self.revisionGap)
        try await migration(plane).check()
        try await surroundings.beginNewHistory(at: addresses, beyond: beyond)
        _ = try await migration(plane).reserve()
    }

    private func copyStore(_ plane: ControlPlaneRecord) async throws {
        copy = nil
        let target = try await surroundings.target(at: Self.addresses(plane))
        let (new, old) = (try await target.currentRevision(), try await seed.store.currentRevision())
        guard new > old else { throw Failure.storeBehind(new, old) }
        let migration = StoreMigration(from: seed.store, to: target)
        let reservation = try await migration.reserve()
        copy = (try await migration.copy(under: reservation), reservation, false)
    }

    private func open(_ plane: ControlPlaneRecord) async throws {
        guard let copy, copy.isVerified, let token = plane.status.token else { throw Failure.gone }
        guard var stored = try await seed.store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name) else {
            throw Failure.gone
        }
        stored.value.status.phase = .changing
        stored.value.status.plan = []
        stored.value.status.since = clock.now
        stored.value.status.problem = nil
        let operations = [try stored.put()] + (try surroundings.openingOperations())
        let migration = try await migration(plane)
        // From here on it may be open, so that what is stored here may be the past.
        await seed.shut()
        try seed.keep(PivotNote(store: Self.addresses(plane), token: token, api: plane.endpoints))
        _ = try await migration.open(copy.reservation, with: operations)
    }

    private func retire(_ plane: ControlPlaneRecord) async throws {
        try await surroundings.forgetSeed(in: try await surroundings.target(at: Self.addresses(plane)))
        if var note = try seed.note() {
            note.state = .retired
            try seed.keep(note)
        }
        try await seed.retire()
    }

    // MARK: What is told

    /// Tells what is next. Not a word is written between the freeze and the opening.
    private func show(_ plan: PivotPlan) async {
        guard !seed.isReadOnly, let next = plan.steps.first else { return }
        let steps = plan.steps.map { ControlPlaneRecord.PlannedStep(step: $0.description) }
        let (now, patience) = (clock.now, patience)
        // A plan that is not shown is carried out all the same; the next one is shown with the next step.
        _ = try? await change { status in
            let isNew = status.plan.first != steps.first
            if isNew { status.since = now }
            status.plan = steps
            let isLate = next.isWait && now.since(status.since ?? now) >= patience
            if isLate {
                status.problem =
                    "It has taken more than \(patience.components.seconds) s to \(next). It goes on by itself once that is so; "
                    + "see the nodes (muster node why NODE), or go back with: muster controller pivot --back"
            } else if isNew || next.isWait {
                status.problem = nil
            }
        }
    }

    @discardableResult
    private nonisolated func change(
        _ body: @Sendable (inout ControlPlaneRecord.Status) -> Void
    ) async throws -> Revision {
        let revision = try await seed.store.update(ControlPlaneRecord.self, ControlPlaneRecord.name) {
            (current) throws(Failure) in
            guard var stored = current else { throw .gone }
            let before = stored.value.status
            body(&stored.value.status)
            return stored.value.status == before ? nil : stored
        }
        guard let revision else { return try await seed.store.currentRevision() }
        return revision
    }
}
