import AgentProtocol
import DHCP
import HTTPTypes
import Hummingbird
import Primitives
import Synchronization

/// Counts what machines asked the boot server for, for Prometheus; one for all servers of a conductor.
public final class BootCounters: Sendable {
    private struct Key: Hashable {
        let name: String
        let labels: [String: String]
    }

    private let counts = Mutex<[Key: UInt64]>([:])

    /// How a TFTP transfer ended.
    enum TransferOutcome: String {
        case done
        case ended
        case failed
        case refused
    }

    /// The most series; what would be more is not counted.
    static let seriesCountMax = 4096

    /// Nothing is counted yet.
    public init() {}

    /// Every count, by name and labels.
    public var samples: [MetricsReport.Sample] {
        counts.withLock { $0 }.map { key, count in
            MetricsReport.Sample(name: key.name, labels: key.labels, value: Double(count), isCounter: true)
        }.sorted {
            ($0.name, "\($0.labels.sorted { $0.key < $1.key })") < ($1.name, "\($1.labels.sorted { $0.key < $1.key })")
        }
    }

    func count(dhcp type: DHCPMessageType?, isSent: Bool, segment: String) {
        let labels = [
            "segment": segment, "direction": isSent ? "sent" : "received", "type": type.map { "\($0)" } ?? "bootp",
        ]
        add("muster_dhcp_messages_total", labels)
    }

    func count(tftp outcome: TransferOutcome) { add("muster_tftp_transfers_total", ["outcome": outcome.rawValue]) }

    func count(http status: Int) { add("muster_boot_http_requests_total", ["status": "\(status / 100)xx"]) }

    private func add(_ name: String, _ labels: [String: String]) {
        let key = Key(name: name, labels: labels)
        counts.withLock { counts in
            guard counts[key] != nil || counts.count < Self.seriesCountMax else { return }
            counts[key, default: 0] += 1
        }
    }
}

/// Counts every answer of the boot files' server.
struct BootCounterMiddleware: RouterMiddleware {
    typealias Context = BootHTTPContext
    let counters: BootCounters

    func handle(
        _ request: Request, context: BootHTTPContext, next: (Request, BootHTTPContext) async throws -> Response
    ) async throws -> Response {
        do {
            let response = try await next(request, context)
            counters.count(http: response.status.code)
            return response
        } catch {
            counters.count(http: (error as? any HTTPResponseError)?.status.code ?? 500)
            throw error
        }
    }
}
