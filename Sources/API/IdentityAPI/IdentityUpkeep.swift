import CatalogIdentity
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import ServiceLifecycle

/// Goes on with deletions that broke off, forgets revocations of tokens that have ended anyway, and replaces the keys of
/// tokens in time.
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
                    backend.logger.log(
                        level: error.logLevel(.warning),
                        "the identity service's upkeep is tried again", metadata: ["cause": "\(error)"])
                }
                try? await Task.sleep(for: pause)
            }
        }
    }

    private func turnKeys() async throws {
        let settings = backend.authenticator.settings
        let ring = try await TokenKeyStore(
            store: backend.store, vault: backend.vault, clock: backend.clock, random: backend.random
        ).turn(age: settings.keyAge, lifetime: settings.lifetime)
        guard backend.tokens.use(ring) else { return }
        backend.logger.notice("tokens are sealed with another key", metadata: ["keys": "\(ring.keyIDs)"])
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
        try await turnKeys()
    }
}
