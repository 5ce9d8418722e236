import CatalogIdentity
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import ServiceLifecycle

/// Goes on with deletions that broke off, and forgets revocations of tokens that have ended anyway.
public struct IdentityUpkeep: Service {
    private let backend: IdentityBackend
    private let pause: Duration

    /// Upkeep of what `backend` has, now and after each `pause`.
    public init(backend: IdentityBackend, pause: Duration = .seconds(60)) {
        self.backend = backend
        self.pause = pause
    }

    public func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do { try await sweep() } catch is CancellationError { return } catch {
                    backend.logger.warning(
                        "the identity service's upkeep is tried again", metadata: ["cause": "\(error)"])
                }
                try? await Task.sleep(for: pause)
            }
        }
    }

    /// Does what there is to do now.
    func sweep() async throws {
        try await backend.cache.barrier()
        try await DeletedTrees(backend: backend).finishAll()
        let now = backend.clock.now
        let ended = backend.directory.now.all(Revocation.self).filter { $0.spec.expires <= now }
        for start in stride(from: 0, to: ended.count, by: StoreLimits.operationCountMax) {
            let part = ended[start..<min(start + StoreLimits.operationCountMax, ended.count)]
            _ = try await backend.store.commit(Transaction(operations: part.map { .delete($0.key) }))
        }
    }
}
