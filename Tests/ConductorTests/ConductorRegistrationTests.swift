import CatalogBareMetal
import Logging
import Primitives
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@testable import ConductorServer

/// What a conductor writes of itself, and what it takes away of others.
@Suite struct ConductorRegistrationTests {
    private static let addresses = ConductorRecord.Addresses(
        api: "https://10.77.0.1:9443", agents: "10.77.0.1:9440", provisioning: "10.77.0.1:9441",
        boot: "http://10.77.0.1:8080")

    private static func spec(_ run: String) -> ConductorRecord.Spec {
        .init(run: run, version: "1", started: Timestamp(millisecondsSinceEpoch: 0), addresses: addresses)
    }

    /// A store with a control plane in `phase`, another conductor and where that was reached.
    private static func store(_ phase: ControlPlaneRecord.Phase) async throws -> MemoryStore {
        let store = MemoryStore(clock: ManualWallClock())
        let time = Timestamp(millisecondsSinceEpoch: 0)
        let plane = ControlPlaneRecord(
            created: time, spec: .init(controllers: ["c1"]), status: .init(phase: phase, since: time))
        let endpoint = ConductorEndpoint(
            metadata: Metadata(name: "c1", schemaVersion: ConductorEndpoint.schemaVersion, created: time),
            spec: .init(agents: ["10.77.0.2:9440"], provisioning: ["10.77.0.2:9441"], api: ["10.77.0.2:9443"]))
        _ = try await store.commit(
            Transaction(operations: [
                try Stored(new: plane).put(), try Stored(new: endpoint).put(),
                try Stored(new: ConductorRecord(name: "c1", spec: spec("r1"))).put(),
            ]))
        return store
    }

    private static func registered(_ store: MemoryStore, isShared: Bool) async throws {
        let registration = ConductorRegistration(
            store: store, isShared: isShared, name: "own", spec: spec("r2"), lag: { .zero },
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await registration.run() }
            defer { group.cancelAll() }
            try await withDeadline(.seconds(20)) {
                while try await store.fetch(ConductorRecord.self, "own") == nil {
                    try await Task.sleep(for: .milliseconds(5))
                }
            }
        }
    }

    @Test("A site that has come back to one conductor has no controllers any more, and may move again")
    func comesBack() async throws {
        for phase in [ControlPlaneRecord.Phase.settled, .changing, .refused] {
            let store = try await Self.store(phase)
            try await Self.registered(store, isShared: false)
            #expect(try await store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name) == nil)
            #expect(try await store.fetchAll(ConductorEndpoint.self).isEmpty)
            #expect(try await store.fetch(ConductorRecord.self, "c1") == nil)
        }
    }

    @Test("One that moves to its controllers, or shares its store with them, forgets no controller")
    func keeps() async throws {
        let moving = try await Self.store(.pivoting)
        try await Self.registered(moving, isShared: false)
        #expect(try await moving.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name) != nil)
        let shared = try await Self.store(.settled)
        try await Self.registered(shared, isShared: true)
        #expect(try await shared.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name) != nil)
        #expect(try await shared.fetchAll(ConductorEndpoint.self).map(\.value.metadata.name) == ["c1", "own"])
        #expect(try await shared.fetch(ConductorRecord.self, "c1") != nil)
    }
}
