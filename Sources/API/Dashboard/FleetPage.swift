import AgentProtocol
import CatalogBareMetal
import FleetContract
import Primitives

/// The table of all nodes.
struct FleetPage: Sendable {
    let words: PageWords
    let nodes: [NodeSummary]
    /// What the search field holds.
    let wanted: String

    private var shown: [NodeSummary] {
        let wanted = wanted.lowercased()
        let found = wanted.isEmpty ? nodes : nodes.filter { Self.searchText($0).contains(wanted) }
        return Array(found.prefix(WebPages.nodeCountMax))
    }

    var markup: Markup {
        let shown = shown
        let isCut = wanted.isEmpty && shown.count < nodes.count
        return group {
            tag("div", ["class": "bar-row"]) {
                tag("h1") { "Fleet" }
                filters
                search
            }
            if isCut {
                tag("p", ["class": "notice"]) {
                    "The first \(WebPages.nodeCountMax) of \(nodes.count) machines by name; search for the others."
                }
            }
            table(shown, isCut: isCut)
            tag("p", ["id": "none", "class": "empty", "hidden": shown.isEmpty ? nil : ""]) {
                nodes.isEmpty
                    ? "No machine has been seen yet. Switch one on that boots over the network on a segment of the site."
                    : "No machine is like that."
            }
        }
    }

    private var filters: Markup {
        let counts = Dictionary(grouping: nodes, by: PageWords.group).mapValues(\.count)
        return tag("div", ["class": "filters", "role": "group", "aria-label": "Show"]) {
            tag("button", ["type": "button", "data-show": "all", "aria-pressed": "true"]) {
                "All "
                tag("span", ["class": "count"]) { "\(nodes.count)" }
            }
            for kind in PageWords.Group.allCases {
                tag("button", ["type": "button", "data-show": kind.rawValue, "aria-pressed": "false"]) {
                    tag("span", ["class": "dot \(kind.rawValue)"])
                    kind.title + " "
                    tag("span", ["class": "count"]) { "\(counts[kind] ?? 0)" }
                }
            }
        }
    }

    private var search: Markup {
        tag("form", ["role": "search", "method": "get", "action": "/", "class": "search"]) {
            tag("label", ["for": "q", "class": "unseen"]) { "Search name, role, state, address, hardware" }
            tag(
                "input",
                [
                    "id": "q", "name": "q", "type": "search", "autocomplete": "off", "spellcheck": "false",
                    "placeholder": "Search", "maxlength": "100", "value": wanted.isEmpty ? nil : wanted,
                ])
        }
    }

    private func table(_ shown: [NodeSummary], isCut: Bool) -> Markup {
        tag(
            "table",
            ["id": "fleet", "class": "fleet", "role": "table", "data-cut": isCut ? "" : nil]
        ) {
            tag("caption", ["class": "unseen"]) { "Machines; the heads of the columns sort" }
            tag("thead", ["role": "rowgroup"]) {
                tag("tr", ["role": "row"]) {
                    Self.head("name", "Name", isSorted: true)
                    Self.head("role", "Role")
                    Self.head("state", "State")
                    Self.head("since", "For")
                    Self.head("why", "Why, and what next")
                    Self.head("address", "Address")
                    Self.head("hardware", "Hardware")
                    Self.head("power", "Power")
                    Self.head("agent", "Agent")
                }
            }
            tag("tbody", ["id": "nodes", "role": "rowgroup"]) {
                for node in shown { row(node) }
            }
        }
    }

    private static func head(_ key: String, _ title: String, isSorted: Bool = false) -> Markup {
        tag(
            "th",
            [
                "scope": "col", "role": "columnheader", "class": "c-\(key)",
                "aria-sort": isSorted ? "ascending" : nil,
            ]
        ) {
            tag("button", ["type": "button", "data-sort": key]) { title }
        }
    }

    /// What the search looks through, lowercase.
    static func searchText(_ node: NodeSummary) -> String {
        [
            node.name, node.role?.rawValue ?? "", PageWords.stateWords(node), node.address?.description ?? "",
            node.hardware?.model ?? "", node.hardware.map { $0.disks.map(\.serial).joined(separator: " ") } ?? "",
            node.id.raw, node.wait?.cause ?? "", node.trust?.rawValue ?? "",
        ].joined(separator: " ").lowercased()
    }

    /// One node's row; the live stream sends the same.
    func row(_ node: NodeSummary) -> Markup {
        let kind = PageWords.group(node)
        let since = node.since.millisecondsSinceEpoch
        return tag(
            "tr",
            [
                "id": "n-\(node.id.raw)", "role": "row", "data-group": kind.rawValue,
                "data-search": Self.searchText(node),
            ]
        ) {
            tag("th", ["scope": "row", "role": "rowheader", "class": "c-name"]) {
                tag("a", ["href": PageWords.path(node.id)]) { node.name }
            }
            Self.cell("c-role", node.role?.rawValue)
            tag("td", ["role": "cell", "class": "c-state"]) {
                PageWords.state(node)
                if node.phase == .writing, let progress = node.progress { PageWords.bar(progress) }
            }
            tag("td", ["role": "cell", "class": "c-since", "data-key": "\(since)"]) { words.age(node.since) }
            tag("td", ["role": "cell", "class": "c-why"]) { why(node) }
            Self.cell("c-address", node.address?.description)
            tag("td", ["role": "cell", "class": "c-hardware", "data-key": "\(node.hardware?.memory.bytes ?? 0)"]) {
                if let hardware = node.hardware {
                    tag("span", ["title": hardware.model]) { PageWords.hardware(hardware) }
                } else {
                    "–"
                }
            }
            tag("td", ["role": "cell", "class": "c-power"]) {
                tag("span", ["class": "power \(node.power == "on" ? "on" : node.power == "off" ? "off" : "unknown")"]) {
                    node.power
                }
            }
            tag("td", ["role": "cell", "class": node.isConnected == nil ? "c-agent none" : "c-agent"]) {
                Self.agent(node)
            }
        }
    }

    /// A cell with a text, or with a dash that narrow screens leave out.
    private static func cell(_ name: String, _ text: String?) -> Markup {
        tag("td", ["role": "cell", "class": text == nil ? "\(name) none" : name]) { text ?? "–" }
    }

    private func why(_ node: NodeSummary) -> Markup {
        if let wait = node.wait {
            return group {
                tag("span", ["class": "cause"]) { PageWords.advice(wait.cause) }
                tag("span", ["class": "next"]) { PageWords.advice(wait.next) }
            }
        }
        if let error = node.lastError { return tag("span", ["class": "cause"]) { PageWords.advice(error) } }
        return .empty
    }

    private static func agent(_ node: NodeSummary) -> Markup {
        switch node.isConnected {
        case nil: Markup("–")
        case true? where node.isUncertain == true: tag("span", ["class": "agent"]) { "unknown" }
        case true?: tag("span", ["class": "agent up"]) { "stream open" }
        case false?: tag("span", ["class": "agent down"]) { "stream gone" }
        }
    }
}
