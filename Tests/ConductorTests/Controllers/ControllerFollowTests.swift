import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives
import ResourceModel
import Synchronization
import TestSupport
import Testing

@testable import CLICommands

/// What the command shows of a move, over the moment at which others answer than before.
@Suite struct ControllerFollowTests {
    private static let silent = ClientError.unreachable(api: "seed", why: "refused", next: "")
    private static let endpoint = "https://10.77.0.5:9443"

    private static func report(
        _ phase: ControlPlaneRecord.Phase?, _ step: String? = nil, isSettled: Bool = false, problem: String? = nil
    ) -> ControllersReport {
        var report = ControllersReport(time: Timestamp(millisecondsSinceEpoch: 0))
        guard let phase else { return report }
        report.wanted = .init(controllers: ["c1", "c2", "c3"], retired: [], vip: nil, generation: Generation(1))
        report.phase = phase
        report.plan = step.map { [.init(step: $0)] } ?? []
        report.isSettled = isSettled
        report.problem = problem
        return report
    }

    /// Answers one after the other, of each place; the last of each stays.
    private final class Answers: Sendable {
        private let state: Mutex<[String: [Result<ControllersReport, ClientError>]]>
        let lines = Mutex<[String]>([])

        /// Those who take connections, or not even that, and never answer.
        private let hanging: Set<String>

        init(_ answers: [String: [Result<ControllersReport, ClientError>]], hanging: Set<String> = []) {
            state = Mutex(answers)
            self.hanging = hanging
        }

        func look(_ place: String?) async throws -> ControllersReport {
            if hanging.contains(place ?? "seed") { try await Task.sleep(for: .seconds(3600)) }
            let answer = state.withLock { state -> Result<ControllersReport, ClientError> in
                guard let first = state[place ?? "seed"]?.first else { return .failure(ControllerFollowTests.silent) }
                if state[place ?? "seed"]!.count > 1 { state[place ?? "seed"]!.removeFirst() }
                return first
            }
            return try answer.get()
        }

        func run(
            _ endpoints: [String], _ goal: ControllerFollow.Goal = .moved
        ) async throws -> ControllerFollow.End {
            try await ControllerFollow(
                goal: goal, look: { try await self.look($0) },
                print: { line in self.lines.withLock { $0.append(line) } },
                times: .init(
                    pause: .milliseconds(1), headStart: .milliseconds(20), silenceTold: .milliseconds(100),
                    silenceMax: .milliseconds(500))
            ).run(endpoints: endpoints)
        }
    }

    @Test("It follows from the seed to the controllers, and ends there when all is settled")
    func moves() async throws {
        let moved = ClientError.refused(code: "site_moved", "This site has moved")
        let answers = Answers([
            "seed": [
                .success(Self.report(.pivoting, "copy the store")),
                .failure(.failed(status: 503, "frozen")), .failure(moved),
            ],
            Self.endpoint: [
                .failure(Self.silent), .success(Self.report(.changing, "copy blobs")),
                .success(Self.report(.settled, isSettled: true)),
            ],
        ])
        let end = try await answers.run([Self.endpoint])
        #expect(end.api == Self.endpoint && end.report.isSettled)
        let lines = answers.lines.withLock { $0 }
        #expect(
            lines == [
                "    0s  copy the store", "    0s  the controllers answer: \(Self.endpoint)", "    0s  copy blobs",
                "    0s  settled: c1, c2, c3",
            ])
        let text = ControllerPivot.endLines(
            end, cloud: nil, Terminal(width: nil, isInteractive: false, isJSON: false, clock: ManualWallClock())
        ).joined(separator: "\n")
        #expect(text.contains("export MUSTER_API=\(Self.endpoint)"))
    }

    @Test("One that follows later learns from the seed where the site goes")
    func learns() async throws {
        var first = Self.report(.pivoting, "copy the store")
        first.endpoints = [Self.endpoint]
        let answers = Answers([
            "seed": [.success(first), .failure(Self.silent)],
            Self.endpoint: [.success(Self.report(.settled, isSettled: true))],
        ])
        #expect(try await answers.run([]).api == Self.endpoint)
    }

    @Test("Back, undone by somebody else, too late, refused, silent")
    func ends() async throws {
        let undone = Answers(["seed": [.success(Self.report(.pivoting, "take it away")), .success(Self.report(nil))]])
        #expect(try await undone.run([], .back).api == nil)
        let answers: [(Answers, ControllerFollow.Goal, String)] = [
            (Answers(["seed": [.success(Self.report(nil))]]), .moved, "It was undone"),
            (
                Answers(["seed": [.failure(Self.silent)], Self.endpoint: [.success(Self.report(.changing))]]), .back,
                "too late"
            ),
            (Answers(["seed": [.success(Self.report(.refused, problem: "no quorum"))]]), .moved, "no quorum"),
            (Answers(["seed": [.failure(Self.silent)]]), .moved, "cannot be reached"),
            (Answers(["seed": [.failure(.unauthorized("who are you"))]]), .moved, "who are you"),
        ]
        for (answers, goal, words) in answers {
            await #expect { try await answers.run([Self.endpoint], goal) } throws: { error in
                ((error as? any UserFacingError)?.publicMessage ?? "").contains(words)
            }
        }
    }

    @Test("Nobody has the shared address: a controller's own is followed, and the end names the shared one")
    func lostAddress() async throws {
        let moved = ClientError.refused(code: "site_moved", "This site has moved")
        let own = "https://10.77.0.11:9443"
        var first = Self.report(.pivoting, "copy the store")
        (first.endpoints, first.controllerEndpoints) = ([Self.endpoint], [own])
        var last = Self.report(.settled, isSettled: true)
        last.endpoints = [Self.endpoint]
        let answers = Answers(
            [
                "seed": [.success(first), .failure(moved)],
                own: [.success(Self.report(.changing, "wait", problem: "nobody has 10.77.0.5")), .success(last)],
            ], hanging: [Self.endpoint])
        #expect(try await answers.run([Self.endpoint]).api == Self.endpoint)
        let lines = answers.lines.withLock { $0 }
        #expect(
            lines == [
                "    0s  copy the store", "    0s  the controllers answer: \(own)", "    0s  wait",
                "    0s  it waits: nobody has 10.77.0.5", "    0s  settled: c1, c2, c3",
            ])

        // It had answered, and is lost while something else is changed.
        let change = Answers([own: [.success(last)]], hanging: ["seed", Self.endpoint])
        #expect(try await change.run([Self.endpoint, own], .settled).report.isSettled)
    }

    @Test("Nobody answers: that is told, and at last where and what to do")
    func silence() async throws {
        let own = "https://10.77.0.11:9443"
        let answers = Answers(["seed": [.failure(Self.silent)]])
        await #expect { try await answers.run([Self.endpoint, own]) } throws: { error in
            let failure = error as? Failure
            return failure?.exitCode == 5 && failure?.message.contains("also not at \(Self.endpoint), \(own)") == true
                && failure?.message.contains("MUSTER_API=\(own) muster controller list") == true
        }
        #expect(
            answers.lines.withLock { $0 }
                == ["    0s  nobody answers, also not at \(Self.endpoint), \(own); asked again and again"])
    }
}
