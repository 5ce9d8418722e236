import APISupport
import AgentProtocol
import Hummingbird
import Synchronization

/// Counts the API's requests by method and status class, for `/metrics`.
final class RequestCounters: Sendable {
    private struct Key: Hashable {
        let method: String
        let status: String
    }

    private let counts = Mutex<[Key: Int]>([:])
    private let watches = Mutex(0)
    private static let methods: Set<String> = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

    func count(method: String, status: Int) {
        let key = Key(method: Self.methods.contains(method) ? method : "other", status: "\(status / 100)xx")
        counts.withLock { $0[key, default: 0] += 1 }
    }

    /// A watch that is counted until it is let go, also when its answer was never begun.
    final class WatchSlot: Sendable {
        private let counters: RequestCounters

        fileprivate init(_ counters: RequestCounters) { self.counters = counters }

        deinit { counters.watches.withLock { $0 -= 1 } }
    }

    /// Counts a watch that begins; nil when there are `limit` already.
    func beginWatch(limit: Int) -> WatchSlot? {
        let isFree = watches.withLock { count in
            guard count < limit else { return false }
            count += 1
            return true
        }
        return isFree ? WatchSlot(self) : nil
    }

    var samples: [MetricsReport.Sample] {
        let requests = counts.withLock { $0 }.map { key, count in
            MetricsReport.Sample(
                name: "muster_http_requests_total", labels: ["method": key.method, "status": key.status],
                value: Double(count), isCounter: true)
        }
        let ordered = requests.sorted {
            ($0.labels["method"] ?? "", $0.labels["status"] ?? "") < (
                $1.labels["method"] ?? "", $1.labels["status"] ?? ""
            )
        }
        return ordered + [MetricsReport.Sample(name: "muster_watches", value: Double(watches.withLock { $0 }))]
    }
}

/// Outermost of all: sees every answer as it is sent.
struct RequestCounterMiddleware: RouterMiddleware {
    typealias Context = FleetRequestContext
    let counters: RequestCounters

    func handle(
        _ request: Request, context: FleetRequestContext,
        next: (Request, FleetRequestContext) async throws -> Response
    ) async throws -> Response {
        let response = try await next(request, context)
        counters.count(method: request.method.rawValue, status: response.status.code)
        return response
    }
}
