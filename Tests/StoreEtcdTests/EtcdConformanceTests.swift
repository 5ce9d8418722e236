import EtcdBed
import Logging
import Primitives
import ResourceModel
import StoreEtcd
import Synchronization
import TestSupport
import Testing

/// The store's contract on etcd: each check on a prefix of its own.
@Suite(.serialized) struct EtcdConformanceTests {
    @Test func `etcd keeps the store's contract`() async throws {
        let bed = try await EtcdScene(members: 3)
        for check in StoreConformance.checksWithoutLeases {
            do {
                try await check.run { clock in try await bed.store(clock: clock) }
            } catch {
                Issue.record("\(check): \(error)")
            }
        }
        bed.end()
    }

    @Test func `etcd keeps the store's contract of leases`() async throws {
        let bed = try await EtcdScene(members: 1)
        await withTaskGroup { group in
            for check in StoreConformance.leaseChecks {
                group.addTask {
                    do {
                        try await check.run { clock in try await bed.store(clock: clock) }
                    } catch {
                        Issue.record("\(check): \(error)")
                    }
                }
            }
        }
        bed.end()
    }
}
