import AgentProtocol
import Primitives
import ResourceModel

/// What the roles of a node last told of it beside their checks. Stored under the node's identifier.
///
/// Apart from the node, which is written and listed far more often.
public struct NodeFacts: Resource {
    public static let kind = "baremetal.facts"
    public static let schemaVersion = 1
    /// What the facts may take of a document.
    public static let sizeMax = ByteCount.kibibytes(14)

    public var metadata: Metadata
    public var spec: Spec
    /// Written together with the node's status.
    public var status: Status

    /// Facts.
    public init(metadata: Metadata, spec: Spec, status: Status) {
        self.metadata = metadata
        self.spec = spec
        self.status = status
    }

    /// Whose facts they are.
    public struct Spec: Codable, Sendable, Hashable {
        /// The node.
        public var node: NodeID

        /// Facts of `node`.
        public init(node: NodeID) { self.node = node }
    }

    /// What was told.
    public struct Status: Codable, Sendable, Hashable {
        /// What the roles found.
        public var facts: RoleFacts
        /// When it was last told anew.
        public var changed: Timestamp

        /// What was told.
        public init(facts: RoleFacts, changed: Timestamp) {
            self.facts = facts
            self.changed = changed
        }
    }
}
