import CatalogBareMetal
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import ServiceLifecycle

/// Keeps this conductor's own record in the catalog for as long as it runs; its only writer.
///
/// On a store that several conductors share, the record is tied to a lease: of a conductor that is gone or cut off it is
/// deleted when that ends, and written anew when the conductor comes back. On a store of its own there is nobody to
/// be gone for.
struct ConductorRegistration: Service {
    let store: any ResourceStore
    let isShared: Bool
    let name: String
    let spec: ConductorRecord.Spec
    /// How long it takes until the cache shows what the store has.
    let lag: @Sendable () async throws -> Duration
    let logger: Logger

    /// Between two renewals of the lease.
    static let interval: Duration = .seconds(3)

    /// What is registered now.
    private struct Held: Equatable {
        var lease: LeaseID?
        var revision: Revision
        var status: ConductorRecord.Status
    }

    func run() async throws {
        let held = await cancelWhenGracefulShutdown { await hold() }
        // Another run may have the name by now.
        guard let held else { return }
        if let lease = held.lease { return try await store.revokeLease(lease) }
        let key = ConductorRecord.key(name)
        do throws(StoreError) {
            _ = try await store.commit(
                Transaction(conditions: [.unchanged(key, since: held.revision)], operations: [.delete(key)]))
        } catch {
            // The site has moved, and this conductor is not in its store any more.
            guard error.isFrozen else { throw error }
        }
    }

    /// Keeps the record until cancelled, and gives what is held then.
    private func hold() async -> Held? {
        var held: Held?
        while !Task.isCancelled {
            do { held = try await keep(held) } catch {
                if case .leaseEnded? = error as? StoreError { held = nil }
                if !Task.isCancelled {
                    logger.log(level: error.logLevel(.warning), "\(name) is not registered as it should be: \(error)")
                }
            }
            // What was lost is written again soon: agents and the leader take this conductor for gone.
            try? await Task.sleep(for: held == nil ? .milliseconds(500) : Self.interval)
        }
        return held
    }

    /// Renews what is held, or registers anew; tells when what this conductor shows falls behind the store.
    private func keep(_ held: Held?) async throws -> Held {
        guard var held else { return try await register() }
        if let lease = held.lease {
            try await store.renewLease(lease)
            guard let found = try await store.fetch(ConductorRecord.self, name) else { return try await register() }
            guard found.value.spec.run == spec.run else { throw ConductorNameTaken(name: name, by: found.value.spec) }
        }
        var status = ConductorRecord.Status()
        let lag = try await lag()
        if lag >= ConductorRecord.Status.lagTold { status.lagMilliseconds = lag.components.seconds * 1000 }
        guard status != held.status else { return held }
        let unchanged = Transaction.Condition.unchanged(ConductorRecord.key(name), since: held.revision)
        held.revision = try await write(status, lease: held.lease, [unchanged])
        held.status = status
        return held
    }

    /// Writes the record in the place of whatever is there, which is an earlier run of this conductor's, whose lease still
    /// lasts; the lease of another that is called the same lasts too, and that one tells.
    private func register() async throws -> Held {
        let lease = isShared ? try await store.grantLease(timeToLive: ConductorRecord.timeToLive) : nil
        let status = ConductorRecord.Status()
        if isShared { try await noteEndpoint() } else { try await forgetOthers() }
        return Held(lease: lease, revision: try await write(status, lease: lease, []), status: status)
    }

    /// Notes where this conductor is reached, for those who look for one after all were gone.
    private func noteEndpoint() async throws {
        let found = try await store.fetch(ConductorEndpoint.self, name)
        let endpoint = ConductorEndpoint.Spec(
            agents: [spec.addresses.agents], provisioning: [spec.addresses.provisioning], api: [spec.addresses.apiPort])
        guard found?.value.spec != endpoint else { return }
        let metadata = Metadata(
            name: name, schemaVersion: ConductorEndpoint.schemaVersion, created: spec.started)
        var next = found ?? Stored(new: ConductorEndpoint(metadata: metadata, spec: endpoint))
        next.value.spec = endpoint
        _ = try await store.commit(Transaction(conditions: [next.unchanged], operations: [next.put()]))
    }

    /// Deletes what a store of its own has of others, as there is nobody else: earlier runs under other names, which were
    /// killed, and the controllers of a site that has come back to one conductor, by `migrate` or of a backup. They end
    /// what they run once their agents come here, and the site can move to controllers again.
    private func forgetOthers() async throws {
        let runs = try await store.fetchAll(ConductorRecord.self).filter { $0.value.metadata.name != name }
        let endpoints = try await store.fetchAll(ConductorEndpoint.self)
        var operations = runs.map { Transaction.Operation.delete($0.value.key) }
        operations += endpoints.map { .delete($0.value.key) }
        let plane = try await store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name)
        if let plane, plane.value.status.phase != .pivoting {
            logger.notice("this site had controllers (\(plane.value.spec.controllers)); it has one conductor again")
            operations.append(.delete(plane.value.key))
        }
        guard !operations.isEmpty else { return }
        _ = try await store.commit(Transaction(operations: operations))
    }

    private func write(
        _ status: ConductorRecord.Status, lease: LeaseID?, _ conditions: [Transaction.Condition]
    ) async throws -> Revision {
        var record = ConductorRecord(name: name, spec: spec)
        record.status = status
        return try await store.commit(
            Transaction(conditions: conditions, operations: [Stored(new: record).put(lease: lease)]))
    }
}

/// Another conductor has registered itself under the same name.
struct ConductorNameTaken: UserFacingError, Hashable {
    let name: String
    let by: ConductorRecord.Spec

    var publicMessage: String {
        "Another conductor, at \(by.addresses.api) since \(by.started), is called '\(name)' too: start each with a "
            + "--conductor-name of its own. Until then agents are not told of this one."
    }
}
