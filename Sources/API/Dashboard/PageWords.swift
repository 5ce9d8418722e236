import AgentProtocol
import CatalogBareMetal
import FleetContract
import Primitives

/// Times, states and commands as the pages show them.
struct PageWords: Sendable {
    /// The time to tell ages by; nil leaves them out, for comparing what does not age.
    var now: Timestamp?

    /// What a machine is to its operator: the order is that of the filters.
    enum Group: String, CaseIterable, Sendable {
        case bad
        case wait
        case busy
        case ok
        case rest

        var title: String {
            switch self {
            case .bad: "Failed"
            case .wait: "Needs you"
            case .busy: "Under way"
            case .ok: "Active"
            case .rest: "At rest"
            }
        }
    }

    static func group(_ node: NodeSummary) -> Group {
        if node.isInMaintenance { return .rest }
        if node.state.hasSuffix("failed") { return .bad }
        if node.state == "active" { return node.isConnected == false ? .bad : .ok }
        if !node.isApproved || node.wait?.owner == .operator { return .wait }
        return node.wait == nil && node.phase == nil ? .rest : .busy
    }

    /// The state with its mark; the mark says nothing that the words do not.
    static func state(_ node: NodeSummary) -> Markup {
        tag("span", ["class": "state \(group(node).rawValue)"]) { stateWords(node) }
    }

    static func stateWords(_ node: NodeSummary) -> String {
        let words = node.phase.map(phase) ?? node.state
        if node.isInMaintenance { return "\(words), maintenance" }
        guard node.state == "active" else { return words }
        if node.isUncertain == true { return "active, unknown" }
        return node.isConnected == false ? "active, not heard" : words
    }

    static func phase(_ phase: DeployPhase) -> String {
        switch phase {
        case .bootingRamdisk: "booting the ramdisk"
        case .writing: "writing the image"
        case .bootingDisk: "booting the disk"
        case .enrolling: "enrolling"
        case .checking: "checking"
        }
    }

    /// How far an image is, as a bar with its figure.
    static func bar(_ progress: Node.Progress) -> Markup {
        // Both numbers are what a machine says.
        let share = progress.total > 0 ? Double(progress.done) / Double(progress.total) : 0
        let percent = Int(max(0, min(1, share)) * 100)
        return tag("span", ["class": "bar"]) {
            tag("progress", ["max": "100", "value": "\(percent)", "aria-label": "Image written"]) { "\(percent) %" }
            tag("span", ["class": "number"]) { "\(percent) %" }
        }
    }

    /// How long ago something was, for example `42s`, `7m`, `3h`, `12d`; the script keeps it true.
    func age(_ time: Timestamp) -> Markup {
        tag("time", ["datetime": time.description, "data-age": "", "title": time.description]) {
            now.map { Self.duration($0.since(time)) } ?? ""
        }
    }

    /// How long until something is due.
    func due(_ time: Timestamp) -> Markup {
        tag("time", ["datetime": time.description, "data-due": "", "title": time.description]) {
            now.map { now in
                let left = time.since(now)
                return left < .zero ? "\(Self.duration(now.since(time))) ago" : "in \(Self.duration(left))"
            } ?? ""
        }
    }

    /// A point in time, UTC.
    static func moment(_ time: Timestamp) -> Markup {
        let text = time.description
        return tag("time", ["datetime": text, "title": text]) {
            tag("span", ["class": "date"]) { text.prefix(10).suffix(5) + " " }
            String(text.dropFirst(11).prefix(8))
        }
    }

    /// The script has the same rule.
    static func duration(_ duration: Duration) -> String {
        let seconds = max(0, duration.milliseconds / 1000)
        switch seconds {
        case ..<120: return "\(seconds)s"
        case ..<7200: return "\(seconds / 60)m"
        case ..<172_800: return "\(seconds / 3600)h"
        default: return "\(seconds / 86_400)d"
        }
    }

    /// A text in which commands of `muster` stand out: all of it, or what is in single quotes.
    static func advice(_ text: String) -> Markup {
        if text.hasPrefix("muster ") { return tag("code") { text } }
        var result = Markup.empty
        let parts = text.split(separator: "'", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            let isQuoted = index % 2 == 1 && index < parts.count - 1
            if isQuoted, part.hasPrefix("muster") {
                result = result + tag("code") { String(part) }
            } else {
                result = result + Markup(isQuoted ? "'\(part)'" : index % 2 == 1 ? "'\(part)" : String(part))
            }
        }
        return result
    }

    /// Processors, memory and disks in a few words.
    static func hardware(_ summary: InventorySummary) -> String {
        let disks = summary.disks.map(\.size.description).joined(separator: " + ")
        return "\(summary.processors) CPU, \(summary.memory), \(disks.isEmpty ? "no disk" : disks)"
    }

    /// The path of a node's page.
    static func path(_ node: NodeID) -> String { "/nodes/\(node.raw.percentEncoded)" }
}
