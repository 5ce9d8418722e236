import APISupport
import CatalogIdentity
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel

extension APICall where Backend == IdentityBackend {
    /// Deletes what has vouched for users, together with who they were there: a later provider or protocol of that name
    /// vouches for others. In several commits when there are many; `dependents` and users are looked for anew each time.
    func delete(
        _ verb: String, _ resource: ResourceKey, forgetting isForgotten: (UserSpec.FederatedIdentity) -> Bool,
        _ dependents: (IdentityDirectory) throws -> Dependents
    ) async throws {
        var isDone = false
        while !isDone {
            isDone = try await change(verb, resource) { directory in
                let keys = try dependents(directory).keys
                var plan = IdentityPlan()
                for user in directory.now.all(User.self) where user.spec.federated?.contains(where: isForgotten) == true
                {
                    guard plan.operations.count < StoreLimits.operationCountMax / 2 else { return (plan, false) }
                    guard var stored = directory.now.stored(User.self, user.metadata.name) else { continue }
                    let left = (user.spec.federated ?? []).filter { !isForgotten($0) }
                    stored.value.spec.federated = left.isEmpty ? nil : left
                    try plan.update(stored)
                }
                let part = keys.prefix(StoreLimits.operationCountMax - 1 - plan.operations.count)
                plan.operations += part.map { .delete($0) }
                plan.after = nil
                return (plan, part.count == keys.count)
            }
        }
    }
}
