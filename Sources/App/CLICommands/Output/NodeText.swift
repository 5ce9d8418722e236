import AgentProtocol
import CatalogBareMetal
import FleetContract
import Primitives

/// Nodes as people read them.
enum NodeText {
    /// The state with its phase and how far an image is, for example `deploying (writing 43 %)`.
    static func state(_ node: NodeSummary) -> String {
        guard let phase = node.phase else { return node.state }
        guard phase == .writing, let percent = node.progress?.percent else {
            return "\(node.state) (\(words(phase)))"
        }
        return "\(node.state) (writing \(percent) %)"
    }

    static func words(_ phase: DeployPhase) -> String {
        switch phase {
        case .bootingRamdisk: "booting the ramdisk"
        case .writing: "writing"
        case .bootingDisk: "booting the disk"
        case .enrolling: "enrolling"
        case .checking: "checking"
        }
    }

    static func style(_ node: NodeSummary) -> Style {
        if hasFailed(node) { return .red }
        switch node.state {
        case "active":
            if node.isUncertain == true { return .yellow }
            return node.isConnected == false ? .red : .green
        case "enroll": return .yellow
        default: return .plain
        }
    }

    static func style(_ trust: TrustLevel?) -> Style {
        switch trust {
        case .attested: .green
        case .quarantined: .yellow
        case .approved, nil: .plain
        }
    }

    /// Whether the state is one that a failure leads to.
    static func hasFailed(_ node: NodeSummary) -> Bool { node.state.hasSuffix("failed") }

    /// What holds it up, in a few words.
    static func waiting(_ node: NodeSummary) -> String {
        if let maintenance = node.maintenance { return "maintenance" + (maintenance.reason.map { ": \($0)" } ?? "") }
        if let wait = node.wait { return wait.cause }
        return node.lastError ?? ""
    }

    /// Processors, memory and disks in a few words.
    static func hardware(_ summary: InventorySummary?) -> String {
        guard let summary else { return "" }
        let disks = summary.disks.map(\.size.description).joined(separator: "+")
        return "\(summary.processors) CPU, \(summary.memory), \(disks.isEmpty ? "no disk" : disks)"
    }

    /// A hypervisor in a few lines, each with its name.
    static func hypervisor(_ facts: ComputeFacts?) -> [(name: String, text: String)] {
        guard let facts else { return [] }
        let cpu = facts.processor
        let threads = cpu.sockets * cpu.dies * cpu.cores * cpu.threads
        let kind = [cpu.model, cpu.vendor].compactMap(\.self).joined(separator: ", ")
        var lines = [
            ("hypervisor", "libvirt \(facts.libvirtVersion), QEMU \(facts.hypervisorVersion ?? "none")"),
            (
                "processor",
                "\(cpu.architecture)\(kind.isEmpty ? "" : " (\(kind))"), \(threads) threads, "
                    + "\(cpu.features.count) features, \(facts.models.count) models for guests"
            ),
            ("guests", facts.guests.map { "\($0.architecture) (\($0.domainTypes.joined(separator: ", ")))" }.list),
            ("NUMA cells", facts.cells.map { "\($0.id): \($0.processors) threads, \($0.memory)\(pages($0))" }.list),
        ]
        let named = facts.domains.prefix(8).map { domain in
            "\(domain.name) (\(domain.state.rawValue), \(domain.processors) CPU, \(domain.memory))"
        }
        let rest = facts.domainCount - named.count
        lines.append(("domains", facts.domainCount == 0 ? "none" : named.list + (rest > 0 ? " and \(rest) more" : "")))
        return lines.map { (name: $0.0, text: $0.1) }
    }

    private static func pages(_ cell: ComputeFacts.Cell) -> String {
        let pages = cell.hugePages.filter { $0.count > 0 }.map { "\($0.count) × \($0.size)" }
        return pages.isEmpty ? "" : ", pages \(pages.joined(separator: " + "))"
    }

    /// The table of `muster node list`.
    static func table(_ nodes: [NodeSummary], now: Timestamp) -> Table {
        var table = Table([
            .init("NAME", priority: 1), .init("ROLE", priority: 2), .init("STATE", priority: 1, least: 12),
            .init("FOR", priority: 4), .init("TRUST", priority: 7), .init("POWER", priority: 6),
            .init("ADDRESS", priority: 3),
            .init("HARDWARE", priority: 8, least: 10), .init("WAITING FOR", priority: 5, least: 20),
        ])
        table.rows = nodes.map { node in
            [
                .init(node.name, .bold), .init(node.role?.rawValue ?? "-"), .init(state(node), style(node)),
                .init(Ages.since(node.since, now: now)), .init(node.trust?.rawValue ?? "-", style(node.trust)),
                .init(node.power), .init(node.address?.description ?? "-"), .init(hardware(node.hardware)),
                .init(waiting(node)),
            ]
        }
        return table
    }
}

extension [String] {
    fileprivate var list: String { isEmpty ? "none" : joined(separator: ", ") }
}
