import LinuxSystem
import Primitives
import Synchronization

/// Carries out what `TunnelProbes` asks for, on the thread that `run` is called on.
final class TunnelProber: Sendable {
    private struct State {
        var probes: TunnelProbes
        var socket: EchoSocket?
        /// Why there is no socket.
        var problem: String?
        var isRunning = false
    }

    private let state: Mutex<State>
    private let times: ProbeTimes
    private let began = ContinuousClock.now

    init(times: ProbeTimes = ProbeTimes()) {
        self.times = times
        state = Mutex(State(probes: TunnelProbes(times: times)))
    }

    private var now: Duration { ContinuousClock.now - began }

    /// What is known now.
    var probes: TunnelProbes { state.withLock(\.probes) }

    /// Why nothing can be asked; nil when it can.
    var problem: String? { state.withLock { $0.probes.peers.isEmpty ? nil : $0.problem } }

    /// Asks these ends from now on, from the network namespace of the calling thread.
    func ask(_ ends: [TunnelEnd]) {
        let now = now
        state.withLock { state in
            if !ends.isEmpty, state.socket == nil {
                do throws(SystemError) {
                    state.socket = try EchoSocket()
                    state.problem = nil
                } catch {
                    state.problem = error.publicMessage
                }
            }
            _ = state.probes.step(.ends(ends), at: now)
        }
    }

    /// Waits until each end has a verdict: three lost probes at most. Not while nothing runs, nor without a socket.
    func settle() async {
        let limit = (times.patience + times.doubtPause) * ProbeTrack.lossesToDown + .seconds(1)
        let start = now
        while now - start < limit {
            let mayEnd = state.withLock { state in
                state.probes.isSettled || state.socket == nil || !state.isRunning && now - start > .seconds(1)
            }
            if mayEnd { return }
            do { try await Task.sleep(for: .milliseconds(25)) } catch { return }
        }
    }

    /// Asks until the task is cancelled; blocks the thread for half a second at most at a time.
    func run(_ changed: @Sendable () -> Void) async {
        state.withLock { $0.isRunning = true }
        defer { state.withLock { $0.isRunning = false } }
        while !Task.isCancelled {
            guard let (socket, wait) = turn(changed) else {
                do { try await Task.sleep(for: .milliseconds(250)) } catch { return }
                continue
            }
            socket.wait(for: wait)
            let replies = socket.receive()
            guard !replies.isEmpty else { continue }
            let now = now
            let hasChanged = state.withLock { state in
                var hasChanged = false
                for reply in replies {
                    let event = TunnelProbes.Event.answered(reply.from, sequence: reply.sequence)
                    hasChanged = state.probes.step(event, at: now).hasChanged || hasChanged
                }
                return hasChanged
            }
            if hasChanged { changed() }
        }
    }

    /// Sends what is due; nil when there is nobody to ask.
    private func turn(_ changed: () -> Void) -> (EchoSocket, Duration)? {
        let now = now
        guard let socket = state.withLock(\.socket) else { return nil }
        let step = state.withLock { $0.probes.step(.tick, at: now) }
        var hasChanged = step.hasChanged
        for probe in step.probes where socket.send(to: probe.to, sequence: probe.sequence, size: probe.size) != 0 {
            let refused = TunnelProbes.Event.refused(probe.to, sequence: probe.sequence)
            hasChanged = state.withLock { $0.probes.step(refused, at: now).hasChanged } || hasChanged
        }
        if hasChanged { changed() }
        guard let next = state.withLock({ $0.probes.nextTick(after: now) }) else { return nil }
        return (socket, min(max(next - self.now, .milliseconds(1)), .milliseconds(500)))
    }
}
