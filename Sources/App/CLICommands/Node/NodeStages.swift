import AgentProtocol
import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

struct NodeStages: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "stages", abstract: "Show how long each stage of the machines' last deployment took.",
        discussion: """
            From the events: seconds from power-on to the inventory, from there to the approval, of writing, of booting the \
            disk until the agent has its certificate, and until its roles are ready. TOTAL leaves out what people took.
            """)

    @Argument(help: ArgumentHelp("Nodes by name or identifier; without any, all.", valueName: "node"))
    var names: [String] = []

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let nodes = try await client.nodes().nodes.filter { node in
            names.isEmpty || names.contains(node.name) || names.contains(node.id.raw)
        }
        let bmcs = try await client.bmcs()
        var rows: [StageTimes] = []
        for node in nodes {
            let poweredOn = bmcs.first { $0.nodes.contains(node.name) }?.status.discoveryPowerOn
            let events = try await client.events(of: node.id.raw, limit: 500)
            rows.append(StageTimes(name: node.name, role: node.role?.rawValue, events: events, poweredOn: poweredOn))
        }
        if terminal.isJSON { return terminal.json(RecordList(items: rows)) }
        for line in StageTimes.table(rows).lines(for: terminal) { terminal.print(line) }
    }
}

/// How long the stages of a machine's last deployment took, in milliseconds; nil: it is not known or not over.
struct StageTimes: Codable, Sendable, Hashable {
    /// The node.
    var name: String
    /// Its role.
    var role: String?
    /// From power-on to the inventory: firmware, network boot, ramdisk.
    var discovered: Int64?
    /// From the inventory to the approval: people.
    var approved: Int64?
    /// The image.
    var written: Int64?
    /// The power reset, firmware, boot loader and system, until the agent has its certificate.
    var enrolled: Int64?
    /// Until every role is ready.
    var ready: Int64?
    /// All of it without the wait for people.
    var total: Int64? {
        guard let written, let enrolled, let ready else { return nil }
        return (discovered ?? 0) + written + enrolled + ready
    }

    init(name: String, role: String?, events: [EventRecord], poweredOn: Timestamp?) {
        self.name = name
        self.role = role
        let ordered = events.sorted { ($0.time, $0.key) < ($1.time, $1.key) }
        func last(_ word: String, before limit: Timestamp? = nil) -> Timestamp? {
            ordered.last { event in
                event.type == "StateChanged" && event.message.contains("→ \(word): ")
                    && event.time <= limit ?? event.time
            }?.time
        }
        func span(_ from: Timestamp?, _ to: Timestamp?) -> Int64? {
            guard let from, let to, to >= from else { return nil }
            return to.since(from).milliseconds
        }
        let active = last("active")
        let checking = last("deploying (checking)", before: active)
        let booting = last("deploying (bootingDisk)", before: checking)
        let writing = last("deploying (writing)", before: booting)
        let seen = ordered.first { $0.type == "RamdiskBooted" }?.time
        discovered = span(poweredOn, seen)
        approved = span(seen, ordered.first { $0.type == "Approved" }?.time)
        written = span(writing, booting)
        enrolled = span(booting, checking)
        ready = span(checking, active)
    }

    static func table(_ rows: [StageTimes]) -> Table {
        var table = Table(
            [.init("NAME", priority: 6), .init("ROLE", priority: 3)]
                + ["DISCOVERED", "APPROVED", "WRITTEN", "ENROLLED", "READY", "TOTAL"].map { .init($0, priority: 4) })
        table.rows = rows.map { row in
            let times = [row.discovered, row.approved, row.written, row.enrolled, row.ready, row.total]
            return [.init(row.name, .bold), .init(row.role ?? "-")]
                + times.map { .init($0.map { "\($0 / 1000).\($0 % 1000 / 100) s" } ?? "-") }
        }
        return table
    }
}
