import AgentProtocol
import FleetContract
import Primitives

/// What an operator has chosen to see of the fleet. A pure step: keys come in, a redraw or the end comes out.
struct TopView: Hashable, Sendable {
    /// What rows are in the order of.
    enum Order: String, CaseIterable, Sendable {
        case name
        case state
        case processor
        case memory
        case network
        case age
    }

    enum Outcome: Hashable {
        case goOn
        case quit
    }

    var order = Order.name
    /// Rows have it in their name, role or state.
    var filter = ""
    /// Whether keys go into the filter.
    var isTyping = false
    /// The rows above the first that is shown.
    var scroll = 0

    private static let filterLengthMax = 60

    /// Takes what was typed at once.
    mutating func take(_ keys: [UInt8], pageSize: Int = 10) -> Outcome {
        switch keys {
        case [0x1B]:
            // Escape leaves the filter first, then the program.
            guard isTyping || !filter.isEmpty else { return .quit }
            (isTyping, filter, scroll) = (false, "", 0)
            return .goOn
        case [0x1B, 0x5B, 0x41], [0x1B, 0x4F, 0x41]: move(-1)
        case [0x1B, 0x5B, 0x42], [0x1B, 0x4F, 0x42]: move(1)
        case [0x1B, 0x5B, 0x35, 0x7E]: move(-pageSize)
        case [0x1B, 0x5B, 0x36, 0x7E]: move(pageSize)
        default:
            guard keys.first != 0x1B else { return .goOn }
            for key in keys where take(key) == .quit { return .quit }
        }
        return .goOn
    }

    private mutating func move(_ rows: Int) { scroll = max(0, scroll + rows) }

    private mutating func take(_ key: UInt8) -> Outcome {
        if key == 0x03 { return .quit }
        if isTyping {
            switch key {
            case 0x0D, 0x0A: isTyping = false
            case 0x7F, 0x08: if !filter.isEmpty { filter.removeLast() }
            case 0x15: filter = ""
            case 0x20...0x7E where filter.count < Self.filterLengthMax:
                filter.unicodeScalars.append(Unicode.Scalar(key))
                scroll = 0
            default: break
            }
            return .goOn
        }
        switch key {
        case UInt8(ascii: "q"): return .quit
        case UInt8(ascii: "s"), UInt8(ascii: "S"):
            let all = Order.allCases
            let step = key == UInt8(ascii: "s") ? 1 : all.count - 1
            order = all[((all.firstIndex(of: order) ?? 0) + step) % all.count]
            scroll = 0
        case UInt8(ascii: "/"): isTyping = true
        case UInt8(ascii: "j"): move(1)
        case UInt8(ascii: "k"): move(-1)
        default: break
        }
        return .goOn
    }

    /// The rows that pass the filter, in their order; those without the figure that is sorted by come last.
    func rows(of reply: TopReply) -> [TopRow] {
        let wanted = filter.lowercased()
        let rows = reply.nodes.filter { row in
            wanted.isEmpty || row.name.lowercased().contains(wanted) || row.state.contains(wanted)
                || (row.role?.rawValue.contains(wanted) ?? false)
        }
        func figure(_ row: TopRow) -> Double? {
            guard let vitals = row.vitals else { return order == .name || order == .state ? 0 : nil }
            switch order {
            case .name, .state: return 0
            case .processor: return vitals.processorShare
            case .memory: return vitals.memoryShare
            case .network:
                guard let received = vitals.receivedRate, let sent = vitals.sentRate else { return nil }
                return received + sent
            case .age: return reply.time.since(vitals.reported) / .seconds(1)
            }
        }
        func key(_ row: TopRow) -> Double { figure(row).map { -$0 } ?? .infinity }
        let keyed = rows.map { (key: key($0), row: $0) }
        return keyed.sorted { left, right in
            if order == .state, left.row.state != right.row.state { return left.row.state < right.row.state }
            return (left.key, left.row.name, left.row.id) < (right.key, right.row.name, right.row.id)
        }.map(\.row)
    }

    /// The screen, line by line: states, table, keys. `height` nil: all rows, and no keys.
    func lines(_ reply: TopReply, _ terminal: Terminal, height: Int? = nil) -> [String] {
        let rows = rows(of: reply)
        var head = [Self.summary(reply, terminal)]
        if reply.nodes.count < reply.nodeCount {
            head.append(fit("Only \(reply.nodes.count) of \(reply.nodeCount) machines, by name, are shown.", terminal))
        }
        guard let height else { return head + Self.table(rows, at: reply.time).lines(for: terminal) }
        let room = max(1, height - head.count - 2)
        let first = min(scroll, max(0, rows.count - room))
        let table = Self.table(Array(rows[first..<min(rows.count, first + room)]), at: reply.time)
        var lines = head + table.lines(for: terminal)
        while lines.count < height - 1 { lines.append("") }
        let part = rows.count > room ? "  \(first + 1)-\(first + room) of \(rows.count)" : ""
        let foot =
            isTyping
            ? "Filter: \(filter)_  (Enter keeps it, Esc drops it)"
            : "q quit  s sort: \(order.rawValue)  / filter\(filter.isEmpty ? "" : ": \(filter)")\(part)"
        return lines + [terminal.styled(fit(foot, terminal), .dim)]
    }

    private func fit(_ text: String, _ terminal: Terminal) -> String { terminal.width.map { text.cut(to: $0) } ?? text }

    private static func summary(_ reply: TopReply, _ terminal: Terminal) -> String {
        let states = reply.states.filter { $0.value > 0 }.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        let silent = reply.nodes.count { $0.isConnected == false && $0.state == "active" }
        var text = "\(Ages.clock(reply.time))  \(reply.nodeCount) machine\(reply.nodeCount == 1 ? "" : "s")"
        if !states.isEmpty { text += ": " + states.map { "\($0.value) \($0.key)" }.joined(separator: ", ") }
        if silent > 0 { text += "; \(silent) without their agent" }
        return terminal.styled(terminal.width.map { text.cut(to: $0) } ?? text, .bold)
    }

    private static func table(_ rows: [TopRow], at now: Timestamp) -> Table {
        var table = Table([
            .init("NAME", priority: 1, least: 16), .init("STATE", priority: 1, least: 12), .init("ROLE", priority: 7),
            .init("POWER", priority: 10),
            .init("CPU", priority: 2, isRightAligned: true), .init("LOAD", priority: 8, isRightAligned: true),
            .init("MEMORY", priority: 3, isRightAligned: true), .init("IN/S", priority: 5, isRightAligned: true),
            .init("OUT/S", priority: 6, isRightAligned: true), .init("POOL", priority: 9, isRightAligned: true),
            .init("TRIP", priority: 11, isRightAligned: true), .init("AGE", priority: 4, isRightAligned: true),
        ])
        table.rows = rows.map { row in
            let vitals = row.vitals
            return [
                .init(row.name, .bold), state(row), .init(row.role?.rawValue ?? "-"), .init(row.power),
                share(vitals?.processorShare, bad: 0.95), .init(vitals?.load.map(decimal) ?? "-"),
                share(vitals?.memoryShare, bad: 0.95), .init(rate(vitals?.receivedRate)),
                .init(rate(vitals?.sentRate)), share(vitals?.poolShare, bad: 0.9),
                .init(vitals?.roundTripSeconds.map { "\(decimal($0 * 1000)) ms" } ?? "-"),
                .init(vitals.map { Ages.since($0.reported, now: now) } ?? "-"),
            ]
        }
        return table
    }

    private static func state(_ row: TopRow) -> Table.Cell {
        if row.isInMaintenance { return .init("\(row.state), maintenance", .dim) }
        if row.state.hasSuffix("failed") { return .init(row.state, .red) }
        guard row.state == "active" else {
            return .init(row.phase.map { "\(row.state) (\(NodeText.words($0)))" } ?? row.state, .yellow)
        }
        if row.isUncertain == true { return .init("active, unknown", .yellow) }
        return row.isConnected == false ? .init("active, no agent", .red) : .init("active", .green)
    }

    private static func share(_ value: Double?, bad: Double) -> Table.Cell {
        guard let value, value.isFinite else { return "-" }
        return .init("\(Int((value * 100).rounded())) %", value >= bad ? .red : .plain)
    }

    private static func rate(_ value: Double?) -> String {
        guard let value, value >= 0, value < 1e18 else { return "-" }
        return ByteCount(bytes: UInt64(value)).description
    }

    /// With one decimal.
    private static func decimal(_ value: Double) -> String {
        guard value.isFinite, abs(value) < 1e9 else { return "-" }
        let tenths = Int((value * 10).rounded())
        return "\(tenths < 0 ? "-" : "")\(abs(tenths) / 10).\(abs(tenths) % 10)"
    }
}
