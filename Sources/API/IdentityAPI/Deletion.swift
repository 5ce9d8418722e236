import APISupport
import CatalogIdentity
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel

extension APICall where Backend == IdentityBackend {
    /// Deletes something with all that goes away with it, in one commit where that is small enough.
    ///
    /// Else in several: `dependents` is asked anew until nothing is left, so that what was begun can be gone on with.
    func delete(_ verb: String, _ resource: ResourceKey, _ dependents: (IdentityDirectory) throws -> Dependents)
        async throws
    {
        while true {
            let isDone = try await change(verb, resource) { directory in
                let keys = try dependents(directory).keys
                let part = keys.prefix(StoreLimits.operationCountMax - 1)
                var plan = IdentityPlan()
                plan.operations = part.map { .delete($0) }
                if part.count < keys.count { plan.summary = "\(part.count) of \(keys.count) documents" }
                return (plan, part.count == keys.count)
            }
            if isDone { return }
        }
    }

    /// Deletes a project or a domain with all that is in it. It is out of sight from the first commit on; whatever was not
    /// deleted when the conductor ended is at its next start.
    func deleteTree(_ verb: String, _ project: Project) async throws {
        try await change(verb, project.key) { directory in
            guard var stored = directory.now.stored(Project.self, project.metadata.name),
                stored.value.spec.deleting == nil
            else { throw APIError.missing(project.spec.isDomain ? "domain" : "project", project.id) }
            stored.value.spec.deleting = backend.clock.now
            var plan = IdentityPlan()
            plan.before = try stored.encoded()
            try plan.update(stored)
            return (plan, ())
        }
        try await DeletedTrees(backend: backend).finish(project.metadata.name)
    }
}

/// Takes away what was in projects and domains that are being deleted.
public struct DeletedTrees: Sendable {
    private let backend: IdentityBackend

    /// What `backend` has.
    public init(backend: IdentityBackend) { self.backend = backend }

    /// Goes on with every deletion that was begun.
    public func finishAll() async throws {
        for project in backend.directory.now.all(Project.self) where project.spec.deleting != nil {
            try await finish(project.metadata.name)
        }
    }

    /// Deletes all that goes with a project, and then itself.
    ///
    /// Each commit holds only while the project is as it was seen: of two who delete it at once, the later one sees that
    /// it is gone, and frees no name that somebody has taken again. Nothing comes to it any more, as whoever plans to add
    /// something needs the project and its domain as they were before the deletion (`ChangePlan.needs`).
    func finish(_ name: String) async throws {
        for attempt in 0..<100_000 {
            let directory = backend.directory
            guard let project = directory.now.stored(Project.self, name) else { return }
            var operations = directory.dependents(of: project.value).keys.prefix(StoreLimits.operationCountMax)
                .map { Transaction.Operation.delete($0) }
            if operations.count <= StoreLimits.operationCountMax - 2 {
                operations += [.delete(NameMark.key(project.value.spec.uniqueName.mark)), .delete(project.value.key)]
            }
            do {
                let revision = try await backend.store.commit(
                    Transaction(conditions: [project.unchanged], operations: operations))
                try await backend.cache.wait(for: revision)
            } catch let error as StoreError {
                guard case .conflict = error else { throw error }
                try await backend.cache.barrier()
                await StoreContention.giveWay(after: attempt)
            }
        }
    }
}

extension ProjectSpec {
    /// The name that it has in its domain, or among domains.
    fileprivate var uniqueName: UniqueName { domainID.map { .project(name, domain: $0) } ?? .domain(name) }
}
