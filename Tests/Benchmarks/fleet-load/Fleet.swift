import AgentProtocol
import Foundation
import NIOCore
import Primitives
import Synchronization
import WebSocketMessages

/// All machines of one run and, once they are nodes, their agents.
struct Fleet: Sendable {
    let site: LoadSite
    let machines: Int
    let concurrency: Int

    /// Streams opened at once after a loss; each agent waits a random part of a second first, as real ones do.
    private static let reopenConcurrency = 128

    func run() async throws {
        let relay = try await RelaySocket.open(relay: site.relay, server: site.server)
        let tally = Tally()
        let agents = try await enrol(relay, tally)
        let watch = AgentWatch(count: agents.count)
        await withDiscardingTaskGroup { group in
            let gate = AsyncSemaphore(limit: Self.reopenConcurrency)
            for agent in agents { group.addTask { await keep(agent, watch, gate) } }
            let lines = CommandLines.read()
            for await line in lines {
                switch line {
                case "storm": try? await watch.storm().write()
                case "change": try? await watch.change().write()
                default: break
                }
            }
            group.cancelAll()
        }
    }

    private func enrol(_ relay: RelaySocket, _ tally: Tally) async throws -> [Machine.Agent] {
        let trust = TrustRoots()
        let began = ContinuousClock.now
        let agents = Collected<Machine.Agent>()
        let durations = Collected<Double>()
        await withDiscardingTaskGroup { group in
            let places = AsyncSemaphore(limit: concurrency)
            for number in 1...machines {
                await places.enter()
                group.addTask {
                    let start = ContinuousClock.now
                    do {
                        let agent = try await Machine(
                            number: number, site: site, relay: relay, trust: trust, tally: tally
                        ).enrol()
                        agents.add([agent])
                        durations.add([(ContinuousClock.now - start).inMilliseconds])
                    } catch {
                        tally.fail("LOST: \(error)")
                    }
                    places.leave()
                }
                // The first machine learns the authority for all.
                while number == 1, !trust.isKnown, tally.failures.isEmpty {
                    try? await Task.sleep(for: .milliseconds(5))
                }
            }
        }
        let seconds = (ContinuousClock.now - began).inMilliseconds / 1000
        var report = Report("ingest", milliseconds: durations.all, seconds: seconds)
        report.failures = tally.failures
        report.steps = tally.medians
        try report.write()
        return agents.all
    }

    /// Reads an agent's stream, and opens it anew whenever it is lost. Until the conductor has greeted, it is not there.
    private func keep(_ agent: Machine.Agent, _ watch: AgentWatch, _ places: AsyncSemaphore) async {
        var stream: WebSocketConnection? = agent.stream
        var isAgain = false
        while !Task.isCancelled {
            if let open = stream {
                for await text in open.messages {
                    switch try? AgentStream.decode(ConductorMessage.self, from: text.readableBytesView) {
                    case .welcome where isAgain: watch.back()
                    case .change: watch.told()
                    default: break
                    }
                }
                watch.lost()
                isAgain = true
            }
            try? await Task.sleep(for: .milliseconds(Int64.random(in: 100...1000)))
            await places.enter()
            stream = try? await Machine.open(agent.node, agent.security, site)
            places.leave()
        }
    }
}

/// When agents lost their streams, came back and were told changes.
final class AgentWatch: Sendable {
    private struct State {
        var lostCount = 0
        var back: [Double] = []
        var told: [Double] = []
        var firstLoss: Double?
    }

    private let count: Int
    private let state = Mutex(State())

    init(count: Int) { self.count = count }

    func lost() {
        let now = wallClockSeconds()
        state.withLock { state in
            state.lostCount += 1
            state.firstLoss = state.firstLoss ?? now
        }
    }

    func back() {
        let now = wallClockSeconds()
        state.withLock { $0.back.append(now) }
    }

    func told() {
        let now = wallClockSeconds()
        state.withLock { $0.told.append(now) }
    }

    /// Waits until all streams are back; the times count from when the first was lost.
    func storm() async -> Report {
        let (times, first) = await all {
            $0.back.count >= self.count
        } taking: { state in
            defer { (state.back, state.firstLoss, state.lostCount) = ([], nil, 0) }
            return (state.back, state.firstLoss)
        }
        return report("storm", times, since: first)
    }

    /// Waits until all agents were told a change; the times count from now.
    func change() async -> Report {
        let start = wallClockSeconds()
        state.withLock { $0.told = [] }
        let (times, _) = await all {
            $0.told.count >= self.count
        } taking: { state in
            defer { state.told = [] }
            return (state.told, nil)
        }
        return report("change", times, since: start)
    }

    private func all(
        _ isDone: @escaping @Sendable (borrowing State) -> Bool,
        taking: @Sendable (inout State) -> ([Double], Double?)
    ) async -> ([Double], Double?) {
        let deadline = ContinuousClock.now + .seconds(300)
        while !state.withLock({ isDone($0) }), ContinuousClock.now < deadline {
            try? await Task.sleep(for: .milliseconds(20))
        }
        return state.withLock { taking(&$0) }
    }

    private func report(_ event: String, _ times: [Double], since start: Double?) -> Report {
        let start = start ?? times.first ?? 0
        let milliseconds = times.map { ($0 - start) * 1000 }
        return Report(event, milliseconds: milliseconds, seconds: (milliseconds.max() ?? 0) / 1000)
    }
}

/// The lines of standard input, read by a thread that may wait.
enum CommandLines {
    static func read() -> AsyncStream<String> {
        AsyncStream { continuation in
            Thread.detachNewThread {
                while let line = readLine() { continuation.yield(line) }
                continuation.finish()
            }
        }
    }
}
