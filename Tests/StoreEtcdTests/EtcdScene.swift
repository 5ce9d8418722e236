import EtcdBed
import Logging
import Primitives
import ResourceModel
import StoreEtcd
import Synchronization
import TestSupport

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// A cluster under test and stores on it, each with a prefix of its own unless one is named.
final class EtcdScene: Sendable {
    let cluster: EtcdTestCluster
    private let count = Mutex(0)

    init(members: Int, tls: Bool = true, options: EtcdTestCluster.Options = .init()) async throws {
        cluster = try EtcdTestCluster(members: members, tls: tls, options: options)
        try await cluster.start()
    }

    var tls: EtcdTLS? {
        cluster.certificates.map { EtcdTLS(authority: $0.authority, certificate: $0.certificate, key: $0.key) }
    }

    func configuration(prefix: String? = nil) -> EtcdConfiguration {
        let number = count.withLock { count in
            count += 1
            return count
        }
        return EtcdConfiguration(
            endpoints: cluster.endpoints, tls: tls, prefix: prefix ?? "/test-\(number)/",
            watchQueueMax: StoreConformance.watchQueueMax)
    }

    func store(prefix: String? = nil, clock: any WallClock = SystemWallClock()) async throws -> EtcdStore {
        try await EtcdStore.open(configuration(prefix: prefix), clock: clock, logger: quiet)
    }

    func end() { cluster.stop() }
}
