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

    /// The number of the member that leads.
    func leader() async throws -> Int {
        let administration = try EtcdAdministration(configuration(), logger: quiet)
        defer { administration.close() }
        while true {
            for (number, endpoint) in cluster.endpoints.enumerated() {
                guard let status = try? await administration.status(of: endpoint) else { continue }
                if status.leader == status.member { return number }
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    /// The newest revision of the documents of so many writers.
    func newest(of writers: Int, _ store: EtcdStore) async throws -> Revision {
        var newest = Revision.zero
        for writer in 0..<writers {
            newest = max(newest, try await store.get(WriterCrew.key(writer))?.revision ?? .zero)
        }
        return newest
    }

    func end() { cluster.stop() }
}
