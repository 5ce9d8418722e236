import AgentProtocol
import CatalogBareMetal
import FleetContract
import Primitives

/// What is known of a node when its page is made.
struct NodePageFacts: Sendable {
    var detail: NodeDetail
    var inventory: InventoryReport?
    var why: WhyReply
    var logs: LogReply
}

/// All of one node, in parts that the live stream replaces one by one.
struct NodePage: Sendable {
    let facts: NodePageFacts
    let words: PageWords

    static let eventCount = 40
    static let logLineCount = 200

    /// A part of the page.
    struct Part: Sendable {
        let name: String
        /// The same for as long as nothing but ages has changed.
        let mark: String
        let markup: Markup
    }

    init(_ facts: NodePageFacts, words: PageWords) {
        self.facts = facts
        self.words = words
    }

    var detail: NodeDetail { facts.detail }
    var node: NodeSummary { facts.detail.node }

    /// The whole page.
    var markup: Markup {
        let parts = Dictionary(parts.map { ($0.name, $0.markup) }, uniquingKeysWith: { first, _ in first })
        return group {
            tag("nav", ["class": "crumbs", "aria-label": "You are here"]) {
                tag("a", ["href": "/"]) { "Fleet" }
                tag("span", ["aria-hidden": "true"]) { " / " }
                tag("span", ["aria-current": "page"]) { node.name }
            }
            parts["status"]
            tag("div", ["class": "columns"]) {
                tag("div", ["class": "column"]) {
                    for name in ["why", "deployment", "checks", "events"] { parts[name] }
                }
                tag("div", ["class": "column"]) {
                    for name in ["machine", "disks", "nics"] { parts[name] }
                }
            }
            parts["logs"]
        }
    }

    /// The page's parts in their order.
    var parts: [Part] {
        let ageless = NodePage(facts, words: PageWords(now: nil))
        return Self.contents.map { name, title, content in
            let mark = String(UInt(bitPattern: content(ageless).html.hashValue), radix: 36)
            let body = content(self)
            let markup = tag(
                "section",
                [
                    "id": name, "class": "panel \(name)", "data-mark": mark, "hidden": body == .empty ? "" : nil,
                    "aria-labelledby": title.isEmpty ? nil : "\(name)-title",
                ]
            ) {
                if !title.isEmpty { tag("h2", ["id": "\(name)-title"]) { title } }
                body
            }
            return Part(name: name, mark: mark, markup: markup)
        }
    }

    private static let contents: [(String, String, @Sendable (NodePage) -> Markup)] = [
        ("status", "", { $0.status }), ("why", "Why", { $0.why }), ("deployment", "Deployment", { $0.deployment }),
        ("checks", "Checks", { $0.checks }), ("events", "What happened", { $0.events }),
        ("machine", "Machine", { $0.machine }), ("disks", "Disks", { $0.disks }),
        ("nics", "Network interfaces", { $0.nics }), ("logs", "Log", { $0.logs }),
    ]

    // MARK: Status

    private var status: Markup {
        group {
            tag("div", ["class": "title-row"]) {
                tag("h1") { node.name }
                PageWords.state(node)
                tag("span", ["class": "soft"]) {
                    "for "
                    words.age(node.since)
                }
            }
            tag("p", ["class": "headline \(PageWords.group(node).rawValue)"]) { PageWords.advice(facts.why.headline) }
            tag("dl", ["class": "strip"]) {
                Self.fact("Role", node.role?.rawValue ?? "none yet")
                Self.fact("Address", node.address?.description)
                Self.fact("Power", node.power)
                Self.fact("Agent", agentWords)
                Self.fact("BMC", detail.spec.bmc ?? detail.identity.bmc)
                Self.fact("Trust", node.trust?.rawValue)
                Self.fact("Approved by", detail.spec.approval?.by ?? "nobody")
                if let maintenance = node.maintenance {
                    Self.fact("Maintenance", "\(maintenance.reason ?? "no reason given"), by \(maintenance.by)")
                }
            }
        }
    }

    private var agentWords: String {
        guard let agent = detail.agent else { return "none" }
        let stream =
            switch agent.connection {
            case .open: "stream open"
            case .unknown: "unknown, its conductor is gone"
            case .gone: "stream gone"
            }
        return "\(agent.version), \(stream)"
    }

    /// A name with its value; nothing without a value.
    static func fact(_ name: String, _ value: String?, isCode: Bool = false) -> Markup {
        guard let value, !value.isEmpty else { return .empty }
        return tag("div") {
            tag("dt") { name }
            tag("dd", ["class": isCode ? "mono" : nil]) { value }
        }
    }

    // MARK: Why

    private var why: Markup {
        tag("ol", ["class": "chain"]) {
            for cause in facts.why.causes {
                tag("li", ["class": cause.isProblem ? "problem" : nil]) {
                    tag("span", ["class": "subject"]) {
                        cause.subject
                        if cause.isProblem { tag("span", ["class": "unseen"]) { " (a problem)" } }
                    }
                    tag("span", ["class": "what"]) { PageWords.advice(cause.what) }
                    times(cause)
                    if let next = cause.next {
                        tag("span", ["class": "next"]) { PageWords.advice(next) }
                    }
                }
            }
        }
    }

    private func times(_ cause: WhyReply.Cause) -> Markup {
        var parts: [Markup] = []
        if let since = cause.since { parts.append(Markup("for ") + words.age(since)) }
        if let owner = cause.owner {
            parts.append(Markup(owner == .operator ? "an operator has to act" : "the \(owner.rawValue) has to act"))
        }
        if let deadline = cause.deadline { parts.append(Markup("deadline ") + words.due(deadline)) }
        guard let first = parts.first else { return .empty }
        return tag("span", ["class": "times"]) {
            parts.dropFirst().reduce(first) { $0 + Markup(" · ") + $1 }
        }
    }

    // MARK: Deployment

    private var deployment: Markup {
        guard let phase = node.phase else { return .empty }
        let all = DeployPhase.allCases
        let current = all.firstIndex(of: phase) ?? 0
        return group {
            tag("ol", ["class": "steps"]) {
                for (index, step) in all.enumerated() {
                    let kind = index < current ? "done" : index == current ? "current" : "coming"
                    tag("li", ["class": kind, "aria-current": index == current ? "step" : nil]) {
                        PageWords.phase(step)
                        tag("span", ["class": "unseen"]) { index < current ? " (done)" : "" }
                    }
                }
            }
            if phase == .writing, let progress = node.progress {
                PageWords.bar(progress)
                tag("p", ["class": "soft"]) {
                    "\(progress.done) of \(progress.total) chunks written and verified, "
                        + "\(ByteCount(bytes: progress.bytes)) received"
                }
            }
        }
    }

    // MARK: Checks and events

    private var checks: Markup {
        guard !facts.why.conditions.isEmpty else { return .empty }
        return tag("ul", ["class": "checks"]) {
            for condition in facts.why.conditions {
                tag("li", ["class": condition.isTrue ? "yes" : "no"]) {
                    tag("span", ["class": "mark"]) { condition.isTrue ? "ok" : "no" }
                    tag("span", ["class": "subject"]) { condition.type }
                    tag("span", ["class": "what"]) { condition.message }
                    tag("span", ["class": "times"]) {
                        "for "
                        words.age(condition.since)
                    }
                }
            }
        }
    }

    private var events: Markup {
        guard !facts.why.events.isEmpty else { return tag("p", ["class": "soft"]) { "Nothing yet." } }
        return tag("ol", ["class": "timeline"]) {
            for event in facts.why.events {
                tag("li", ["class": Self.isBad(event) ? "problem" : nil]) {
                    PageWords.moment(event.time)
                    tag("span", ["class": "what"]) { PageWords.advice(event.message) }
                    tag("span", ["class": "kind"]) { event.type }
                }
            }
        }
    }

    private static func isBad(_ event: EventRecord) -> Bool {
        event.type.hasSuffix("Failed") || event.type == "Refused" || event.type == "IdentityConflict"
    }

    // MARK: Log

    private var logs: Markup {
        let isMixed = facts.logs.sources.count > 1
        guard !facts.logs.lines.isEmpty else {
            return tag("p", ["class": "soft"]) { "No lines are kept of this machine." }
        }
        let lines = facts.logs.lines.map { isMixed ? "\($0.source): \($0.text)" : $0.text }.joined(separator: "\n")
        return tag("pre", ["tabindex": "0", "role": "log", "aria-label": "Log lines", "data-end": ""]) { lines }
    }
}
