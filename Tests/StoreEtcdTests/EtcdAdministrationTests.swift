import EtcdBed
import Foundation
import Primitives
import ProgramRuns
import ResourceModel
import StoreEtcd
import TestSupport
import Testing

/// What operators do to a cluster, and what a full or foreign one answers.
@Suite(.serialized) struct EtcdAdministrationTests {
    private static let quick = EtcdTestCluster.Options(heartbeat: .milliseconds(50), election: .milliseconds(500))

    @Test func `a member is added as a learner, gets its vote, leads, and is taken out`() async throws {
        let scene = try await EtcdScene(members: 1, options: Self.quick)
        let store = try await scene.store()
        let administration = store.administration
        let added = try scene.cluster.addMember()
        let learner = try await administration.addLearner(peerURLs: [scene.cluster.peers[added]])
        #expect(learner.isLearner && learner.name.isEmpty)
        try scene.cluster.startAdded(added, beside: [0])
        try await waitUntil { (try? await administration.promote(learner.id)) != nil }
        try await waitUntil { try await administration.statuses().allSatisfy { $0.status?.leader != nil } }
        let members = try await administration.members()
        #expect(Set(members.map(\.name)) == ["m0", "m1"] && members.allSatisfy { !$0.isLearner })
        try await administration.moveLeader(to: learner.id)
        try await waitUntil { try await administration.statuses().allSatisfy { $0.status?.leader == learner.id } }
        let first = try #require(members.first { $0.name == "m0" })
        try await administration.moveLeader(to: first.id)
        try await waitUntil { (try? await administration.remove(learner.id)) != nil }
        #expect(try await administration.members().map(\.name) == ["m0"])
        try await store.close()
    }

    @Test func `a full cluster says so, loses nothing, and is mended`() async throws {
        var options = Self.quick
        options.quota = 16 << 20
        let scene = try await EtcdScene(members: 1, options: options)
        var configuration = scene.configuration()
        configuration.quota = .mebibytes(16)
        let store = try await EtcdStore.open(configuration, logger: quiet)
        let value = [UInt8](repeating: 7, count: 120 << 10)
        let key = ResourceKey(kind: "test.thing", name: "a")
        var last = Revision.zero
        await #expect(throws: StoreError.quotaExceeded) {
            for _ in 0..<500 {
                last = try await store.commit(Transaction(operations: [.put(key, value)]))
            }
        }
        let kept = try #require(try await store.get(key))
        #expect(kept.revision >= last && kept.value == value)
        let alarms = try await store.administration.alarms()
        #expect(alarms.map(\.kind) == [.noSpace])
        #expect(try await store.get(key) == kept)
        try await store.administration.makeRoom()
        #expect(try await store.administration.alarms().isEmpty)
        let next = try await store.commit(Transaction(operations: [.put(key, [1])]))
        #expect(next > last)
        #expect(try await store.administration.status(of: scene.cluster.endpoints[0]).size < .mebibytes(8))
        try await store.close()
    }

    @Test func `a snapshot is whole, and etcd's own tool reads it`() async throws {
        let scene = try await EtcdScene(members: 1, options: Self.quick)
        let store = try await scene.store()
        for number in 0..<50 {
            _ = try await store.commit(
                Transaction(operations: [.put(ResourceKey(kind: "test.thing", name: "n\(number)"), [1])]))
        }
        let path = "\(scene.cluster.directory)/copy.db"
        try await store.administration.snapshot(to: path)
        let outcome = try await ProgramRun(
            "etcdctl", ["snapshot", "status", path, "-w", "json"], variables: ["ETCDCTL_API": "3"]
        ).finish()
        #expect(outcome.status == 0)
        #expect(String(decoding: outcome.output, as: UTF8.self).contains("\"totalKey\""), "\(outcome.words)")
        #expect(!FileManager.default.fileExists(atPath: path + ".part"))
        await #expect(throws: StoreError.self) { try await store.administration.snapshot(to: "/nowhere/copy.db") }
        try await store.close()
    }

    @Test func `upkeep compacts what is old and sees the members`() async throws {
        let scene = try await EtcdScene(members: 1, options: Self.quick)
        var configuration = scene.configuration()
        configuration.historyAge = .milliseconds(400)
        configuration.upkeepInterval = .milliseconds(100)
        let store = try await EtcdStore.open(configuration, logger: quiet)
        let key = ResourceKey(kind: "test.thing", name: "a")
        let first = try await store.commit(Transaction(operations: [.put(key, [1])]))
        for _ in 0..<5 { _ = try await store.commit(Transaction(operations: [.put(key, [2])])) }
        let upkeep = Task { try await store.run() }
        try await waitUntil {
            do {
                for try await _ in await store.watch(after: first) { return false }
                return false
            } catch StoreError.compacted {
                return true
            }
        }
        #expect(store.health.members.map(\.member.name) == ["m0"])
        #expect(store.health.members.allSatisfy { $0.status?.version.hasPrefix("3.") == true })
        #expect(store.health.warnings.isEmpty)
        upkeep.cancel()
        _ = await upkeep.result
        await #expect(throws: StoreError.self) { try await store.get(key) }
    }

    @Test func `wrong certificates, a wrong address and a foreign cluster are told apart`() async throws {
        let scene = try await EtcdScene(members: 1, options: Self.quick)
        let other = try await EtcdScene(members: 1, options: Self.quick)
        var foreign = scene.configuration()
        foreign.tls = other.tls
        foreign.patience = .seconds(4)
        let configuration = foreign
        await #expect {
            try await EtcdStore.open(configuration, logger: quiet)
        } throws: { "\($0)".contains("certificate") || "\($0)".lowercased().contains("handshake") }
        var nobody = scene.configuration()
        nobody.endpoints = ["https://127.0.0.1:1"]
        nobody.patience = .seconds(2)
        let empty = nobody
        await #expect {
            try await EtcdStore.open(empty, logger: quiet)
        } throws: { "\($0)".contains("takes requests now") && "\($0)".contains("127.0.0.1:1") }
    }

    @Test func `a conductor whose user may not write is told so`() async throws {
        let scene = try await EtcdScene(members: 1, options: Self.quick)
        let endpoint = ["--endpoints", scene.cluster.endpoints[0]]
        for words in [
            "user add root --no-password", "role add root", "user grant-role root root",
            "role add conductor", "role grant-permission conductor --prefix=true readwrite /own/",
            "user add conductor --no-password", "user grant-role conductor conductor", "auth enable",
        ] {
            let outcome = try await scene.cluster.control(endpoint + words.split(separator: " ").map(String.init))
                .finish()
            #expect(outcome.status == 0, "\(words): \(outcome.words)")
        }
        let own = try await scene.store(prefix: "/own/")
        _ = try await own.commit(
            Transaction(operations: [.put(ResourceKey(kind: "test.thing", name: "a"), [1])]))
        await #expect {
            _ = try await scene.store(prefix: "/other/")
        } throws: { "\($0)".contains("grant") }
        try await own.close()
    }

    @Test func `new certificates are taken up without a restart`() async throws {
        let scene = try await EtcdScene(members: 1, options: Self.quick)
        let store = try await scene.store()
        let certificates = try #require(scene.cluster.certificates)
        try certificates.issueClient(
            named: "another", certificate: certificates.certificate, key: certificates.key)
        try await waitUntil(.seconds(20)) { store.certificateChanges > 0 }
        _ = try await store.commit(
            Transaction(operations: [.put(ResourceKey(kind: "test.thing", name: "a"), [1])]))
        try await store.close()
    }
}
