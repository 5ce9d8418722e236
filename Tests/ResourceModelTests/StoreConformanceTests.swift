import Primitives
import ResourceModel
import StoreMemory
import StoreSQLite
import TestSupport
import Testing

@Suite struct StoreConformanceTests {
    @Test(arguments: StoreConformance.checks) func memory(_ check: StoreConformance.Check) async throws {
        try await check.run { clock in
            MemoryStore(clock: clock, watchQueueMax: StoreConformance.watchQueueMax)
        }
    }

    @Test(arguments: StoreConformance.checks) func sqlite(_ check: StoreConformance.Check) async throws {
        let directory = try TemporaryDirectory("store")
        try await check.run { clock in
            try await SQLiteStore.open(
                path: directory.appending("store.sqlite"), clock: clock,
                options: SQLiteStoreOptions(watchQueueMax: StoreConformance.watchQueueMax))
        }
        withExtendedLifetime(directory) {}
    }
}
