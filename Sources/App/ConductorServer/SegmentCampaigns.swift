import BootServer
import CatalogBareMetal
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import ServiceLifecycle
import Synchronization

/// Which segments this conductor leads, where several serve the site: it stands for election on each that its host is on.
///
/// All of them answer DHCP; who leads a segment answers first (`SegmentDuty`), probes addresses and tells how it goes with it.
final class SegmentCampaigns: Service {
    private let catalog: LiveCatalog
    private let store: any ResourceStore
    private let holder: String
    private let logger: Logger
    private let campaigns = Mutex<[String: Leadership]>([:])

    /// Short, as machines that boot wait for an answer: those that ask again after eight seconds get one at once.
    static let times = LeadershipTimes(timeToLive: .seconds(6))
    private static let lookInterval: Duration = .seconds(1)

    /// A candidate for all segments; `holder` tells it from the other conductors.
    init(catalog: LiveCatalog, store: any ResourceStore, holder: String, logger: Logger) {
        self.catalog = catalog
        self.store = store
        self.holder = holder
        self.logger = logger
    }

    /// What this conductor does on a segment now.
    func duty(on segment: String) -> SegmentDuty {
        campaigns.withLock { $0[segment] }?.current == nil ? .standsBy : .leads
    }

    /// Campaigns until cancelled or shut down, then makes way.
    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                while !Task.isCancelled {
                    let wanted = Set(self.catalog.localSegments().map(\.metadata.name))
                    for campaign in self.begin(wanted) { group.addTask { try? await campaign.run() } }
                    try? await Task.sleep(for: Self.lookInterval)
                }
                group.cancelAll()
            }
        }
    }

    /// Begins and ends campaigns so that there is one for each of `wanted`; returns the new ones.
    private func begin(_ wanted: Set<String>) -> [Leadership] {
        campaigns.withLock { campaigns in
            for (name, campaign) in campaigns where !wanted.contains(name) {
                campaign.resign()
                campaigns[name] = nil
            }
            return wanted.sorted().filter { campaigns[$0] == nil }.map { name in
                let campaign = Leadership(
                    store: store, name: "segment-\(name)", holder: holder, times: Self.times, logger: logger)
                campaigns[name] = campaign
                return campaign
            }
        }
    }
}
