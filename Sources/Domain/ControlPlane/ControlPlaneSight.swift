import AgentProtocol

/// What a control plane is found to be, read from the store's members, the nodes and the conductors' records. There is
/// nothing else to resume from.
public struct ControlPlaneSight: Hashable, Sendable {
    /// The store's members as its own list names them.
    public var members: [Member]
    /// The controllers that may be chosen, by name.
    public var controllers: [String: Controller]
    /// The controllers that proxies, the shared address and agents are told of.
    public var published: Set<String>
    /// Blobs that lie on fewer of the wanted controllers than they should: on two, or on the only one.
    public var blobsShort: Int
    /// Whether nobody answers at the shared address; asked only once all else is as it was wanted.
    public var isAddressSilent: Bool

    /// What was found.
    public init(
        members: [Member], controllers: [String: Controller], published: Set<String> = [], blobsShort: Int = 0,
        isAddressSilent: Bool = false
    ) {
        self.members = members
        self.controllers = controllers
        self.published = published
        self.blobsShort = blobsShort
        self.isAddressSilent = isAddressSilent
    }

    /// A member of the store.
    public struct Member: Hashable, Sendable {
        /// The store's identifier of it; 0: it is yet to be made.
        public var id: UInt64
        /// The controller that it runs on.
        public var controller: String
        /// Whether it only learns and does not vote.
        public var isLearner: Bool
        /// Whether it has ever joined.
        public var isStarted: Bool
        /// Whether it answers and knows a leader.
        public var isHealthy: Bool
        /// Whether it has all that the leader has, or nearly.
        public var isCaughtUp: Bool
        /// Whether it leads.
        public var isLeader: Bool

        /// A member.
        public init(
            id: UInt64, controller: String, isLearner: Bool = false, isStarted: Bool = true, isHealthy: Bool = true,
            isCaughtUp: Bool = true, isLeader: Bool = false
        ) {
            self.id = id
            self.controller = controller
            self.isLearner = isLearner
            self.isStarted = isStarted
            self.isHealthy = isHealthy
            self.isCaughtUp = isCaughtUp
            self.isLeader = isLeader
        }
    }

    /// A node with the controller role.
    public struct Controller: Hashable, Sendable {
        /// Whether it is active, its agent is connected and it has the secrets and certificates that it needs.
        public var isReady: Bool
        /// Whether its view has a member of the store.
        public var isMemberAssigned: Bool
        /// Whether its view has a conductor.
        public var isConductorAssigned: Bool
        /// Whether its conductor serves.
        public var isServing: Bool

        /// A controller.
        public init(
            isReady: Bool, isMemberAssigned: Bool = false, isConductorAssigned: Bool = false, isServing: Bool = false
        ) {
            self.isReady = isReady
            self.isMemberAssigned = isMemberAssigned
            self.isConductorAssigned = isConductorAssigned
            self.isServing = isServing
        }
    }

    /// Those that vote.
    public var voters: QuorumProof.Voters {
        let voters = members.filter { !$0.isLearner }
        return QuorumProof.Voters(count: voters.count, healthy: voters.count(where: \.isHealthy))
    }

    /// What `step` makes of this when it succeeds.
    public func after(_ step: MembershipStep) -> ControlPlaneSight {
        var next = self
        func change(_ name: String, _ body: (inout Controller) -> Void) {
            body(&next.controllers[name, default: Controller(isReady: false)])
        }
        func changeLearner(_ name: String, _ body: (inout Member) -> Void) {
            guard let index = next.members.firstIndex(where: { $0.controller == name && $0.isLearner }) else { return }
            body(&next.members[index])
        }
        switch step {
        case .prepare(let name): change(name) { $0.isReady = true }
        case .addLearner(let name):
            next.members.append(
                Member(
                    id: 0, controller: name, isLearner: true, isStarted: false, isHealthy: false, isCaughtUp: false))
        case .startMember(let name):
            change(name) { $0.isMemberAssigned = true }
            changeLearner(name) { $0.isStarted = true }
        case .awaitCatchUp(let name): changeLearner(name) { ($0.isHealthy, $0.isCaughtUp) = (true, true) }
        case .promote(let name): changeLearner(name) { $0.isLearner = false }
        case .startConductor(let name): change(name) { ($0.isConductorAssigned, $0.isServing) = (true, true) }
        case .publish(let names): next.published = Set(names)
        case .copyBlobs: next.blobsShort = 0
        case .stopConductor(let name): change(name) { ($0.isConductorAssigned, $0.isServing) = (false, false) }
        case .moveLeader(_, let name):
            for index in next.members.indices { next.members[index].isLeader = next.members[index].controller == name }
        case .removeMember(_, let id): next.members.removeAll { $0.id == id }
        case .stopMember(let name): change(name) { $0.isMemberAssigned = false }
        case .awaitAddress: next.isAddressSilent = false
        }
        return next
    }
}

/// What an operator wants a control plane to be.
public struct ControlPlaneWish: Hashable, Sendable {
    /// The most controllers: more make the store slower and no safer.
    public static let controllerCountMax = 7
    /// The controllers, an odd number of them.
    public let controllers: [String]
    /// Memberships that shall end although their controllers stay, for example when a disk was lost.
    public let retired: Set<UInt64>
    /// Where the API shall answer whoever is down; nil: the controllers share no address.
    public let address: SocketAddress?

    /// A wish; throws `MembershipRefusal` for a number of controllers that no store should have.
    public init(
        controllers: [String], retired: Set<UInt64> = [], address: SocketAddress? = nil
    ) throws(MembershipRefusal) {
        guard Set(controllers).count == controllers.count else { throw .namedTwice }
        guard controllers.count % 2 == 1, controllers.count <= Self.controllerCountMax else {
            throw .badCount(controllers.count)
        }
        self.controllers = controllers.sorted()
        self.retired = retired
        self.address = address
    }

    func includes(_ member: ControlPlaneSight.Member) -> Bool {
        controllers.contains(member.controller) && !retired.contains(member.id)
    }
}
