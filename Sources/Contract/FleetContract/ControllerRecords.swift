import CatalogBareMetal
import Primitives
import ResourceModel

/// GET `controllers`: the site's controllers, what they shall be, how far that is, and how each of them is.
public struct ControllersReport: Codable, Sendable, Hashable {
    /// What was asked for; nil: the site has no control plane.
    public var wanted: Wanted?
    /// Where it is on its way; nil: there is none.
    public var phase: ControlPlaneRecord.Phase?
    /// Whether all is as it was asked for last.
    public var isSettled: Bool
    /// The steps that are left, the next one first.
    public var plan: [ControlPlaneRecord.PlannedStep]
    /// When the next step became the next.
    public var since: Timestamp?
    /// What is in the way, and what to do; nil: nothing is.
    public var problem: String?
    /// Every controller, every node that may become one, and every conductor, by name.
    public var controllers: [Controller]
    /// Why nobody knows how the store's members are; nil: it is known.
    public var membersUnknown: String?
    /// How a control plane begins, for people; nil: there is one.
    public var beginning: String?
    /// Where clients reach the API of the controllers, best first; nil: there are none yet.
    public var endpoints: [String]?
    /// Where each controller answers by itself, whoever has the shared address; nil: there are none yet.
    public var controllerEndpoints: [String]?
    /// The conductor's time, to tell ages by.
    public var time: Timestamp

    /// What was asked for.
    public struct Wanted: Codable, Sendable, Hashable {
        /// The nodes that shall be controllers, by name.
        public var controllers: [String]
        /// Members of the store that shall end although their controllers stay, in hexadecimal.
        public var retired: [String]
        /// The shared address, for example `10.77.0.5/24`; nil: there is none.
        public var vip: String?
        /// Rises with each change of this.
        public var generation: Generation

        /// What was asked for.
        public init(controllers: [String], retired: [String], vip: String?, generation: Generation) {
            self.controllers = controllers
            self.retired = retired
            self.vip = vip
            self.generation = generation
        }
    }

    /// One controller, or what may become one.
    public struct Controller: Codable, Sendable, Hashable {
        /// The node's name, or what the store or a conductor started by hand calls itself.
        public var name: String
        /// Its address among the controllers; nil: none is known.
        public var address: IPv4Address?
        /// What it is to the control plane.
        public var part: Part
        /// Whether it is active, its agent is connected and it has its keys; nil: it is no node with the controller role.
        public var isReady: Bool?
        /// Whether it has told that it has its keys and certificates; nil: it has not told.
        public var hasSecrets: Bool?
        /// Its members of the store: none, one, or two while the second takes the place of the first.
        public var members: [Member]
        /// Its conductor; nil: none is registered.
        public var conductor: Conductor?
        /// Whether it has the shared address, as it told last; nil: it has not told.
        public var hasVIP: Bool?

        /// What a node is to the control plane.
        public enum Part: String, Codable, Sendable, Hashable, CaseIterable {
            /// It is a controller and stays one.
            case stays
            /// It shall become one, and is not yet.
            case comes
            /// It is one, and shall be none.
            case leaves
            /// It could become one.
            case spare
            /// It runs without a control plane.
            case byHand
        }

        /// A controller of which nothing else is known.
        public init(name: String, address: IPv4Address?, part: Part) {
            self.name = name
            self.address = address
            self.part = part
            members = []
        }
    }

    /// A member of the store.
    public struct Member: Codable, Sendable, Hashable {
        /// Its identifier, in hexadecimal.
        public var id: String
        /// What it does.
        public var state: State
        /// Entries of the log that the newest member has and this one has not; nil: it does not answer.
        public var behind: UInt64?

        /// What a member does.
        public enum State: String, Codable, Sendable, Hashable, CaseIterable {
            case leader
            case follower
            /// It follows and has no vote yet.
            case learner
            /// The store knows it, and it has never run.
            case added
            /// It does not answer, or sees no leader.
            case silent
        }

        /// A member.
        public init(id: String, state: State, behind: UInt64?) {
            self.id = id
            self.state = state
            self.behind = behind
        }
    }

    /// A conductor.
    public struct Conductor: Codable, Sendable, Hashable {
        /// Whether it does what only one conductor does.
        public var isLeader: Bool
        /// By how many milliseconds what it shows is behind the store; nil: by less than a second.
        public var lagMilliseconds: Int64?

        /// A conductor.
        public init(isLeader: Bool, lagMilliseconds: Int64?) {
            self.isLeader = isLeader
            self.lagMilliseconds = lagMilliseconds
        }
    }

    /// A report of a site without a control plane.
    public init(time: Timestamp) {
        isSettled = false
        plan = []
        controllers = []
        self.time = time
    }
}

/// GET `controllers/plan`: the steps from what is so to what is asked for, each with what it does to the store's quorum.
public struct ControllersPlan: Codable, Sendable, Hashable {
    /// The controllers that there would be, by name.
    public var controllers: [String]
    /// Members of the store that would end although their controllers stay, in hexadecimal.
    public var retired: [String]
    /// The generation of the wish that this was made beside; a change that names it is refused when there is another.
    public var generation: Generation
    /// The voters now.
    public var now: Voters
    /// The steps, in their order; none: all is so.
    public var steps: [Step]
    /// What those controllers would not survive, and what to do; for people.
    public var warnings: [String]

    /// A step.
    public struct Step: Codable, Sendable, Hashable {
        /// What is done.
        public var step: String
        /// Whether it changes who votes.
        public var changesVoters: Bool
        /// The voters after it.
        public var voters: Voters

        /// A step.
        public init(step: String, changesVoters: Bool, voters: Voters) {
            self.step = step
            self.changesVoters = changesVoters
            self.voters = voters
        }
    }

    /// Members of the store that vote.
    public struct Voters: Codable, Sendable, Hashable {
        /// All of them.
        public var count: Int
        /// Those that answer.
        public var answering: Int
        /// How many have to agree.
        public var quorum: Int
        /// How many more may fail.
        public var mayFail: Int

        /// Voters.
        public init(count: Int, answering: Int, quorum: Int, mayFail: Int) {
            self.count = count
            self.answering = answering
            self.quorum = quorum
            self.mayFail = mayFail
        }
    }

    /// A plan.
    public init(
        controllers: [String], retired: [String], generation: Generation, now: Voters, steps: [Step],
        warnings: [String] = []
    ) {
        self.controllers = controllers
        self.retired = retired
        self.generation = generation
        self.now = now
        self.steps = steps
        self.warnings = warnings
    }
}

/// PUT `controllers`: what the site's controllers shall be.
public struct ChangeControllersRequest: Codable, Sendable, Hashable {
    /// The nodes that shall be controllers, by name, an odd number.
    public var controllers: [String]
    /// Members of the store that shall end although their controllers stay, in hexadecimal; nil: as before.
    public var retired: [String]?
    /// The generation that this changes; refused when there is another. nil: whatever there is.
    public var generation: Generation?

    /// A request.
    public init(controllers: [String], retired: [String]? = nil, generation: Generation? = nil) {
        self.controllers = controllers
        self.retired = retired
        self.generation = generation
    }
}
