import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

/// Follows the controllers until they are what was ordered: over the moment at which another conductor answers than before,
/// and whoever of them is the one that answers.
struct ControllerFollow {
    /// What is waited for.
    enum Goal {
        /// The controllers are as they were asked for.
        case settled
        /// The site has moved to them, and they have all.
        case moved
        /// A move is undone.
        case back
    }

    let goal: Goal
    /// What the conductor at an address tells; nil: the one that was asked first.
    let look: @Sendable (String?) async throws -> ControllersReport
    /// Shows a line.
    let print: (String) -> Void
    var times = Times()

    /// How long it waits.
    struct Times {
        /// Between two looks.
        var pause: Duration = .seconds(1)
        /// How long who answered last has for the next answer until others are asked too.
        var headStart: Duration = .seconds(2)
        /// How long nobody answers until that is told.
        var silenceTold: Duration = .seconds(10)
        /// How long nobody may answer: the conductor that did may be the one that leaves, and none does while a catalog is
        /// compared and opened and the controllers' conductors start.
        var silenceMax: Duration = .seconds(300)
    }

    /// How it has ended.
    struct End {
        var report: ControllersReport
        /// Where the API is now; nil: where it was.
        var api: String?
    }

    /// Returns when all is as it was ordered. `endpoints` are those that may answer beside the first, best first; reports tell
    /// of others. Throws `Failure` when it does not go on or nobody answers any more, and what the client throws.
    func run(endpoints: [String]) async throws -> End {
        let begun = ContinuousClock.now
        var (heard, endpoints, isSilenceTold) = (begun, endpoints, false)
        var place: String?
        var shown = Shown()
        while true {
            do {
                let (report, api) = try await find(place, endpoints)
                if let api, api != place {
                    self.print("\(Self.margin(.now - begun))the controllers answer: \(api)")
                }
                (heard, place, isSilenceTold) = (.now, api, false)
                if let told = report.places { endpoints = told }
                for line in shown.lines(report, after: heard - begun) { self.print(line) }
                if try isReached(report) {
                    return End(report: report, api: goal == .back ? nil : report.endpoints?.first ?? place)
                }
            } catch let error as ClientError where error.mayPass || error.isMoved {
                let silence = ContinuousClock.now - heard
                guard silence < times.silenceMax else { throw Self.silent(error, endpoints, for: silence) }
                if silence >= times.silenceTold, !isSilenceTold {
                    let others = endpoints.isEmpty ? "" : ", also not at \(endpoints.joined(separator: ", "))"
                    self.print("\(Self.margin(.now - begun))nobody answers\(others); asked again and again")
                    isSilenceTold = true
                }
            }
            try await Task.sleep(for: times.pause)
        }
    }

    /// The report of who answered last or, when that one takes long or fails, of the first of the others that answers.
    private func find(_ place: String?, _ endpoints: [String]) async throws -> (ControllersReport, String?) {
        try await withThrowingTaskGroup(of: Answer.self) { group in
            let (look, headStart) = (look, times.headStart)
            group.addTask { Answer(place: place, isLast: true, report: try await Self.ask(look, place)) }
            for other in endpoints where other != place {
                group.addTask {
                    try await Task.sleep(for: headStart)
                    return Answer(place: other, isLast: false, report: try await Self.ask(look, other))
                }
            }
            defer { group.cancelAll() }
            var failure: ClientError?
            while let answer = try await group.next() {
                switch answer.report {
                case .success(let report): return (report, answer.place)
                case .failure(let error) where answer.isLast:
                    guard error.mayPass || error.isMoved else { throw error }
                    failure = error
                case .failure: continue
                }
            }
            guard let failure else { throw CancellationError() }
            throw failure
        }
    }

    private struct Answer {
        let place: String?
        let isLast: Bool
        let report: Result<ControllersReport, ClientError>
    }

    private static func ask(
        _ look: (String?) async throws -> ControllersReport, _ place: String?
    ) async throws -> Result<ControllersReport, ClientError> {
        do { return .success(try await look(place)) } catch let error as ClientError { return .failure(error) }
    }

    /// Whether it is over.
    private func isReached(_ report: ControllersReport) throws -> Bool {
        if goal != .settled, report.wanted == nil {
            guard goal == .back else {
                throw Failure(message: "It was undone: the site stays with its first conductor.")
            }
            return true
        }
        if report.phase == .refused {
            throw Failure(
                message: "\(report.problem ?? "It does not go on.") It goes on by itself once that is mended.",
                exitCode: 4)
        }
        if goal == .settled { return report.isSettled }
        guard report.phase != .pivoting else { return false }
        guard goal != .back else {
            throw Failure(
                message: "It was too late: the site has moved, and there is no way back. See: muster controller list",
                exitCode: 4)
        }
        return report.isSettled
    }

    private static func silent(_ error: ClientError, _ endpoints: [String], for silence: Duration) -> any Error {
        guard let own = endpoints.last else { return error }
        return Failure(
            message:
                "Nobody has answered for \(Ages.text(silence)), also not at \(endpoints.joined(separator: ", ")). What "
                + "was ordered goes on by itself. See that the controllers run and that this machine reaches them; then: "
                + "MUSTER_API=\(own) muster controller list. The last answer: \(error.publicMessage)",
            exitCode: error.exitCode)
    }

    private static func margin(_ time: Duration) -> String {
        let age = Ages.text(time)
        return String(repeating: " ", count: max(0, 6 - age.count)) + age + "  "
    }

    /// What was printed already.
    struct Shown {
        private var step: String?
        private var problem: String?

        /// What is news in `report`, `time` after the beginning.
        mutating func lines(_ report: ControllersReport, after time: Duration) -> [String] {
            var lines: [String] = []
            let margin = ControllerFollow.margin(time)
            if let next = report.plan.first?.step, next != step { lines.append(margin + next) }
            if let news = report.problem, news != problem { lines.append(margin + "it waits: \(news)") }
            if report.isSettled {
                lines.append(margin + "settled: \(report.wanted?.controllers.joined(separator: ", ") ?? "")")
            }
            (step, problem) = (report.plan.first?.step, report.problem)
            return lines
        }
    }
}

extension ControllerFollow {
    /// Follows by clients of the conductors that answer, beginning with `client`.
    static func run(
        _ goal: Goal, _ client: FleetClient, _ terminal: Terminal, endpoints: [String], silenceMax: Duration
    ) async throws -> End {
        let places = ControllerPlaces(client)
        var follow = ControllerFollow(
            goal: goal, look: { try await places.controllers(at: $0) },
            print: { if !terminal.isJSON { terminal.print($0) } })
        follow.times.silenceMax = silenceMax
        do {
            let end = try await follow.run(endpoints: endpoints)
            await places.shutdown()
            return end
        } catch {
            await places.shutdown()
            throw error
        }
    }
}

/// The conductors that may answer while controllers change, each with a client of its own.
private actor ControllerPlaces {
    private let first: FleetClient
    private var others: [String: FleetClient] = [:]

    init(_ client: FleetClient) { first = client }

    /// What the conductor at `api` tells; nil: the one that was asked first.
    func controllers(at api: String?) async throws -> ControllersReport {
        guard let api else { return try await first.controllers() }
        if let client = others[api] { return try await client.controllers() }
        let client = try first.moved(to: api)
        others[api] = client
        return try await client.controllers()
    }

    /// Closes all connections but those of the first.
    func shutdown() async {
        let clients = Array(others.values)
        others = [:]
        for client in clients { await client.shutdown() }
    }
}

extension ControllersReport {
    /// Where the API may answer, best first: at the shared address, and at each controller's own; nil: nobody knows yet.
    var places: [String]? {
        guard let endpoints else { return nil }
        return endpoints + (controllerEndpoints ?? []).filter { !endpoints.contains($0) }
    }
}

extension PivotReport {
    /// As of `ControllersReport`.
    var places: [String] { endpoints + controllerEndpoints.filter { !endpoints.contains($0) } }
}

extension ClientError {
    /// Whether a conductor says that its site is elsewhere now.
    fileprivate var isMoved: Bool {
        guard case .refused("site_moved", _) = self else { return false }
        return true
    }
}
