import Primitives
import ResourceModel

/// What clients of the bare-metal API keep with a node and Muster has no use for itself, by the API's own names.
public struct ClientMembers: Codable, Sendable, Hashable {
    /// Members of the node as the client gave them (`extra`, `properties`, `owner` …); one that is not here has its default.
    public var members: [String: JSONValue]
    /// The node's traits, in order.
    public var traits: [String]
    /// When any of it was changed last; nil: never.
    public var updated: Timestamp?

    /// Nothing but `members`.
    public init(members: [String: JSONValue] = [:], traits: [String] = [], updated: Timestamp? = nil) {
        self.members = members
        self.traits = traits
        self.updated = updated
    }
}

/// What clients keep with a machine; stored under the name of its `Node`.
public struct MachineMembers: Resource {
    public static let kind = "baremetal.members"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: ClientMembers
    public var status: NoStatus

    /// What is kept with the machine `metadata.name`.
    public init(metadata: Metadata, spec: ClientMembers) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }
}

/// A node of the driver `fake-hardware`: there is no machine behind it, and every order is carried out at once.
public struct FakeNode: Resource {
    public static let kind = "baremetal.fakenode"
    public static let schemaVersion = 1

    public var metadata: Metadata
    /// What clients gave.
    public var spec: ClientMembers
    /// Where it is in its life; written by the API, which is all there is of its driver.
    public var status: Status

    /// A node; `metadata.name` is its UUID.
    public init(metadata: Metadata, spec: ClientMembers, status: Status) {
        self.metadata = metadata
        self.spec = spec
        self.status = status
    }

    /// Where it is in its life.
    public struct Status: Codable, Sendable, Hashable {
        /// Its state.
        public var state: FakeNodeState
        /// Since when; nil: since it was made.
        public var since: Timestamp?
        /// Whether its power is on; nil: nobody has switched it yet.
        public var isOn: Bool?
        /// When it was inspected last; nil: never.
        public var inspected: Timestamp?

        /// A node in `state`.
        public init(state: FakeNodeState) { self.state = state }
    }
}

/// Where a node without hardware is in its life; only states that rest, since nothing takes time.
public enum FakeNodeState: String, Codable, Sendable, Hashable, CaseIterable {
    case enroll, manageable, available, active, rescue
}

/// A port that a client made: a network card that no inventory has told of.
public struct NodePort: Resource {
    public static let kind = "baremetal.port"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// A port; `metadata.name` is its UUID.
    public init(metadata: Metadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }

    /// What it is.
    public struct Spec: Codable, Sendable, Hashable {
        /// The node it is of, by UUID.
        public var node: String
        /// Its address.
        public var address: MACAddress
        /// Other members as the client gave them (`extra`, `physical_network` …).
        public var members: [String: JSONValue]
        /// When it was changed last; nil: never.
        public var updated: Timestamp?

        /// A port of `node`.
        public init(node: String, address: MACAddress, members: [String: JSONValue] = [:]) {
            self.node = node
            self.address = address
            self.members = members
        }
    }
}

/// A chassis: a name that clients group nodes by.
public struct Chassis: Resource {
    public static let kind = "baremetal.chassis"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// A chassis; `metadata.name` is its UUID.
    public init(metadata: Metadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }

    /// What it is.
    public struct Spec: Codable, Sendable, Hashable {
        /// For people; nil: nothing.
        public var description: String?
        /// What clients keep with it.
        public var extra: [String: JSONValue]
        /// When it was changed last; nil: never.
        public var updated: Timestamp?

        /// A chassis.
        public init(description: String? = nil, extra: [String: JSONValue] = [:]) {
            self.description = description
            self.extra = extra
        }
    }
}

/// Says that a name, an instance or an address is taken, so that of two who want it at the same moment one gets it.
public struct TakenMark: Resource {
    public static let kind = "baremetal.taken"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// A mark.
    public init(metadata: Metadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }

    /// Who has it.
    public struct Spec: Codable, Sendable, Hashable {
        /// The UUID of a node or a port.
        public var by: String

        /// Taken by `by`.
        public init(by: String) { self.by = by }
    }
}
