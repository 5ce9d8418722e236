import APISupport
import AgentProtocol
import CatalogBareMetal
import ControlPlane
import FleetContract
import Hummingbird
import Primitives
import ReconcileRuntime
import ResourceModel

/// The site's controllers.
extension FleetCall {
    /// The most names or members of one request; more than any control plane has.
    private static let nameCountMax = 16
    /// The most bytes of a node's name.
    private static let nameLengthMax = 80

    func showControllers() async throws -> Response { .json(try await controllersReport()) }

    /// What would be done; without a query, what is left to be done.
    func planControllers() async throws -> Response {
        let stored = try await controlPlane()
        let request = ChangeControllersRequest(
            controllers: query("controllers").map(Self.names) ?? stored.value.spec.controllers,
            retired: query("retired").map(Self.names))
        return .json(try await plan(request, from: stored.value).reply)
    }

    /// Says what the controllers shall be; the conductor that leads makes them so.
    func changeControllers(_ note: inout AuditNote) async throws -> Response {
        note.resource = ControlPlaneRecord.key(ControlPlaneRecord.name)
        let request = try await body(ChangeControllersRequest.self)
        for attempt in 0..<StoreContention.attemptCountMax {
            var stored = try await controlPlane()
            let before = try stored.encoded()
            let generation = stored.value.metadata.generation
            guard request.generation ?? generation == generation else {
                throw APIError.conflict(
                    "Somebody else has changed what the controllers shall be since that was planned; look at it again "
                        + "with: muster controller plan")
            }
            let planned = try await plan(request, from: stored.value)
            guard planned.spec != stored.value.spec else { return try await showControllers() }
            stored.value.spec = planned.spec
            stored.value.metadata.generation = generation.next
            do {
                let revision = try await services.store.commit(
                    Transaction(conditions: [stored.unchanged], operations: [stored.put()]))
                (note.before, note.after) = (before, try stored.encoded())
                note.summary = "controllers: \(planned.spec.controllers.joined(separator: ", "))"
                try await services.cache.wait(for: revision)
                return try await showControllers()
            } catch let error as StoreError {
                guard case .conflict = error else { throw error }
            }
            await StoreContention.giveWay(after: attempt)
        }
        throw StoreError.conflict(ControlPlaneRecord.key(ControlPlaneRecord.name))
    }

    // MARK: Plans

    private struct Planned {
        var spec: ControlPlaneRecord.Spec
        var reply: ControllersPlan
    }

    /// What a request comes to. Throws `MembershipRefusal`, and `APIError` for what there cannot be.
    private func plan(_ request: ChangeControllersRequest, from record: ControlPlaneRecord) async throws -> Planned {
        guard record.status.phase != .pivoting else {
            throw APIError.conflict(
                "The site is moving from its first conductor to its controllers; wait until that is done, or go back with: "
                    + "muster controller pivot --back")
        }
        guard let membership = services.controllers.membership,
            let surroundings = services.controllers.surroundings
        else { throw NoControlPlane.embeddedStore.apiError }
        try Self.check(request.controllers)
        try Self.check(request.retired ?? [])
        let desk = ControlPlaneDesk(
            store: services.store, membership: membership, surroundings: surroundings, clock: services.clock)
        let ids = Set(try await services.controllers.limited { try await membership.members() }.map(\.id))
        var spec = record.spec
        spec.controllers = request.controllers.sorted()
        // Of members that have gone nothing needs to be known any more.
        spec.retired =
            try request.retired.map { try Self.members($0, among: ids) }
            ?? record.spec.retired.filter { UInt64($0, radix: 16).map(ids.contains) == true }
        let wish = try ControlPlaneWish(spec)
        let (now, plan) = try await services.controllers.limited { try await desk.plan(for: wish) }
        let states = try await surroundings.controllers()
        return Planned(
            spec: spec,
            reply: ControllersPlan(
                controllers: spec.controllers, retired: spec.retired, generation: record.metadata.generation,
                now: .init(now), steps: plan.entries.map(ControllersPlan.Step.init),
                warnings: LentAddresses.warnings(for: spec.controllers, in: states)))
    }

    private static func names(_ text: String) -> [String] {
        text.split(separator: ",", omittingEmptySubsequences: true).map(String.init)
    }

    static func check(_ names: [String]) throws {
        guard names.count <= nameCountMax else { throw APIError.badRequest("At most \(nameCountMax) names.") }
        for name in names where name.isEmpty || name.utf8.count > nameLengthMax || !name.hasOnlyPrintableScalars {
            throw InvalidValue("controllers", name, expected: "names of nodes")
        }
    }

    private static func members(_ texts: [String], among ids: Set<UInt64>) throws -> [String] {
        try texts.map { text in
            guard let id = UInt64(text, radix: 16), ids.contains(id) else {
                throw InvalidValue(
                    "retired", text, expected: "members of the store, as muster controller list has them")
            }
            return String(id, radix: 16)
        }.sorted()
    }

    private func controlPlane() async throws -> Stored<ControlPlaneRecord> {
        guard let stored = try await services.store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name) else {
            throw NoControlPlane(ofShared: services.controllers.membership != nil).apiError
        }
        return stored
    }

    // MARK: The report

    private func controllersReport() async throws -> ControllersReport {
        let record = services.cache.get(ControlPlaneRecord.self, ControlPlaneRecord.name)
        var overview = ControllerOverview(record: record, now: services.clock.now)
        overview.states = try await services.controllers.surroundings?.controllers() ?? [:]
        overview.nodes = services.cache.all(Node.self).filter { overview.states[$0.spec.name] != nil }
        for node in overview.nodes {
            let facts = try await services.store.fetch(NodeFacts.self, node.metadata.name)?.value.status.facts
            overview.facts[node.metadata.name] = facts?.controller
        }
        overview.conductors = services.cache.all(ConductorRecord.self)
        overview.leader = services.conductor.leader()
        if let membership = services.controllers.membership {
            do { overview.members = try await services.controllers.limited { try await membership.members() } } catch {
                overview.membersUnknown = (error as? any UserFacingError)?.publicMessage ?? "they do not answer"
            }
        }
        var report = overview.report
        if record == nil {
            report.beginning = NoControlPlane(ofShared: services.controllers.membership != nil).publicMessage
        }
        return report
    }
}

/// Why there are no controllers to be changed.
enum NoControlPlane: UserFacingError, Hashable {
    /// The only conductor keeps the store in a file.
    case embeddedStore
    /// Conductors that were started by hand share the store.
    case byHand

    init(ofShared isShared: Bool) { self = isShared ? .byHand : .embeddedStore }

    var publicMessage: String {
        switch self {
        case .embeddedStore:
            "The site has one conductor and no control plane. Give nodes the role controller and let it move to them: "
                + "muster controller pivot NODE…"
        case .byHand:
            "The site's conductors were started by hand, and there is no control plane that keeps them. One begins on nodes "
                + "with the role controller: move the store back to one conductor (muster-conductor migrate --to sqlite), "
                + "then: muster controller pivot NODE…"
        }
    }

    var apiError: APIError { APIError(.conflict, "no_control_plane", publicMessage) }
}

/// The store's members do not tell how they are.
struct MembersSilent: UserFacingError, APIErrorConvertible, Hashable {
    let patience: Duration

    var publicMessage: String {
        "The store's members have not answered within \(patience.components.seconds) s; try again."
    }
    var apiError: APIError { APIError(.serviceUnavailable, "members_silent", publicMessage) }
}

extension MembershipRefusal: APIErrorConvertible {
    public var apiError: APIError {
        switch self {
        case .badCount, .namedTwice: .badRequest(publicMessage)
        default: APIError(.conflict, "refused", publicMessage)
        }
    }
}

extension ControlPlaneDesk.Failure: APIErrorConvertible {
    public var apiError: APIError { .conflict(publicMessage) }
}

extension ControllersPlan.Voters {
    init(_ voters: QuorumProof.Voters) {
        self.init(
            count: voters.count, answering: voters.healthy, quorum: voters.quorum, mayFail: max(0, voters.tolerance))
    }
}

extension ControllersPlan.Step {
    init(_ entry: MembershipPlan.Entry) {
        self.init(
            step: entry.step.description, changesVoters: entry.step.changesMembers, voters: .init(entry.proof.after))
    }
}
