import Primitives

/// Marks identifiers of nodes; the `Node` resource itself lives in the catalog.
public enum NodeMark {}

/// The identifier of a node: a random UUID given when the machine is first seen, for ever.
public typealias NodeID = ID<NodeMark>

/// What a node does.
public enum Role: String, Codable, Sendable, Hashable, CaseIterable {
    case network
    case compute
    case storage
    case controller

    /// The role modules that a node of this role runs: a hypervisor does its own part of the network.
    public var modules: [Role] { self == .compute ? [.compute, .network] : [self] }
}
