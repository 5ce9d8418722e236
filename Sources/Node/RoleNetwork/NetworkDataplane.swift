import AgentProtocol
import LinuxSystem
import Primitives

/// Makes the kernel's network what a list of overlays says; all calls are synchronous and belong to the network
/// namespace of the calling thread.
struct NetworkDataplane {
    /// What came of one part of the work.
    struct Outcome: Hashable, Sendable {
        /// Changes that were made, or that would be needed.
        var changes = 0
        /// What stands in the way, one sentence each.
        var problems: [String] = []
    }

    private let netlink: Netlink
    private let nftables: Nftables

    /// Opens the kernel's interfaces; throws `SystemError`.
    init() throws(SystemError) {
        netlink = try Netlink()
        nftables = try Nftables()
    }

    /// Makes `items` so by difference, and takes away what this role made for others, unless `items` is not complete:
    /// then nothing is taken away. Each overlay stands for itself: a problem with one does not keep the others from
    /// being made.
    func apply(_ items: [OverlayItem], isComplete: Bool = true) -> (overlays: Outcome, rules: Outcome) {
        var overlays = Outcome()
        var rules = Outcome()
        attempt(&overlays) { () throws(SystemError) in
            guard isComplete else { return 0 }
            let steps = OverlayPlan.leftovers(items, from: try observe(items))
            for step in steps { try execute(step) }
            return steps.count
        }
        for item in items {
            attempt(&overlays) { () throws(any Error) in
                let steps = try plan(item)
                for step in steps { try execute(step) }
                return steps.count
            }
        }
        attempt(&rules) { () throws(SystemError) in
            if let table = try table(items, isComplete) { return try nftables.ensure(table) ? 1 : 0 }
            if isComplete { try nftables.delete(family: OverlayPlan.tableFamily, name: OverlayPlan.tableName) }
            return 0
        }
        return (overlays, rules)
    }

    /// What `apply` would change; changes nothing.
    func check(_ items: [OverlayItem], isComplete: Bool = true) -> (overlays: Outcome, rules: Outcome) {
        var overlays = Outcome()
        var rules = Outcome()
        attempt(&overlays) { () throws(SystemError) in
            try isComplete ? OverlayPlan.leftovers(items, from: observe(items)).count : 0
        }
        for item in items {
            attempt(&overlays) { () throws(any Error) in try plan(item).count }
        }
        attempt(&rules) { () throws(SystemError) in
            let found = try nftables.observe(family: OverlayPlan.tableFamily, name: OverlayPlan.tableName)
            if let table = try table(items, isComplete) { return table.commands(from: found).isEmpty ? 0 : 1 }
            return isComplete && found != nil ? 1 : 0
        }
        return (overlays, rules)
    }

    /// The rules for `items`, and while these are not complete also for the devices of this role that none of them
    /// names; nil when there is nothing to guard.
    private func table(_ items: [OverlayItem], _ isComplete: Bool) throws(SystemError) -> NftablesTable? {
        var others: [IPv4Address] = []
        if !isComplete {
            let named = Set(items.map(\.device))
            for link in try netlink.links() where link.group == OverlayPlan.group && link.kind == "vxlan" {
                if !named.contains(link.name) { others += try netlink.floodPeers(index: link.index) }
            }
        }
        return items.isEmpty && others.isEmpty ? nil : OverlayPlan.table(for: items, and: others)
    }

    /// The address that tunnels without one of their own begin at: the first that the node is reached at, except on
    /// interfaces of this role.
    func underlayAddress() throws(SystemError) -> IPv4Address? {
        let own = try netlink.links().filter { $0.group == OverlayPlan.group }.map(\.index)
        return try netlink.reachableAddresses().first { !own.contains($0.index) }?.address
    }

    private func plan(_ item: OverlayItem) throws -> [OverlayStep] {
        guard let local = try item.local ?? underlayAddress() else {
            throw OverlayConflict(publicMessage: "No interface has an IPv4 address for tunnels to begin at.")
        }
        return try OverlayPlan.steps(for: item, local: local, from: try observe([item]))
    }

    private func observe(_ items: [OverlayItem]) throws(SystemError) -> ObservedNetwork {
        var observed = ObservedNetwork(links: try netlink.links())
        for item in items {
            guard let link = observed.link(named: item.device), link.kind == "vxlan" else { continue }
            observed.floodPeers[item.device] = try netlink.floodPeers(index: link.index)
        }
        return observed
    }

    private func execute(_ step: OverlayStep) throws(SystemError) {
        func index(_ name: String) throws(SystemError) -> Int32 {
            guard let link = try netlink.links().first(where: { $0.name == name }) else {
                throw SystemError("find the interface \(name)", errno: 0, detail: "it is gone")
            }
            return link.index
        }
        switch step {
        case .delete(let name): try netlink.delete(index: try index(name))
        case .createBridge(let name, let mtu): try netlink.createBridge(name, mtu: mtu, group: OverlayPlan.group)
        case .createVXLAN(let name, let settings, let mtu):
            try netlink.createVXLAN(name, settings, mtu: mtu, group: OverlayPlan.group)
        case .adopt(let name): try netlink.setGroup(OverlayPlan.group, index: try index(name))
        case .setMTU(let name, let mtu): try netlink.setMTU(mtu, index: try index(name))
        case .setMaster(let name, let bridge): try netlink.setMaster(try index(bridge), index: try index(name))
        case .setUp(let name): try netlink.setUp(true, index: try index(name))
        case .addPeer(let name, let peer): try netlink.addFloodPeer(peer, index: try index(name))
        case .removePeer(let name, let peer): try netlink.removeFloodPeer(peer, index: try index(name))
        }
    }

    private func attempt(_ outcome: inout Outcome, _ body: () throws -> Int) {
        do {
            outcome.changes += try body()
        } catch {
            outcome.problems.append((error as? any UserFacingError)?.publicMessage ?? "\(error)")
        }
    }
}
