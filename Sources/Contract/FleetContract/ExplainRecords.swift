import AgentProtocol
import CatalogBareMetal
import Primitives

/// POST `site/explain`: what would become of a machine with this inventory.
public struct ExplainRequest: Codable, Sendable, Hashable {
    /// What the machine is made of, as `muster node inventory --json` prints it.
    public var inventory: InventoryReport
    /// The rules to hold against it; nil: those of the conductor.
    public var rules: [SiteDocument.RuleEntry]?
    /// The bills of materials that go with them; nil: those of the conductor.
    public var skus: [SiteDocument.SKUEntry]?

    /// A request.
    public init(
        inventory: InventoryReport, rules: [SiteDocument.RuleEntry]? = nil, skus: [SiteDocument.SKUEntry]? = nil
    ) {
        self.inventory = inventory
        self.rules = rules
        self.skus = skus
    }
}

/// Why a machine is what it is, or what it would be.
public struct ExplainReply: Codable, Sendable, Hashable {
    /// The machine's node; nil when only an inventory was asked about.
    public var node: NodeSummary?
    /// One sentence: where it is and what to do.
    public var headline: String
    /// How each rule was held against it.
    public var rules: RuleExplanation
    /// Where each of the node's fields came from, or would.
    public var fields: [Field]
    /// What keeps it from being let in.
    public var blocks: [Node.Block]

    /// A field of the node.
    public struct Field: Codable, Sendable, Hashable {
        /// For example `name` or `root disk`.
        public var field: String
        /// Its value; nil: it has none.
        public var value: String?
        /// Where that came from, for people.
        public var source: String

        /// A field.
        public init(field: String, value: String?, source: String) {
            self.field = field
            self.value = value
            self.source = source
        }
    }

    /// A reply.
    public init(
        node: NodeSummary?, headline: String, rules: RuleExplanation, fields: [Field], blocks: [Node.Block]
    ) {
        self.node = node
        self.headline = headline
        self.rules = rules
        self.fields = fields
        self.blocks = blocks
    }
}
