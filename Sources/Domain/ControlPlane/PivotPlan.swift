import Primitives

/// What is found of a seed conductor and the controllers that take over from it.
public struct PivotSight: Hashable, Sendable {
    /// The conductor that all began with, on SQLite.
    public var seed: Seed
    /// The controllers that take over, by name.
    public var controllers: [String: Controller]
    /// The copy of the seed's store in the new one; nil: there is none.
    public var copy: Copy?
    /// Whether the controllers' conductors answer DHCP.
    public var isDHCPAtControllers: Bool
    /// Connected agents that do not know the controllers yet.
    public var agentsLeft: Int

    /// What was found.
    public init(
        seed: Seed, controllers: [String: Controller], copy: Copy? = nil, isDHCPAtControllers: Bool = false,
        agentsLeft: Int = 0
    ) {
        self.seed = seed
        self.controllers = controllers
        self.copy = copy
        self.isDHCPAtControllers = isDHCPAtControllers
        self.agentsLeft = agentsLeft
    }

    /// The seed: what it tells, or, while it does not answer, what it told last. One that is lost for good counts as
    /// retired once an operator has said so.
    public struct Seed: Hashable, Sendable {
        /// Whether it answers.
        public var isReachable: Bool
        /// Whether it refuses writes.
        public var isReadOnly: Bool
        /// Its store's revision.
        public var revision: UInt64
        /// Whether it answers DHCP.
        public var servesDHCP: Bool
        /// Whether it has ended for good.
        public var isRetired: Bool

        /// A seed.
        public init(
            isReachable: Bool = true, isReadOnly: Bool = false, revision: UInt64, servesDHCP: Bool = true,
            isRetired: Bool = false
        ) {
            self.isReachable = isReachable
            self.isReadOnly = isReadOnly
            self.revision = revision
            self.servesDHCP = servesDHCP
            self.isRetired = isRetired
        }
    }

    /// A controller.
    public struct Controller: Hashable, Sendable {
        /// Whether it is active and its agent is connected.
        public var isReady: Bool
        /// Whether it has the master key, the authority and its certificates.
        public var hasSecrets: Bool
        /// Whether its view has a member of the store.
        public var isMemberAssigned: Bool
        /// Whether that member is healthy.
        public var isMemberHealthy: Bool
        /// Blobs of the seed that it lacks.
        public var blobsShort: Int
        /// Whether its conductor serves, from the new store.
        public var isServing: Bool

        /// A controller.
        public init(
            isReady: Bool = false, hasSecrets: Bool = false, isMemberAssigned: Bool = false,
            isMemberHealthy: Bool = false, blobsShort: Int = 0, isServing: Bool = false
        ) {
            self.isReady = isReady
            self.hasSecrets = hasSecrets
            self.isMemberAssigned = isMemberAssigned
            self.isMemberHealthy = isMemberHealthy
            self.blobsShort = blobsShort
            self.isServing = isServing
        }
    }

    /// A copy of the seed's store.
    public struct Copy: Hashable, Sendable {
        /// The seed's revision that it was made at.
        public var revision: UInt64
        /// Whether it was finished.
        public var isWhole: Bool
        /// Whether every document was compared with the seed's.
        public var isVerified: Bool

        /// A copy.
        public init(revision: UInt64, isWhole: Bool, isVerified: Bool) {
            self.revision = revision
            self.isWhole = isWhole
            self.isVerified = isVerified
        }
    }

    /// Whether a conductor serves from the new store: from then on the seed's is the past.
    public var isPastReturn: Bool { seed.isRetired || controllers.values.contains(where: \.isServing) }

    /// What `step` makes of this when it succeeds.
    public func after(_ step: PivotStep) -> PivotSight {
        var next = self
        switch step {
        case .prepare(let name): next.controllers[name]?.isReady = true
        case .handOverSecrets(let name): next.controllers[name]?.hasSecrets = true
        case .foundMember(let name): next.controllers[name]?.isMemberAssigned = true
        case .awaitStore: for name in controllers.keys { next.controllers[name]?.isMemberHealthy = true }
        case .copyBlobs(let name): next.controllers[name]?.blobsShort = 0
        case .tellAgents: next.agentsLeft = 0
        case .freezeSeed: next.seed.isReadOnly = true
        case .stopSeedDHCP: next.seed.servesDHCP = false
        case .copyStore: next.copy = Copy(revision: seed.revision, isWhole: true, isVerified: false)
        case .verifyStore: next.copy?.isVerified = true
        case .startConductor(let name): next.controllers[name]?.isServing = true
        case .startDHCP: next.isDHCPAtControllers = true
        case .retireSeed: (next.seed.isRetired, next.seed.servesDHCP) = (true, false)
        case .thawSeed: next.seed.isReadOnly = false
        case .startSeedDHCP: next.seed.servesDHCP = true
        }
        return next
    }
}

/// One step of the move from a seed to controllers; each may be done twice.
public enum PivotStep: Hashable, Sendable {
    /// Wait until a controller is active and its agent is connected.
    case prepare(String)
    /// Give it the master key, the authority and its certificates, sealed for the key of its node certificate.
    case handOverSecrets(String)
    /// Have it run one of the members that found the store.
    case foundMember(String)
    /// Wait until the members have a leader.
    case awaitStore
    /// Give it the blobs that it lacks.
    case copyBlobs(String)
    /// Tell connected agents of the controllers.
    case tellAgents
    /// Have the seed refuse writes, from here until the first controller serves.
    case freezeSeed
    /// Have the seed answer no DHCP.
    case stopSeedDHCP
    /// Copy the store, from the beginning.
    case copyStore
    /// Compare every document.
    case verifyStore
    /// Have a controller's conductor serve. The first of these is the point of no return.
    case startConductor(String)
    /// Have the controllers answer DHCP.
    case startDHCP
    /// End the seed; agents move on by themselves.
    case retireSeed
    /// Have the seed take writes again, on the way back.
    case thawSeed
    /// Have the seed answer DHCP again, on the way back.
    case startSeedDHCP
}

extension PivotStep: CustomStringConvertible {
    public var description: String {
        switch self {
        case .prepare(let name): "make sure that \(name) is ready"
        case .handOverSecrets(let name): "hand the site's secrets over to \(name)"
        case .foundMember(let name): "start the store's member on \(name)"
        case .awaitStore: "wait until the new store has a leader"
        case .copyBlobs(let name): "copy blobs to \(name)"
        case .tellAgents: "tell agents of the controllers"
        case .freezeSeed: "make the seed read-only"
        case .stopSeedDHCP: "stop DHCP at the seed"
        case .copyStore: "copy the store"
        case .verifyStore: "compare the copy with the seed's store"
        case .startConductor(let name): "start the conductor on \(name)"
        case .startDHCP: "start DHCP at the controllers"
        case .retireSeed: "retire the seed"
        case .thawSeed: "let the seed take writes again"
        case .startSeedDHCP: "start DHCP at the seed again"
        }
    }
}

/// Why a pivot does not go on.
public enum PivotRefusal: UserFacingError, Hashable {
    case noControllers
    case badCount(Int)
    /// The seed does not answer, and what it holds is not copied yet.
    case seedSilent
    /// A controller serves from the new store, and the seed takes writes too.
    case twoTruths
    /// A controller serves from a copy that was not compared.
    case unverified
    /// There is no way back any more.
    case pastReturn

    public var publicMessage: String {
        switch self {
        case .noControllers: "No controller is named: deploy one or three nodes with the role controller first."
        case .badCount(let count): "A store is not founded with \(count) members: name 1, 3 or 5 controllers."
        case .seedSilent:
            "The seed does not answer, and its store is not copied yet. Start it (it comes up as it was) and run the same "
                + "command again."
        case .twoTruths:
            "A controller serves from the new store, and the seed takes writes as well: what was written to the seed since "
                + "then is not in the new store. Stop the seed at once, and look at its audit log for what was lost."
        case .unverified:
            "A controller serves although the copy of the store was not compared. Stop that conductor "
                + "(systemctl stop muster-conductor) and run the same command again."
        case .pastReturn: "A controller serves from the new store already; there is no way back, only on."
        }
    }
}

/// The ordered steps of a pivot. Pure, and resumed by planning again, as `MembershipPlan`.
///
/// All that takes long comes before the seed is made read-only, so that it is so for seconds. Never do two stores take
/// writes: the seed is read-only before the copy begins, stays so, and the first conductor on the new store starts only
/// when the copy of just that revision was compared.
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

    /// The way back, which there is until a controller serves. Throws `PivotRefusal.pastReturn`.
    public init(back sight: PivotSight) throws(PivotRefusal) {
        guard !sight.isPastReturn else { throw .pastReturn }
        var steps: [PivotStep] = []
        if sight.seed.isReadOnly { steps.append(.thawSeed) }
        if !sight.seed.servesDHCP { steps.append(.startSeedDHCP) }
        self.steps = steps
    }

    static func next(_ sight: PivotSight) throws(PivotRefusal) -> PivotStep? {
        guard !sight.controllers.isEmpty else { throw .noControllers }
        guard sight.controllers.count % 2 == 1, sight.controllers.count <= 5 else {
            throw .badCount(sight.controllers.count)
        }
        let controllers = sight.controllers.sorted { $0.key < $1.key }
        if sight.isPastReturn { return try rest(sight, controllers) }
        guard sight.seed.isReachable else { throw .seedSilent }
        func first(_ isDue: (PivotSight.Controller) -> Bool) -> String? { controllers.first { isDue($0.value) }?.key }
        if let name = first({ !$0.isReady }) { return .prepare(name) }
        if let name = first({ !$0.hasSecrets }) { return .handOverSecrets(name) }
        if let name = first({ !$0.isMemberAssigned }) { return .foundMember(name) }
        if first({ !$0.isMemberHealthy }) != nil { return .awaitStore }
        if let name = first({ $0.blobsShort > 0 }) { return .copyBlobs(name) }
        if sight.agentsLeft > 0, !sight.seed.isReadOnly { return .tellAgents }
        if !sight.seed.isReadOnly { return .freezeSeed }
        if sight.seed.servesDHCP { return .stopSeedDHCP }
        guard let copy = sight.copy, copy.isWhole, copy.revision == sight.seed.revision else { return .copyStore }
        guard copy.isVerified else { return .verifyStore }
        return first { !$0.isServing }.map { .startConductor($0) }
    }

    private static func rest(
        _ sight: PivotSight, _ controllers: [(key: String, value: PivotSight.Controller)]
    ) throws(PivotRefusal) -> PivotStep? {
        guard sight.copy?.isWhole == true, sight.copy?.isVerified == true else { throw .unverified }
        if !sight.seed.isRetired, !sight.seed.isReadOnly { throw .twoTruths }
        if let name = controllers.first(where: { !$0.value.isServing })?.key { return .startConductor(name) }
        if !sight.seed.isRetired, sight.seed.servesDHCP { return .stopSeedDHCP }
        if !sight.isDHCPAtControllers { return .startDHCP }
        return sight.seed.isRetired ? nil : .retireSeed
    }
}
