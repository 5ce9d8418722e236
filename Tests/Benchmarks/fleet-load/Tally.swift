import NodeTransport
import Synchronization

/// What all machines found.
final class Tally: Sendable {
    private struct State {
        var failures: [String: Int] = [:]
        var steps: [String: [Double]] = [:]
    }

    private let state = Mutex(State())

    func fail(_ why: String) { state.withLock { $0.failures[why, default: 0] += 1 } }

    func took(_ step: String, _ milliseconds: Double) {
        state.withLock { $0.steps[step, default: []].append(milliseconds) }
    }

    var failures: [String: Int] { state.withLock { $0.failures } }

    /// The median of each step.
    var medians: [String: Double] {
        state.withLock { $0.steps.mapValues { values in values.sorted()[values.count / 2] } }
    }
}

/// Measures one step after the other.
struct StepClock {
    private let tally: Tally
    private var last = ContinuousClock.now

    init(_ tally: Tally) { self.tally = tally }

    /// The step that ends now.
    mutating func step(_ name: String) {
        let now = ContinuousClock.now
        tally.took(name, (now - last).inMilliseconds)
        last = now
    }
}

/// The conductor's certificate authority, as the first machine learns it.
final class TrustRoots: Sendable {
    private let known = Mutex<(pem: String, security: TransportSecurity)?>(nil)

    var isKnown: Bool { known.withLock { $0 != nil } }
    var pem: String { known.withLock { $0?.pem ?? "" } }

    func learn(_ pem: String) {
        guard let security = try? TransportSecurity.tls(trustRootsPEM: pem) else { return }
        known.withLock { $0 = (pem, security) }
    }

    func security() throws -> TransportSecurity {
        guard let security = known.withLock({ $0?.security }) else { throw LoadError("no CA certificate came") }
        return security
    }
}

/// Values that many tasks put together.
final class Collected<Value: Sendable>: Sendable {
    private let values = Mutex<[Value]>([])

    func add(_ new: some Sequence<Value> & Sendable) { values.withLock { $0.append(contentsOf: new) } }

    var all: [Value] { values.withLock { $0 } }
}
