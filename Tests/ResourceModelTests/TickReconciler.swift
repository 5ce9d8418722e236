import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import Synchronization

/// A small reconciler for tests: brings each named thing's count to a wanted number, one by one, with retries.
struct TickReconciler: Reconciler {
    enum Event: Sendable, Hashable {
        case want(String, Int)
        case reached(String, Int)
        case failed(String)
        case retry(String)
        case deadline(String)
    }

    enum Effect: Sendable, Hashable {
        case raise(String)
    }

    private(set) var wanted: [String: Int] = [:]
    private(set) var reached: [String: Int] = [:]
    private(set) var late: Set<String> = []
    private var backoffs: [String: Backoff] = [:]

    mutating func step(_ event: Event, now: Timestamp, random: inout some RandomNumberGenerator) -> [Action] {
        switch event {
        case .want(let name, let count):
            wanted[name] = count
            return [.setTimer("deadline/\(name)", after: .seconds(3600), .deadline(name)), .perform(.raise(name))]
        case .reached(let name, let count):
            reached[name] = count
            backoffs[name] = nil
            guard count < wanted[name] ?? 0 else { return [.stopTimer("deadline/\(name)")] }
            return [.perform(.raise(name))]
        case .failed(let name):
            var backoff = backoffs[name] ?? Backoff(first: .seconds(1), most: .seconds(30))
            let wait = backoff.next(using: &random)
            backoffs[name] = backoff
            return [.setTimer("retry/\(name)", after: wait, .retry(name))]
        case .retry(let name): return [.perform(.raise(name))]
        case .deadline(let name):
            late.insert(name)
            return []
        }
    }
}

/// Raises counts in a store; every third try fails.
final class Raiser: EffectPerformer {
    private let store: any ResourceStore
    private let counts = Mutex((tries: 0, running: 0, most: 0))

    /// The most effects that ran at the same time.
    var mostAtOnce: Int { counts.withLock { $0.most } }

    init(store: any ResourceStore) { self.store = store }

    func perform(_ effect: TickReconciler.Effect) async -> [TickReconciler.Event] {
        let name =
            switch effect {
            case .raise(let name): name
            }
        let isFailing = counts.withLock { counts in
            counts.tries += 1
            counts.running += 1
            counts.most = max(counts.most, counts.running)
            return counts.tries.isMultiple(of: 3)
        }
        defer { counts.withLock { $0.running -= 1 } }
        await Task.yield()
        guard !isFailing else { return [.failed(name)] }
        do {
            try await store.update(Thing.self, name) { stored in
                guard var stored else { return Stored(new: Thing(name, count: 1)) }
                stored.value.spec.count += 1
                return stored
            }
            let count = try await store.fetch(Thing.self, name)?.value.spec.count ?? 0
            return [.reached(name, count)]
        } catch {
            return [.failed(name)]
        }
    }
}
