import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

/// Follows a change of the controllers until it is done.
struct ControllerFollow {
    let client: FleetClient
    let terminal: Terminal
    var pause: Duration = .seconds(1)
    /// How long nobody may answer: the conductor that did may be the one that leaves.
    var silenceMax: Duration = .seconds(60)

    /// The report with which all is settled. Throws `Failure` when it does not go on, and what the client throws when nobody
    /// answers any more.
    func run() async throws -> ControllersReport {
        let begun = ContinuousClock.now
        var heard = begun
        var shown = Shown()
        while true {
            do {
                let report = try await client.controllers()
                heard = .now
                if !terminal.isJSON {
                    for line in shown.lines(report, after: heard - begun) { terminal.print(line) }
                }
                if report.isSettled { return report }
                if report.phase == .refused {
                    throw Failure(
                        message: "\(report.problem ?? "It does not go on.") It goes on by itself once that is mended.",
                        exitCode: 4)
                }
            } catch let error as ClientError {
                guard error.mayPass, ContinuousClock.now - heard < silenceMax else { throw error }
            }
            try await Task.sleep(for: pause)
        }
    }

    /// What was printed already.
    struct Shown {
        private var step: String?
        private var problem: String?

        /// What is news in `report`, `time` after the beginning.
        mutating func lines(_ report: ControllersReport, after time: Duration) -> [String] {
            var lines: [String] = []
            let age = Ages.text(time)
            let margin = String(repeating: " ", count: max(0, 6 - age.count)) + age + "  "
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
