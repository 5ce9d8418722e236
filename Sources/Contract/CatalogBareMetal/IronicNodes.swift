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

/// One sort of thing that clients of the bare-metal API make; its `IronicEntry` is the resource.
public protocol IronicNoun: Sendable {
    /// What clients gave.
    associatedtype Spec: Codable, Sendable, Hashable
    /// What the API says of it.
    associatedtype Status: Codable, Sendable, Hashable = NoStatus
    /// The kind's stored name, for example `baremetal.port`.
    static var kind: String { get }
}

/// A thing of the bare-metal API that nobody but the API writes.
public struct IronicEntry<Noun: IronicNoun>: Resource {
    public static var kind: String { Noun.kind }
    public static var schemaVersion: Int { 1 }

    public var metadata: Metadata
    public var spec: Noun.Spec
    public var status: Noun.Status

    /// An entry; `metadata.name` is a UUID, or what the noun says.
    public init(metadata: Metadata, spec: Noun.Spec, status: Noun.Status) {
        self.metadata = metadata
        self.spec = spec
        self.status = status
    }
}

extension IronicEntry where Noun.Status == NoStatus {
    /// An entry that is only asked for.
    public init(metadata: Metadata, spec: Noun.Spec) { self.init(metadata: metadata, spec: spec, status: NoStatus()) }
}

/// What clients keep with a machine; stored under the name of its `Node`.
public typealias MachineMembers = IronicEntry<MachineMembersNoun>
/// A node of the driver `fake-hardware`: there is no machine behind it, and every order is carried out at once.
public typealias FakeNode = IronicEntry<FakeNodeNoun>
/// A port that a client made: a network card that no inventory has told of.
public typealias NodePort = IronicEntry<NodePortNoun>
/// A chassis: a name that clients group nodes by.
public typealias Chassis = IronicEntry<ChassisNoun>
/// Says that a name, an instance or an address is taken, so that of two who want it at the same moment one gets it.
public typealias TakenMark = IronicEntry<TakenMarkNoun>

/// See `MachineMembers`.
public enum MachineMembersNoun: IronicNoun {
    public typealias Spec = ClientMembers
    public static let kind = "baremetal.members"
}

/// See `FakeNode`; its status is written by the API, which is all there is of its driver.
public enum FakeNodeNoun: IronicNoun {
    public typealias Spec = ClientMembers
    public static let kind = "baremetal.fakenode"

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

/// See `NodePort`.
public enum NodePortNoun: IronicNoun {
    public static let kind = "baremetal.port"

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

/// See `Chassis`.
public enum ChassisNoun: IronicNoun {
    public static let kind = "baremetal.chassis"

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

/// See `TakenMark`.
public enum TakenMarkNoun: IronicNoun {
    public static let kind = "baremetal.taken"

    /// Who has it.
    public struct Spec: Codable, Sendable, Hashable {
        /// The UUID of a node or a port.
        public var by: String

        /// Taken by `by`.
        public init(by: String) { self.by = by }
    }
}
