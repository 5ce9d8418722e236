import Primitives
import ResourceModel

/// What is found of a seed conductor and the controllers that take over from it.
public struct PivotSight: Hashable, Sendable {
    /// The conductor that all began with, on SQLite.
    public var seed: Seed
    /// The controllers that take over, by name.
    public var controllers: [String: Controller]
    /// The store that they bring.
    public var store: Store
    /// Whether proxies and agents are told of the controllers.
    public var isPublished: Bool
    /// Connected agents that do not know the controllers yet.
    public var agentsLeft: Int
    /// Whether the controllers' own control plane is as it was asked for, blobs included.
    public var isSettled: Bool

    /// What was found.
    public init(
        seed: Seed, controllers: [String: Controller], store: Store = .silent, isPublished: Bool = false,
        agentsLeft: Int = 0, isSettled: Bool = false
    ) {
        self.seed = seed
        self.controllers = controllers
        self.store = store
        self.isPublished = isPublished
        self.agentsLeft = agentsLeft
        self.isSettled = isSettled
    }

    /// The seed: what it is now. It takes writes again whenever it starts, unless the new store is open.
    public struct Seed: Hashable, Sendable {
        /// Whether it refuses writes.
        public var isReadOnly: Bool
        /// Its store's revision.
        public var revision: UInt64
        /// Whether it answers DHCP.
        public var servesDHCP: Bool
        /// Whether it has let go of agents and machines, and answers only what the controllers need of it.
        public var hasLetGo: Bool
        /// Whether it has ended for good.
        public var isRetired: Bool

        /// A seed.
        public init(
            isReadOnly: Bool = false, revision: UInt64, servesDHCP: Bool = true, hasLetGo: Bool = false,
            isRetired: Bool = false
        ) {
            self.isReadOnly = isReadOnly
            self.revision = revision
            self.servesDHCP = servesDHCP
            self.hasLetGo = hasLetGo
            self.isRetired = isRetired
        }
    }

    /// A controller.
    public struct Controller: Hashable, Sendable {
        /// Whether it is active and its agent is connected.
        public var isReady: Bool
        /// Whether it has the master key and its certificates.
        public var hasSecrets: Bool
        /// Whether its view has a member of the store.
        public var isMemberAssigned: Bool
        /// Whether that member answers and knows a leader.
        public var isMemberHealthy: Bool
        /// Whether its view has a conductor.
        public var isConductorAssigned: Bool

        /// A controller.
        public init(
            isReady: Bool = false, hasSecrets: Bool = false, isMemberAssigned: Bool = false,
            isMemberHealthy: Bool = false, isConductorAssigned: Bool = false
        ) {
            self.isReady = isReady
            self.hasSecrets = hasSecrets
            self.isMemberAssigned = isMemberAssigned
            self.isMemberHealthy = isMemberHealthy
            self.isConductorAssigned = isConductorAssigned
        }
    }

    /// What the controllers' store holds.
    public enum Store: Hashable, Sendable {
        /// Nobody knows: it has no leader, or was not asked.
        case silent
        /// Nothing.
        case empty
        /// Something of somebody else.
        case taken(ResourceKey)
        /// The mark at which conductors wait, and the copy that was made under it; nil: none by this run of the seed.
        case reserved(Copy?)
        /// The site: it is open, and what the seed has is the past.
        case open
    }

    /// A copy of the seed's store.
    public struct Copy: Hashable, Sendable {
        /// The seed's revision that it was made at.
        public var revision: UInt64
        /// Whether every document was compared with the seed's.
        public var isVerified: Bool

        /// A copy.
        public init(revision: UInt64, isVerified: Bool = false) {
            self.revision = revision
            self.isVerified = isVerified
        }
    }

    /// Whether there is no way back: the new store takes writes.
    public var isPastReturn: Bool { store == .open }

    /// What `step` makes of this when it succeeds.
    public func after(_ step: PivotStep) -> PivotSight {
        var next = self
        switch step {
        case .prepare(let name): next.controllers[name]?.isReady = true
        case .handOverSecrets(let name): next.controllers[name]?.hasSecrets = true
        case .foundMembers: for name in controllers.keys { next.controllers[name]?.isMemberAssigned = true }
        case .awaitStore:
            for name in controllers.keys { next.controllers[name]?.isMemberHealthy = true }
            if store == .silent { next.store = .empty }
        case .reserveStore: next.store = .reserved(nil)
        case .assignConductors: for name in controllers.keys { next.controllers[name]?.isConductorAssigned = true }
        case .publish: next.isPublished = true
        case .tellAgents: next.agentsLeft = 0
        case .freezeSeed: next.seed.isReadOnly = true
        case .stopSeedDHCP: next.seed.servesDHCP = false
        case .copyStore: next.store = .reserved(Copy(revision: seed.revision))
        case .verifyStore: next.store = .reserved(Copy(revision: seed.revision, isVerified: true))
        case .openStore: next.store = .open
        case .letGo: next.seed.hasLetGo = true
        case .awaitSettled: next.isSettled = true
        case .retireSeed: next.seed.isRetired = true
        case .thawSeed: next.seed.isReadOnly = false
        case .startSeedDHCP: next.seed.servesDHCP = true
        case .dismissControllers:
            next.isPublished = false
            next.store = .silent
            for name in controllers.keys { next.controllers[name] = Controller(isReady: true) }
        }
        return next
    }
}
