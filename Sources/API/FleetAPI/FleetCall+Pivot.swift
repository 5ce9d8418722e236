import APISupport
import AgentProtocol
import CatalogBareMetal
import ControlPlane
import FleetContract
import Hummingbird
import Primitives
import ReconcileRuntime
import ResourceModel

/// The move of a site from its first conductor to controllers.
extension FleetCall {
    /// Orders it, or only shows what it would do.
    func orderPivot(_ note: inout AuditNote) async throws -> Response {
        note.resource = ControlPlaneRecord.key(ControlPlaneRecord.name)
        let request = try await body(PivotRequest.self)
        guard let pivot = services.controllers.pivot else { throw PivotOrderRefusal.hasMoved }
        if let record = try await services.store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name)?.value {
            throw PivotOrderRefusal(underWay: record)
        }
        try Self.check(request.controllers)
        let found = try await pivot.controllers()
        let site = try await services.store.fetch(Site.self, Site.name)?.value.spec
        let question = PivotQuestion(seed: pivot.seed, now: services.cache.snapshot(), controllers: found)
        let spec = try question.spec(of: request, proxyPort: site?.proxyPort)
        let record = ControlPlaneRecord(
            created: services.clock.now, spec: spec, status: .init(phase: .pivoting, since: services.clock.now))
        var report = try Self.report(record, found, isOrdered: request.dryRun != true)
        report.warnings = pivot.warnings(spec.controllers) + question.warnings
        let names = spec.controllers.joined(separator: ", ")
        guard report.isOrdered else {
            note.summary = "only the plan of a move to \(names)"
            return .json(report)
        }
        let stored = Stored(new: record)
        do {
            let revision = try await services.store.commit(
                Transaction(conditions: [stored.unchanged], operations: [stored.put()]))
            note.after = try stored.encoded()
            note.summary = "the site moves to \(names)" + (spec.vip.map { ", at \($0.address)" } ?? "")
            try await services.cache.wait(for: revision)
        } catch let error as StoreError {
            guard case .conflict = error else { throw error }
            throw PivotOrderRefusal.isUnderWay(spec.controllers)
        }
        return .json(report)
    }

    /// Has one that is under way undone, which can be until the controllers' store is open.
    func undoPivot(_ note: inout AuditNote) async throws -> Response {
        note.resource = ControlPlaneRecord.key(ControlPlaneRecord.name)
        guard services.controllers.pivot != nil else { throw PivotOrderRefusal.noWayBack }
        for attempt in 0..<StoreContention.attemptCountMax {
            guard var stored = try await services.store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name)
            else { throw PivotOrderRefusal.noneUnderWay }
            guard stored.value.status.phase == .pivoting else { throw PivotOrderRefusal.noWayBack }
            let report = try Self.backReport(stored.value)
            guard stored.value.spec.goesBack != true else { return .json(report) }
            let before = try stored.encoded()
            stored.value.spec.goesBack = true
            stored.value.metadata.generation = stored.value.metadata.generation.next
            do {
                let revision = try await services.store.commit(
                    Transaction(conditions: [stored.unchanged], operations: [stored.put()]))
                (note.before, note.after) = (before, try stored.encoded())
                note.summary = "the site stays with its first conductor"
                try await services.cache.wait(for: revision)
                return .json(report)
            } catch let error as StoreError {
                guard case .conflict = error else { throw error }
            }
            await StoreContention.giveWay(after: attempt)
        }
        throw StoreError.conflict(ControlPlaneRecord.key(ControlPlaneRecord.name))
    }

    /// The way from the very beginning, as the conductor takes it.
    private static func report(
        _ record: ControlPlaneRecord, _ found: [String: PivotController], isOrdered: Bool
    ) throws -> PivotReport {
        var sight = PivotSight(seed: .init(revision: 0), controllers: [:])
        var then = record
        for name in record.spec.controllers {
            let controller = found[name]
            sight.controllers[name] = .init(
                isReady: controller?.isReady == true, hasSecrets: controller?.hasSecrets == true)
            guard let address = controller?.address else { continue }
            then.status.assignments.append(.init(controller: name, address: address))
        }
        then.status.published = record.spec.controllers
        return PivotReport(
            controllers: record.spec.controllers, endpoints: then.endpoints,
            controllerEndpoints: then.controllerEndpoints, steps: steps(try PivotPlan(from: sight).steps),
            isOrdered: isOrdered)
    }

    private static func backReport(_ record: ControlPlaneRecord) throws -> PivotReport {
        let sight = PivotSight(seed: .init(revision: 0), controllers: [:])
        return PivotReport(
            controllers: record.spec.controllers, endpoints: [], steps: steps(try PivotPlan(back: sight).steps),
            isOrdered: true)
    }

    private static func steps(_ steps: [PivotStep]) -> [PivotReport.Step] {
        var isFrozen = false
        return steps.map { step in
            if step == .freezeSeed { isFrozen = true }
            defer { if step == .openStore { isFrozen = false } }
            return PivotReport.Step(
                step: step.description, isWait: step.isWait, isFrozen: isFrozen, isPointOfNoReturn: step == .openStore)
        }
    }
}

/// Why a site is not moved, or does not go back.
enum PivotOrderRefusal: UserFacingError, APIErrorConvertible, Hashable {
    /// Its conductors share a store already.
    case hasMoved
    /// To these.
    case isUnderWay([String])
    /// One is being undone.
    case goesBack
    case noneUnderWay
    case noWayBack
    case badCount(Int)
    case namedTwice(String)
    case unknown(String)
    case otherRole(String, Role?)
    /// It has the name of the conductor that the site moves away from.
    case nameOfSeed(String)
    /// It has told no address in a segment; whether its agent is there to tell.
    case noAddress(String, isConnected: Bool)
    case vip(VIPProblem)

    init(underWay record: ControlPlaneRecord) {
        switch (record.status.phase, record.spec.goesBack) {
        case (.pivoting, true?): self = .goesBack
        case (.pivoting, _): self = .isUnderWay(record.spec.controllers)
        default: self = .hasMoved
        }
    }

    var publicMessage: String {
        switch self {
        case .hasMoved:
            "The site has moved already: its conductors share a store (muster controller list). To change who they are: "
                + "muster controller grow, replace or shrink."
        case .isUnderWay(let names):
            "The site is being moved already, to \(names.joined(separator: ", ")). See how far it is with: muster "
                + "controller list. To undo it: muster controller pivot --back"
        case .goesBack: "A move is being undone; once muster controller list shows none any more, order the next."
        case .noneUnderWay: "The site is not being moved; there is nothing to go back from."
        case .noWayBack:
            "The site has moved: its controllers' store is open and has taken changes, so that there is no way back, only on "
                + "(muster controller list)."
        case .badCount(let count):
            "A store is not founded with \(count) members: name 1, 3 or 5 nodes, so that more than half can always be told "
                + "from less."
        case .namedTwice(let name): "\(name) is named twice."
        case .unknown(let name):
            "There is no node '\(name)'; those that can be controllers: muster node list --role controller"
        case .otherRole(let name, let role):
            "\(name) has \(role.map { "the role \($0.rawValue)" } ?? "no role"): only nodes with the role controller can run "
                + "the store (muster node list --role controller)."
        case .nameOfSeed(let name):
            "The conductor that the site moves away from is called \(name) too: start that one with another "
                + "--conductor-name first."
        case .noAddress(let name, let isConnected):
            isConnected
                ? "\(name) has no address in a segment of the site, where the other controllers would reach it: give it one, by "
                    + "DHCP or in its network (muster node show \(name)), or add its network to the site file's segments."
                : "\(name) has not told yet which address it has: bring it to active first (muster node why \(name))."
        case .vip(let problem): problem.publicMessage
        }
    }

    var apiError: APIError {
        switch self {
        case .badCount, .namedTwice: .badRequest(publicMessage)
        case .unknown: .notFound(publicMessage)
        case .vip(let problem) where problem.isUsage: .badRequest(publicMessage)
        case .hasMoved, .noWayBack: APIError(.conflict, "has_moved", publicMessage)
        default: APIError(.conflict, "refused", publicMessage)
        }
    }
}
