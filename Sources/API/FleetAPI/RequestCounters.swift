import APISupport
import AgentProtocol
import FleetContract
import Hummingbird
import Primitives
import Synchronization

/// Counts the API's requests by method and status class, for `/metrics`.
final class RequestCounters: Sendable {
    private struct Key: Hashable {
        let method: String
        let status: String
    }

    private let counts = Mutex<[Key: Int]>([:])
    /// Watches that are open.
    let watches = PlaceLimit(FleetLimit.watchCount)
    /// Reads of consoles' records that were audited lately.
    let reads = RecentReads()
    private static let methods: Set<String> = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

    func count(method: String, status: Int) {
        let key = Key(method: Self.methods.contains(method) ? method : "other", status: "\(status / 100)xx")
        counts.withLock { $0[key, default: 0] += 1 }
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
        return ordered + [MetricsReport.Sample(name: "muster_watches", value: Double(watches.taken))]
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
