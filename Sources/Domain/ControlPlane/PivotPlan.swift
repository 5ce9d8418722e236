import Primitives

/// The ordered steps of a pivot. Pure, and resumed by planning again, as `MembershipPlan`.
///
/// All that takes long comes before the seed is made read-only, so that it is so for seconds; when something has to be
/// waited for all the same, the seed takes writes again meanwhile. Never do two stores take writes: conductors on the new
/// one wait at its mark, and that goes, in one transaction, only while the seed is read-only and the copy of just its
/// revision was compared.
public struct PivotPlan: Hashable, Sendable {
    /// The steps; empty when the pivot is done.
    public let steps: [PivotStep]
    private static let stepCountMax = 200

    /// The way on. Throws `PivotRefusal`.
    public init(from sight: PivotSight) throws(PivotRefusal) {
        var steps: [PivotStep] = []
        var sight = sight
        while steps.count < Self.stepCountMax, let step = try Self.next(sight) {
            steps.append(step)
            sight = sight.after(step)
        }
        self.steps = steps
    }

    /// The way back, which there is until the new store is open. Throws `PivotRefusal.pastReturn`.
    public init(back sight: PivotSight) throws(PivotRefusal) {
        guard !sight.isPastReturn else { throw .pastReturn }
        var steps: [PivotStep] = []
        if sight.seed.isReadOnly { steps.append(.thawSeed) }
        if !sight.seed.servesDHCP { steps.append(.startSeedDHCP) }
        self.steps = steps + [.dismissControllers]
    }

    static func next(_ sight: PivotSight) throws(PivotRefusal) -> PivotStep? {
        guard !sight.controllers.isEmpty else { throw .noControllers }
        guard sight.controllers.count % 2 == 1, sight.controllers.count <= 5 else {
            throw .badCount(sight.controllers.count)
        }
        if sight.isPastReturn { return try rest(sight) }
        if let step = try preparation(sight) {
            // Nobody is kept from writing by what takes long.
            if sight.seed.isReadOnly { return .thawSeed }
            return sight.seed.servesDHCP ? step : .startSeedDHCP
        }
        if !sight.seed.isReadOnly { return .freezeSeed }
        if sight.seed.servesDHCP { return .stopSeedDHCP }
        guard case .reserved(let copy?) = sight.store, copy.revision == sight.seed.revision else { return .copyStore }
        return copy.isVerified ? .openStore : .verifyStore
    }

    /// What comes before the seed is made read-only.
    private static func preparation(_ sight: PivotSight) throws(PivotRefusal) -> PivotStep? {
        let controllers = sight.controllers.sorted { $0.key < $1.key }
        func first(_ isDue: (PivotSight.Controller) -> Bool) -> String? { controllers.first { isDue($0.value) }?.key }
        if !sight.seed.isReadOnly {
            if let name = first({ !$0.isReady }) { return .prepare(name) }
            if let name = first({ !$0.hasSecrets }) { return .handOverSecrets(name) }
        }
        if first({ !$0.isMemberAssigned }) != nil { return .foundMembers }
        if first({ !$0.isMemberHealthy }) != nil { return .awaitStore }
        switch sight.store {
        case .silent: return .awaitStore
        case .taken(let key): throw .storeTaken(key)
        case .empty: return .reserveStore
        case .reserved, .open: break
        }
        if first({ !$0.isConductorAssigned }) != nil { return .assignConductors }
        if !sight.isPublished { return .publish }
        return sight.agentsLeft > 0 && !sight.seed.isReadOnly ? .tellAgents : nil
    }

    /// What comes once the new store is open.
    private static func rest(_ sight: PivotSight) throws(PivotRefusal) -> PivotStep? {
        guard !sight.seed.isRetired else { return nil }
        if !sight.seed.isReadOnly { throw .twoTruths }
        if sight.seed.servesDHCP { return .stopSeedDHCP }
        if !sight.seed.hasLetGo { return .letGo }
        return sight.isSettled ? .retireSeed : .awaitSettled
    }
}
