import AgentProtocol
import CatalogBareMetal

/// What the conductor has given out and promised, to hold everything else against.
struct Ledger {
    /// An order to write or empty disks, as it was given to a boot of a machine.
    struct GivenOrder {
        let epoch: Int
        let hints: [RootDiskHint]
    }

    /// What a state has asked of a BMC and that has not reached it yet.
    struct AwaitedCall {
        let run: Int
        let since: Int64
        let state: NodeState
    }

    /// By machine, then by the order's number.
    var orders: [Int: [UInt64: GivenOrder]] = [:]
    /// The boots that an operator has let in.
    var approvedBoots: Set<String> = []
    /// The boot by which each node was seen first: a rule lets in that one.
    var firstBoots: [String: String] = [:]
    /// Nodes as they are in the store.
    var nodes: [String: Node] = [:]
    var awaited: [String: AwaitedCall] = [:]
    /// Since when a node's deadline is over and nothing has come of it.
    var overdue: [String: Int64] = [:]
}
