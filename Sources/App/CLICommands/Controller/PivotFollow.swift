import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

/// Follows a site that moves to its controllers, over the moment at which another conductor answers than before.
struct PivotFollow {
    /// What the conductor at an address tells; nil: the one that was asked first.
    let look: (String?) async throws -> ControllersReport
    /// Shows a line.
    let print: (String) -> Void
    var pause: Duration = .seconds(1)
    /// How long nobody may answer: none does while the catalog is compared and opened, and the controllers' conductors start.
    var silenceMax: Duration = .seconds(300)

    /// How it has ended.
    struct End {
        var report: ControllersReport
        /// Where the API is now; nil: where it was.
        var api: String?
    }

    /// Returns when the site has moved and its controllers have all, or, with `isBack`, when it is as it was. Throws `Failure`
    /// when it does not go on, and what the client throws when nobody answers any more.
    func run(endpoints: [String], isBack: Bool) async throws -> End {
        let begun = ContinuousClock.now
        var (heard, endpoints) = (begun, endpoints)
        var place: String?
        var shown = ControllerFollow.Shown()
        while true {
            do {
                let (report, api) = try await find(place, endpoints)
                if api != place { self.print("\(Self.margin(.now - begun))the controllers answer: \(api ?? "")") }
                (heard, place) = (.now, api)
                if let told = report.endpoints { endpoints = told }
                for line in shown.lines(report, after: heard - begun) { self.print(line) }
                if let end = try Self.end(report, at: place ?? endpoints.first, isBack: isBack) { return end }
            } catch let error as ClientError {
                guard error.mayPass || error.isMoved, ContinuousClock.now - heard < silenceMax else { throw error }
            }
            try await Task.sleep(for: pause)
        }
    }

    /// The first report of the place that answered last and then of those that shall answer.
    private func find(_ place: String?, _ endpoints: [String]) async throws -> (ControllersReport, String?) {
        do { return (try await look(place), place) } catch let error as ClientError {
            guard error.mayPass || error.isMoved else { throw error }
            for other in endpoints where other != place {
                if let report = try? await look(other) { return (report, other) }
            }
            throw error
        }
    }

    /// Whether it is over.
    private static func end(_ report: ControllersReport, at api: String?, isBack: Bool) throws -> End? {
        guard report.wanted != nil else {
            guard isBack else { throw Failure(message: "It was undone: the site stays with its first conductor.") }
            return End(report: report, api: nil)
        }
        if report.phase == .refused {
            throw Failure(
                message: "\(report.problem ?? "It does not go on.") It goes on by itself once that is mended.",
                exitCode: 4)
        }
        guard report.phase != .pivoting else { return nil }
        guard !isBack else {
            throw Failure(
                message: "It was too late: the site has moved, and there is no way back. See: muster controller list",
                exitCode: 4)
        }
        return report.isSettled ? End(report: report, api: api) : nil
    }

    private static func margin(_ time: Duration) -> String {
        let age = Ages.text(time)
        return String(repeating: " ", count: max(0, 6 - age.count)) + age + "  "
    }
}

extension ClientError {
    /// Whether a conductor says that its site is elsewhere now.
    fileprivate var isMoved: Bool {
        guard case .refused("site_moved", _) = self else { return false }
        return true
    }
}
