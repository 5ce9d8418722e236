import AgentProtocol
import HTTPTypes
import Synchronization

/// Counts the answers of one route and the time that they took.
final class RouteMeter: Sendable {
    private struct Counts {
        /// Answers by the first digit of their status.
        var byClass = [Int](repeating: 0, count: 6)
        var limited = 0
        var time: Duration = .zero
    }

    private let labels: [String: String]
    private let counts = Mutex(Counts())

    /// A meter of a route by its declared path, so that there are as many as there are routes.
    init(service: String, method: String, route: String) {
        labels = ["service": service, "method": method, "route": route.isEmpty ? "/" : route]
    }

    /// Notes an answer.
    func note(_ status: HTTPResponse.Status, _ time: Duration) {
        counts.withLock { counts in
            counts.byClass[min(max(0, status.code / 100), 5)] += 1
            if status == .tooManyRequests { counts.limited += 1 }
            counts.time += time
        }
    }

    /// What the meters of a service tell, and how many calls of all its routes were answered with 429.
    static func samples(_ meters: [RouteMeter], of service: String) -> [MetricsReport.Sample] {
        meters.flatMap(\.samples) + [
            MetricsReport.Sample(
                name: "muster_api_limited_total", labels: ["service": service],
                value: Double(meters.reduce(0) { $0 + $1.counts.withLock { $0.limited } }), isCounter: true)
        ]
    }

    /// Answers by status class, and the seconds that all took; nothing for a route that nobody has called.
    private var samples: [MetricsReport.Sample] {
        let counts = counts.withLock { $0 }
        let requests = counts.byClass.enumerated().filter { $0.element > 0 }.map { digit, count in
            MetricsReport.Sample(
                name: "muster_api_requests_total", labels: labels.merging(["status": "\(digit)xx"]) { $1 },
                value: Double(count), isCounter: true)
        }
        guard !requests.isEmpty else { return [] }
        return requests + [
            MetricsReport.Sample(
                name: "muster_api_request_seconds_total", labels: labels, value: counts.time / .seconds(1),
                isCounter: true)
        ]
    }
}
