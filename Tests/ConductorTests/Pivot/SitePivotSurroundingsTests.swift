import AgentProtocol
import BareMetal
import BlobStore
import CatalogBareMetal
import CatalogIdentity
import ControlPlane
import EtcdBed
import Foundation
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreEtcd
import StoreMemory
import TestSupport
import Testing

@testable import ConductorServer

/// What a pivot sees around the conductor that the site moves away from, and what it leaves of it.
@Suite struct SitePivotSurroundingsTests {
    @Test("Nodes with the controller role, with what each lacks, also while the store is shut")
    func controllers() async throws {
        try await PivotScene.with { scene in
            let far = try PivotScene.node("c4", number: 4, .controller) {
                $0.addresses = [IPv4Address(0x0A63_0001)]
                $0.isConnected = false
            }
            try await scene.put(
                PivotScene.segment(), PivotScene.controller(1), PivotScene.controller(2, hasSecrets: false), far,
                PivotScene.node("n1", number: 9, .network) { $0.addresses = [IPv4Address(0x0A4D_0020)] })
            let expected = [
                "c1": PivotController(address: IPv4Address(0x0A4D_000B), isReady: true, hasSecrets: true),
                "c2": PivotController(address: IPv4Address(0x0A4D_000C), isReady: true, hasSecrets: false),
                "c4": PivotController(address: nil, isReady: false, hasSecrets: false),
            ]
            #expect(try await scene.surroundings.controllers() == expected)
            await scene.gate.move(to: .shut)
            #expect(try await scene.surroundings.controllers() == expected)
            #expect(await scene.surroundings.agentsBehind(Revision(1)) == 7)
        }
    }

    @Test(
        "The opening takes the seed off the conductors, leaves its blobs, and has the cloud's catalog name the controllers"
    )
    func opening() async throws {
        try await PivotScene.with { scene in
            let (record, endpoint) = PivotScene.conductor("seed", "10.77.0.1")
            let urls = [
                "e1": "https://10.77.0.1:9443/identity", "e2": "https://localhost:9443/baremetal/$(project_id)s",
                "e3": "https://10.77.0.1:8774/compute", "e4": "https://cloud.example:9443/identity",
                "e5": "http://10.77.0.1:9443/plain", "e6": "https://10.77.0.10:9443/other",
            ]
            try await scene.put(
                PivotScene.plane(vip: IPv4Address(0x0A4D_0005)), record, endpoint,
                PivotScene.endpoint("e1", urls["e1"]!), PivotScene.endpoint("e2", urls["e2"]!),
                PivotScene.endpoint("e3", urls["e3"]!), PivotScene.endpoint("e4", urls["e4"]!),
                PivotScene.endpoint("e5", urls["e5"]!), PivotScene.endpoint("e6", urls["e6"]!))
            let target = MemoryStore(clock: scene.clock)
            let migration = StoreMigration(from: scene.memory, to: target)
            let reservation = try await migration.reserve()
            try await migration.verify(try await migration.copy(under: reservation))
            _ = try await migration.open(reservation, with: try scene.surroundings.openingOperations())

            #expect(try await target.fetchAll(ConductorRecord.self).isEmpty)
            let left = try #require(try await target.fetch(ConductorEndpoint.self, "seed")?.value.spec)
            #expect(left == .init(agents: [], provisioning: [], api: [], blobs: "https://10.77.0.1:9443"))
            let moved = try await target.fetchAll(CatalogIdentity.Endpoint.self).map(\.value)
            var expected = urls
            expected["e1"] = "https://10.77.0.5:9443/identity"
            expected["e2"] = "https://10.77.0.5:9443/baremetal/$(project_id)s"
            #expect(Dictionary(uniqueKeysWithValues: moved.map { ($0.id, $0.spec.url) }) == expected)
            let events = try await AuditLog(store: target, clock: scene.clock).events().events.map(\.spec)
            #expect(events.contains { $0.verb == "open" && $0.summary?.contains("c1, c2, c3; 2 endpoints") == true })

            try await scene.surroundings.forgetSeed(in: target)
            try await scene.surroundings.forgetSeed(in: target)
            #expect(try await target.fetchAll(ConductorEndpoint.self).isEmpty)
            // A conductor that has taken the name is left alone.
            _ = try await target.commit(Transaction(operations: [try Stored(new: endpoint).put()]))
            try await scene.surroundings.forgetSeed(in: target)
            #expect(try await target.fetchAll(ConductorEndpoint.self).count == 1)
        }
    }

    @Test(
        "Who has only blobs left is asked for them alone, and a controller answers for all that proxies pass on to it")
    func afterwards() async throws {
        try await PivotScene.with { scene in
            let (_, endpoint) = PivotScene.conductor("seed", "10.77.0.1")
            var left = endpoint
            left.spec = .init(agents: [], provisioning: [], api: [], blobs: "https://10.77.0.1:9443")
            let (record, own) = PivotScene.conductor("c1", "10.77.0.11")
            try await scene.put(left, record, own, PivotScene.plane())
            let sources = ConductorBlobs.formerConductors(scene.catalog.cache.snapshot())
            #expect(sources.map(\.name) == ["seed"] && sources.map(\.url) == ["https://10.77.0.1:9443"])
            let others = (11...13).map { IPv4Address(0x0A4D_0000 + UInt32($0)) }
            #expect(Set(scene.catalog.servedAddresses()).isDisjoint(with: others), "the seed is none of them")
            let shared = LiveCatalog(cache: scene.catalog.cache, local: { [] })
            #expect(Set(shared.servedAddresses()).isSuperset(of: others + LocalAddresses.all()))
        }
    }

    @Test("More endpoints than a transaction takes are refused in words")
    func many() async throws {
        try await PivotScene.with { scene in
            try await scene.put(PivotScene.plane())
            for number in 0...SeedAddress.endpointCountMax {
                try await scene.put(PivotScene.endpoint("e\(number)", "https://10.77.0.1:9443/\(number)"))
            }
            #expect(throws: TooManyEndpoints(count: 65)) { try scene.surroundings.openingOperations() }
        }
    }

    @Test(
        "Agents and machines are told of the published controllers beside the seed, and of none that is not published")
    func published() async throws {
        try await PivotScene.with { scene in
            let (record, endpoint) = PivotScene.conductor("seed", "10.77.0.1")
            let board = ViewBoard(scene.catalog.cache)
            try await scene.put(PivotScene.plane(isPublished: false), record, endpoint, PivotScene.controller(1))
            _ = board.advance()
            #expect(board.ground.apis == ["10.77.0.1:9443"])
            #expect(scene.catalog.agentPorts(7443) == ["10.77.0.1:7443"])
            try await scene.put(PivotScene.plane())
            #expect(board.advance().nodes == .all)
            let agents = ["10.77.0.11:17443", "10.77.0.12:17443", "10.77.0.13:17443", "10.77.0.1:7443"].sorted()
            let told = try #require(board.ground.agentPorts)
            #expect(told == (try NodeView.Item.body(of: ConductorsItem(agents: agents))))
            #expect(board.ground.apis.count == 4 && board.ground.apis.contains("10.77.0.12:19443"))
            #expect(scene.catalog.agentPorts(7443) == agents)
            #expect(
                scene.catalog.agentPorts(first: "10.77.0.1:7443").prefix(2) == ["10.77.0.1:7443", "10.77.0.11:17443"])
            #expect(scene.catalog.provisioningPorts(first: "10.77.0.1:8443").contains("10.77.0.13:18443"))
        }
    }

    @Test("Agents count as behind until they tell of the view, each by its newest stream")
    func behind() throws {
        let sessions = NewestSessions()
        func hello(_ revision: UInt64) -> AgentHello {
            AgentHello(agentVersion: "1", bootID: "b", roles: [], viewRevision: Revision(revision))
        }
        let (a, b) = (
            try NodeID("00000000-0000-4000-8000-000000000001"), try NodeID("00000000-0000-4000-8000-000000000002")
        )
        sessions.open(a, 1, hello(4))
        sessions.open(b, 2, hello(9))
        #expect(sessions.count(behind: Revision(5)) == 1)
        sessions.note(a, 7, seen: Revision(5))
        #expect(sessions.count(behind: Revision(5)) == 1, "another stream's word")
        sessions.note(a, 1, seen: Revision(5))
        #expect(sessions.count(behind: Revision(5)) == 0)
        sessions.note(a, 1, seen: Revision(3))
        #expect(sessions.count(behind: Revision(5)) == 0, "an older word")
        #expect(sessions.count(behind: Revision(6)) == 1)
        _ = sessions.close(a, 1)
        #expect(sessions.count(behind: Revision(6)) == 0, "who is gone is not waited for")
    }

    @Test("The controllers' store by the seed's own certificate: its members, a new history, and the site in it")
    func store() async throws {
        try await PivotScene.with { scene in
            let cluster = try scene.cluster(members: 3)
            let addresses = try cluster.endpoints.map { try SocketAddress($0.dropFirst("https://".count)) }
            await #expect(throws: (any Error).self, "nobody answers yet") {
                try await scene.surroundings.members(at: addresses)
            }
            try await cluster.start()
            let members = try await scene.surroundings.members(at: addresses)
            #expect(members.count == 3 && members.allSatisfy(\.isHealthy))
            #expect(Set(members.compactMap { $0.peer?.port }).count == 3)

            try await scene.put(PivotScene.plane(token: "a"))
            let first = try #require(try await scene.surroundings.target(at: addresses) as? EtcdStore)
            let same = try #require(try await scene.surroundings.target(at: addresses) as? EtcdStore)
            #expect(first === same)
            let beyond = Revision(5_000_000)
            try await scene.surroundings.beginNewHistory(at: addresses, beyond: beyond)
            let target = try await scene.surroundings.target(at: addresses)
            #expect((target as? EtcdStore) !== first)
            #expect(try await target.currentRevision() > beyond)
            await #expect(throws: (any Error).self, "it is closed") { try await first.currentRevision() }

            let migration = StoreMigration(from: scene.memory, to: target)
            try await migration.check()
            let reservation = try await migration.reserve()
            try await migration.verify(try await migration.copy(under: reservation))
            _ = try await migration.open(reservation, with: try scene.surroundings.openingOperations())
            #expect(try await target.fetch(ConductorEndpoint.self, "seed")?.value.spec.blobs != nil)
            try await scene.surroundings.forgetSeed(in: target)
            #expect(try await target.fetch(ConductorEndpoint.self, "seed") == nil)

            // Members that were founded anew are another store.
            try await scene.put(PivotScene.plane(token: "b"))
            #expect((try await scene.surroundings.target(at: addresses) as? EtcdStore) !== (target as? EtcdStore))
            for name in ["store-ca.pem", "store-client.pem", "store-client-key.pem"] {
                let attributes = try FileManager.default.attributesOfItem(atPath: "\(scene.directory)/\(name)")
                #expect(attributes[.posixPermissions] as? Int == 0o600, "\(name)")
            }
        }
    }

    @Test("The certificate is made anew when a third of its life is left")
    func renewal() async throws {
        try await PivotScene.with { scene in
            let cluster = try scene.cluster(members: 1)
            try await cluster.start()
            let addresses = try cluster.endpoints.map { try SocketAddress($0.dropFirst("https://".count)) }
            func certificate() throws -> String {
                try String(contentsOfFile: "\(scene.directory)/store-client.pem", encoding: .utf8)
            }
            _ = try await scene.surroundings.members(at: addresses)
            let first = try certificate()
            scene.clock.advance(by: .seconds(19 * 86_400))
            _ = try await scene.surroundings.members(at: addresses)
            #expect(try certificate() == first)
            scene.clock.advance(by: .seconds(2 * 86_400))
            _ = try await scene.surroundings.members(at: addresses)
            #expect(try certificate() != first)
        }
    }
}
