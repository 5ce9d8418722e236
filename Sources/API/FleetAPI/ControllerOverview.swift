import AgentProtocol
import CatalogBareMetal
import ControlPlane
import FleetContract
import Primitives
import ResourceModel

/// The controllers as they are seen from the store's members, the nodes and the conductors; pure.
struct ControllerOverview {
    let record: ControlPlaneRecord?
    let now: Timestamp
    var members: [StoreMember] = []
    var membersUnknown: String?
    var states: [String: ControllerState] = [:]
    var nodes: [Node] = []
    /// What they have told of their services, by their identifiers.
    var facts: [String: ControllerFacts] = [:]
    var conductors: [ConductorRecord] = []
    /// The run of the conductor that leads.
    var leader: String?

    init(record: ControlPlaneRecord?, now: Timestamp) {
        self.record = record
        self.now = now
    }

    var report: ControllersReport {
        var report = ControllersReport(time: now)
        report.controllers = controllers
        report.membersUnknown = membersUnknown
        guard let record else { return report }
        let vip = record.spec.vip.map { "\($0.address)/\($0.prefixLength)" }
        report.wanted = .init(
            controllers: record.spec.controllers, retired: record.spec.retired, vip: vip,
            generation: record.metadata.generation)
        report.endpoints = record.endpoints.isEmpty ? nil : record.endpoints
        report.controllerEndpoints = record.controllerEndpoints.isEmpty ? nil : record.controllerEndpoints
        let isObserved = record.status.observed == record.metadata.generation
        report.phase = isObserved || record.status.phase == .pivoting ? record.status.phase : .changing
        report.isSettled = isObserved && record.status.phase == .settled
        // What was planned for an older wish is not done any more.
        report.plan = isObserved || record.status.phase == .pivoting ? record.status.plan : []
        report.since = isObserved ? record.status.since : nil
        report.problem = isObserved || record.status.phase == .pivoting ? record.status.problem : nil
        return report
    }

    private var controllers: [ControllersReport.Controller] {
        let names = addresses
        let placed = members.map { (name: name(of: $0, names), member: $0) }
        var all = Set(states.keys).union(record?.spec.controllers ?? []).union(placed.map(\.name))
        all.formUnion(record?.status.assignments.map(\.controller) ?? [])
        all.formUnion(conductors.map(\.metadata.name))
        return all.sorted().map { name in
            var row = ControllersReport.Controller(name: name, address: address(of: name), part: .spare)
            row.members = placed.filter { $0.name == name }.map { Self.member($0.member) }.sorted { $0.id < $1.id }
            row.address = row.address ?? placed.first { $0.name == name }?.member.peer?.host
            row.conductor = conductors.first { $0.metadata.name == name }.map {
                .init(isLeader: $0.spec.run == leader, lagMilliseconds: $0.status.lagMilliseconds)
            }
            row.isReady = states[name]?.isReady
            if let node = nodes.first(where: { $0.spec.name == name }) {
                row.hasSecrets = node.hasControllerSecrets
                row.hasVIP = facts[node.metadata.name]?.vip.map { $0.state == .master }
            }
            row.part = part(of: row)
            return row
        }
    }

    private func part(of row: ControllersReport.Controller) -> ControllersReport.Controller.Part {
        let isPart = !row.members.isEmpty || record?.status.assignments.contains { $0.controller == row.name } == true
        guard let record else { return row.conductor != nil || isPart ? .byHand : .spare }
        if record.spec.controllers.contains(row.name) {
            // Where the store does not tell, what was assigned says it.
            return isPart ? .stays : .comes
        }
        return isPart ? .leaves : row.conductor != nil && states[row.name] == nil ? .byHand : .spare
    }

    // MARK: Who has which address

    private var addresses: [IPv4Address: String] {
        var names: [IPv4Address: String] = [:]
        for conductor in conductors {
            if let host = Self.host(conductor) { names[host] = conductor.metadata.name }
        }
        for (name, state) in states { if let address = state.address { names[address] = name } }
        for assignment in record?.status.assignments ?? [] { names[assignment.address] = assignment.controller }
        return names
    }

    private func name(of member: StoreMember, _ names: [IPv4Address: String]) -> String {
        member.peer.flatMap { names[$0.host] } ?? "member-\(String(member.id, radix: 16))"
    }

    private func address(of name: String) -> IPv4Address? {
        record?.status.assignments.first { $0.controller == name }?.address ?? states[name]?.address
            ?? conductors.first { $0.metadata.name == name }.flatMap(Self.host)
    }

    private static func host(_ conductor: ConductorRecord) -> IPv4Address? {
        try? SocketAddress(conductor.spec.addresses.apiPort).host
    }

    private static func member(_ member: StoreMember) -> ControllersReport.Member {
        let state: ControllersReport.Member.State =
            if !member.isStarted { .added } else if !member.isHealthy { .silent } else if member.isLearner {
                .learner
            } else { member.isLeader ? .leader : .follower }
        return .init(id: String(member.id, radix: 16), state: state, behind: member.behind)
    }
}
