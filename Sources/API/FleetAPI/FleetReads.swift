import Primitives
import ResourceModel

/// Where the API reads resources.
public struct FleetReads: Sendable {
    private let store: any ResourceStore

    /// Reads from `store`.
    public init(store: any ResourceStore) { self.store = store }

    /// All resources of a type, by name.
    func all<R: Resource>(_ type: R.Type) async throws -> [Stored<R>] { try await store.fetchAll(type) }

    /// The resource `name` of a type.
    func one<R: Resource>(_ type: R.Type, _ name: String) async throws -> Stored<R>? {
        try await store.fetch(type, name)
    }

    /// The revision that reads show at least.
    func revision() async throws -> Revision { try await store.currentRevision() }

    /// Returns when reads show what was written at `revision`.
    func reaches(_ revision: Revision?) async throws {}
}
