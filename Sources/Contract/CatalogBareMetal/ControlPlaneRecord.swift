import AgentProtocol
import Primitives
import ResourceModel

/// The site's control plane: which controllers it shall have, and how far that is. There is one, named `controlplane`;
/// a site without one has its seed conductor only.
public struct ControlPlaneRecord: Resource {
    public static let kind = "fleet.controlplane"
    public static let schemaVersion = 1
    /// The only name.
    public static let name = "controlplane"

    public var metadata: Metadata
    /// What was asked for: written by the API.
    public var spec: Spec
    /// What is so: written by the control plane's own controller, which leads.
    public var status: Status

    /// A control plane.
    public init(created: Timestamp, spec: Spec, status: Status = Status()) {
        metadata = Metadata(name: Self.name, schemaVersion: Self.schemaVersion, created: created)
        self.spec = spec
        self.status = status
    }

    /// Whether the node of that name is to be a controller, or runs something of one's still.
    public func names(_ node: String) -> Bool {
        spec.controllers.contains(node) || status.assignments.contains { $0.controller == node }
    }

    /// What was asked for.
    public struct Spec: Codable, Sendable, Hashable {
        /// The nodes that shall be controllers, by name, an odd number, sorted.
        public var controllers: [String]
        /// Memberships of the store that shall end although their controllers stay: identifiers in hexadecimal.
        public var retired: [String]
        /// The address that clients know; nil: none is shared.
        public var vip: SharedAddress?
        /// The ports of the conductors themselves.
        public var ports: ConductorItem.Ports
        /// The ports at which every controller's proxy passes connections to all conductors; none is a conductor's own.
        public var proxied: ConductorItem.Ports
        /// Whether the pivot that is under way shall be undone; nil: it shall not.
        public var goesBack: Bool?

        /// A control plane.
        public init(
            controllers: [String], retired: [String] = [], vip: SharedAddress? = nil,
            ports: ConductorItem.Ports = behindProxy, proxied: ConductorItem.Ports = ConductorItem.Ports()
        ) {
            self.controllers = controllers
            self.retired = retired
            self.vip = vip
            self.ports = ports
            self.proxied = proxied
        }

        /// The ports of conductors whose controllers' proxies have the usual ones.
        public static let behindProxy = ConductorItem.Ports(
            api: 19443, boot: 18080, provisioning: 18443, agents: 17443)
    }

    /// An address that one controller at a time has.
    public struct SharedAddress: Codable, Sendable, Hashable {
        /// The address.
        public var address: IPv4Address
        /// The length of its network's prefix.
        public var prefixLength: Int
        /// VRRP's virtual router identifier, 1 to 255.
        public var routerID: Int

        /// keepalived's own in its examples.
        public static let routerIDDefault = 51

        /// An address.
        public init(address: IPv4Address, prefixLength: Int, routerID: Int = routerIDDefault) {
            self.address = address
            self.prefixLength = prefixLength
            self.routerID = routerID
        }
    }

    /// What is so.
    public struct Status: Codable, Sendable, Hashable {
        /// Where it is.
        public var phase: Phase
        /// What each controller's view says that it runs, sorted by name.
        public var assignments: [Assignment]
        /// The controllers that proxies and agents are told of, sorted.
        public var published: [String]
        /// The steps that are left, the next one first.
        public var plan: [PlannedStep]
        /// When the next step became the next.
        public var since: Timestamp?
        /// Why it does not go on, and what to do; nil: nothing is in the way.
        public var problem: String?
        /// Names the store's cluster: made once, when it is founded.
        public var token: String?
        /// The generation of the specification that the rest is about; nil: nobody has looked at it yet.
        public var observed: Generation?

        /// Nothing was done yet.
        public init(
            phase: Phase = .settled, assignments: [Assignment] = [], published: [String] = [],
            plan: [PlannedStep] = [], since: Timestamp? = nil, problem: String? = nil, token: String? = nil,
            observed: Generation? = nil
        ) {
            self.phase = phase
            self.assignments = assignments
            self.published = published
            self.plan = plan
            self.since = since
            self.problem = problem
            self.token = token
            self.observed = observed
        }
    }

    /// Where a control plane is on its way.
    public enum Phase: String, Codable, Sendable, Hashable, CaseIterable {
        /// The seed conductor hands over to the first controllers.
        case pivoting
        /// Its members are being changed.
        case changing
        /// It may not go on as it is; `problem` says why.
        case refused
        /// It is as it was asked for.
        case settled
    }

    /// What one controller runs.
    public struct Assignment: Codable, Sendable, Hashable {
        /// The node's name.
        public var controller: String
        /// Its address among the controllers.
        public var address: IPv4Address
        /// Its member of the store; nil: none.
        public var member: Member?
        /// Whether it runs a conductor.
        public var runsConductor: Bool

        /// What one runs.
        public init(controller: String, address: IPv4Address, member: Member? = nil, runsConductor: Bool = false) {
            self.controller = controller
            self.address = address
            self.member = member
            self.runsConductor = runsConductor
        }
    }

    /// A membership of the store.
    public struct Member: Codable, Sendable, Hashable {
        /// Tells it from an earlier one of the same node; see `EtcdMemberItem.incarnation`.
        public var incarnation: String
        /// How it came.
        public var founding: EtcdMemberItem.Founding
        /// The members when it came.
        public var cluster: [EtcdMemberItem.Peer]

        /// A membership.
        public init(incarnation: String, founding: EtcdMemberItem.Founding, cluster: [EtcdMemberItem.Peer]) {
            self.incarnation = incarnation
            self.founding = founding
            self.cluster = cluster
        }
    }

    /// A step in words.
    public struct PlannedStep: Codable, Sendable, Hashable {
        /// What is done.
        public var step: String
        /// The voters after it, for example `3 of 3 vote, 2 are needed, 1 may fail`; nil: it is not about them.
        public var voters: String?

        /// A step.
        public init(step: String, voters: String? = nil) {
            self.step = step
            self.voters = voters
        }
    }
}
