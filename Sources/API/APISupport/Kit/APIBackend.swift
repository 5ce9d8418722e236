import CatalogIdentity
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel

/// What the calls of a service read, and where its changes go.
public protocol APIBackend: Sendable {
    /// What reads and plans see.
    associatedtype Directory: Sendable

    /// Where things are written.
    var store: any ResourceStore { get }
    /// Where they are read.
    var cache: ResourceCache { get }
    /// Has one event of each change.
    var audit: AuditLog { get }
    /// The time.
    var clock: any WallClock { get }
    /// Where failures are written.
    var logger: Logger { get }
    /// Everything as it is now.
    var directory: Directory { get }
}

extension APICall {
    /// Everything as it is now.
    public var directory: Backend.Directory { backend.directory }

    /// Plans a change on what is there now and commits it together with its audit event; plans anew when somebody was
    /// faster, and returns once reads show it. A plan that writes nothing leaves nothing.
    ///
    /// `plan` throws what refuses the change. Throws that, and the store's errors.
    @discardableResult
    public func change<Result: Sendable>(
        _ verb: String, _ resource: ResourceKey, _ plan: (Backend.Directory) throws -> (ChangePlan, Result)
    ) async throws -> Result {
        for attempt in 0..<StoreContention.attemptCountMax {
            let (planned, result) = try plan(directory)
            guard !planned.operations.isEmpty else { return result }
            let event = AuditEventSpec(
                who: caller.principal.description, from: remoteAddress, requestID: requestID, verb: verb,
                resource: resource, outcome: .ok, before: planned.before.map(AuditLog.digest),
                after: planned.after.map(AuditLog.digest), summary: planned.told)
            let operations = planned.operations + [try backend.audit.operation(event)]
            do {
                let revision = try await backend.store.commit(
                    Transaction(conditions: planned.conditions, operations: operations))
                try await backend.cache.wait(for: revision)
                return result
            } catch let error as StoreError {
                guard case .conflict = error else { throw error }
            }
            try await backend.cache.barrier()
            await StoreContention.giveWay(after: attempt)
        }
        throw StoreError.conflict(resource)
    }
}
