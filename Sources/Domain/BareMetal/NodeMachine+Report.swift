import AgentProtocol
import CatalogBareMetal
import Primitives

extension NodeWalk {
    /// The most checks of a node that are kept, and the most characters of a name and of a text.
    static let conditionCountMax = 32
    static let conditionTypeMax = 60
    static let conditionMessageMax = 300
    /// The most changes of checks that become events in one window.
    static let checkEventCountMax = 20
    static let checkEventWindow: Duration = .seconds(600)

    mutating func agentReported(_ report: NodeStatusReport) {
        guard let before = node.status.agent else { return }
        let isReady = !report.roles.isEmpty && report.roles.allSatisfy(\.isReady)
        let checks = checks(of: report, before: before.conditions)
        node.status.agent?.addresses = Array(report.addresses.prefix(16))
        node.status.agent?.conditions = checks
        node.status.agent?.isReady = isReady
        let facts = RoleFacts.merged(report.roles.compactMap(\.facts))
        if !facts.isEmpty { effects.append(.keep(facts)) }
        let failing = checks.filter { !$0.isTrue }.map { "\($0.type): \($0.message)" }
        if node.status.state == .deploying(.checking) {
            if isReady {
                node.status.deployed = node.status.attempted
                enter(.active, wait: nil, why: "every role is ready")
            } else if !failing.isEmpty {
                node.status.wait?.cause = failing.joined(separator: "; ").printable(limit: 500)
            }
            return
        }
        if node.status.state == .unrescuing(.checking), isReady {
            endRescue(why: "every role is ready")
        }
        for (type, message) in Self.changes(from: before.conditions, to: checks) { recordCheck(type, message) }
        if before.isReady != isReady {
            effects.append(
                .record(
                    type: isReady ? "RolesReady" : "RolesNotReady",
                    message: isReady ? "every role is ready" : failing.joined(separator: "; ").printable(limit: 500)))
        }
    }

    /// The checks of a report, bounded. A role that does not answer tells of no check: what was wrong before still is.
    private func checks(of report: NodeStatusReport, before: [Condition]) -> [Condition] {
        var checks = ((report.conditions ?? []) + report.roles.flatMap(\.conditions)).prefix(Self.conditionCountMax).map
        { condition in
            var condition = condition
            condition.type = condition.type.printable(limit: Self.conditionTypeMax)
            condition.message = condition.message.printable(limit: Self.conditionMessageMax)
            return condition
        }
        if checks.contains(where: { $0.type == Condition.roleResponsive && !$0.isTrue }) {
            let told = Set(checks.map(\.type))
            checks += before.filter { !$0.isTrue && !told.contains($0.type) }
        }
        return Array(checks.prefix(Self.conditionCountMax))
    }

    /// What became of checks, as events: those that do not hold any more or are new and do not hold, and those that hold
    /// again or are not told as failing any more.
    private static func changes(from before: [Condition], to after: [Condition]) -> [(type: String, message: String)] {
        let old = Dictionary(before.map { ($0.type, $0) }, uniquingKeysWith: { first, _ in first })
        let new = Dictionary(after.map { ($0.type, $0) }, uniquingKeysWith: { first, _ in first })
        var changes: [(type: String, message: String)] = []
        for condition in after where !condition.isTrue && old[condition.type]?.isTrue != false {
            changes.append(("CheckFailed", "\(condition.type): \(condition.message)"))
        }
        for condition in before where !condition.isTrue {
            guard let now = new[condition.type] else {
                changes.append(("CheckPassed", "\(condition.type) is not failing any more"))
                continue
            }
            if now.isTrue { changes.append(("CheckPassed", "\(condition.type): \(now.message)")) }
        }
        return changes
    }

    /// Records a change of a check, unless there were too many of late: then that is said, once.
    private mutating func recordCheck(_ type: String, _ message: String) {
        var window = node.status.agent?.checkEvents ?? Node.Agent.CheckEvents(since: now, count: 0)
        if now.since(window.since) >= Self.checkEventWindow || now < window.since {
            window = Node.Agent.CheckEvents(since: now, count: 0)
        }
        // What is over the limit is not counted either: a node is not written for what nobody reads.
        guard window.count <= Self.checkEventCountMax else { return }
        window.count += 1
        node.status.agent?.checkEvents = window
        guard window.count > Self.checkEventCountMax else {
            effects.append(.record(type: type, message: message))
            return
        }
        let end = window.since.advanced(by: Self.checkEventWindow)
        effects.append(
            .record(
                type: "ChecksUnsteady",
                message: "checks change too often: further changes are not recorded before \(end); "
                    + "'muster node why \(node.spec.name)' shows what is so now"))
    }
}
