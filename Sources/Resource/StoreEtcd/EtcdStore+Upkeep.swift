import Primitives
import ResourceModel
import ServiceLifecycle

extension EtcdStore {
    /// Keeps the cluster in order until cancelled or shut down, then closes the store.
    public func run() async throws {
        try? await cancelWhenGracefulShutdown { try await self.sleepForever() }
        try await close()
    }

    private func sleepForever() async throws {
        while true { try await Task.sleep(for: .seconds(10)); feed.hub.sendBookmarks() }
    }
}
