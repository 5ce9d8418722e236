import AgentProtocol
import CatalogBareMetal
import ClientSDK
import EtcdBed
import FleetContract
import Foundation
import Glibc
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreEtcd
import Synchronization
import TestSupport
import Testing

/// Two conductors' programs on one etcd cluster: what one acknowledges the other shows, and one of them leads.
@Suite(
    .serialized,
    .enabled(if: geteuid() == 0 && access("/usr/bin/etcd", X_OK) == 0, "needs root and the package etcd-server"))
struct ConductorClusterTests {
    /// One conductor of two.
    private final class Seat {
        let state: String
        let ports = RunningConductor.freePorts()
        let name: String
        private let cluster: EtcdTestCluster
        private(set) var running: RunningConductor?

        init(_ name: String, in directory: TemporaryDirectory, _ cluster: EtcdTestCluster) {
            self.name = name
            self.cluster = cluster
            state = directory.appending(name)
        }

        deinit { _ = running?.end() }

        func start() throws {
            let certificates = try #require(cluster.certificates)
            running = try RunningConductor(
                state: state, ports: ports, log: "notice",
                more: ["--conductor-name", name, "--advertise", "127.0.0.1", "--password-cost", "8"]
                    + cluster.endpoints.flatMap { ["--etcd", $0] }
                    + [
                        "--etcd-ca", certificates.authority, "--etcd-cert", certificates.certificate, "--etcd-key",
                        certificates.key,
                    ])
        }

        func client(token: String) throws -> FleetClient {
            try FleetClient(
                .init(api: "https://127.0.0.1:\(ports[0])", token: token, authorityFile: "\(state)/ca.pem"))
        }

        func signal(_ number: Int32) { running.map { _ = kill($0.process.processIdentifier, number) } }

        /// Kills it and gives what it has logged.
        func end() -> String { running.take()?.end() ?? "" }
    }

    /// The run of the conductor that leads, as `client`'s shows it, once `holds` does.
    private static func leader(
        _ client: FleetClient, within limit: Duration = .seconds(40), where holds: (ConductorSummary) -> Bool
    ) async throws -> ConductorSummary {
        let end = ContinuousClock.now + limit
        while true {
            if let found = try? await client.conductors().first(where: \.isLeader), holds(found) { return found }
            try #require(ContinuousClock.now < end, "nobody leads as it should within \(limit)")
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    private static func site(_ number: Int) -> SiteDocument {
        SiteDocument(
            site: .init(name: "lab", sshKeys: []), segments: [],
            bmcs: [],
            rules: [.init(name: "r\(number)", spec: .init(order: number, match: [], role: .network))])
    }

    @Test(.timeLimit(.minutes(5))) func `one writes, the other shows it; the leader is killed, then paused`()
        async throws
    {
        let cluster = try EtcdTestCluster(members: 1)
        try await cluster.start()
        defer { cluster.stop() }
        let directory = try TemporaryDirectory("conductor-cluster")
        let (first, second) = (Seat("c1", in: directory, cluster), Seat("c2", in: directory, cluster))
        try first.start()
        try await waitUntil(.seconds(60)) { [ports = first.ports] in RunningConductor.accepts(ports[0]) }
        try FileManager.default.createDirectory(
            atPath: second.state, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        try FileManager.default.copyItem(atPath: "\(first.state)/master.key", toPath: "\(second.state)/master.key")
        try second.start()
        try await waitUntil(.seconds(60)) { [ports = second.ports] in RunningConductor.accepts(ports[0]) }
        let token = try String(contentsOfFile: "\(first.state)/operator.token", encoding: .utf8)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        #expect(!FileManager.default.fileExists(atPath: "\(second.state)/operator.token"))
        let clients = [try first.client(token: token), try second.client(token: token)]

        // What one has acknowledged is in the next answer of the other.
        for number in 1...40 {
            let (writer, reader) = (clients[number % 2], clients[(number + 1) % 2])
            _ = try await writer.applySite(Self.site(number))
            #expect(try await reader.rules().map(\.name) == ["r\(number)"])
        }
        try await waitUntil(.seconds(20)) { try await clients[1].conductors().map(\.name) == ["c1", "c2"] }

        // They were started by hand: there is no control plane, and each shows the store's members all the same.
        for client in clients {
            let report = try await client.controllers()
            #expect(report.wanted == nil && report.beginning?.contains("were started by hand") == true)
            #expect(report.controllers.flatMap(\.members).map(\.state) == [.leader], "\(report)")
            let conductors = report.controllers.filter { $0.conductor != nil }
            #expect(conductors.map(\.name) == ["c1", "c2"] && conductors.allSatisfy { $0.part == .byHand })
            await #expect(throws: ClientError.self) { try await client.controllersPlan(["c1"]) }
        }

        // Killed: the other leads once the lease is over, and serves all the time.
        let old = try await Self.leader(clients[1]) { $0.name == "c1" }
        first.signal(SIGKILL)
        let killed = ContinuousClock.now
        _ = try await clients[1].applySite(Self.site(100))
        let next = try await Self.leader(clients[1]) { $0.name == "c2" }
        let gap = ContinuousClock.now - killed
        #expect(gap < .seconds(14), "the lease lives 10 s, and whoever waits looks each half second")
        #expect(next.run != old.run)

        // What is noted of one that is gone can be forgotten; of one that runs it cannot.
        await #expect(throws: ClientError.self, "it runs") { try await clients[1].forgetConductor("c2") }
        try await waitUntil(.seconds(20)) { try await clients[1].conductors().map(\.name) == ["c2"] }
        do {
            _ = try await clients[1].forgetConductor("c3")
            Issue.record("there is no c3")
        } catch { #expect("\(error)".contains("of those that do not run c1 is"), "\(error)") }
        #expect(try await clients[1].forgetConductor("c1").name == "c1")
        await #expect(throws: ClientError.self, "it is forgotten") { try await clients[1].forgetConductor("c1") }
        _ = first.end()
        try first.start()
        try await waitUntil(.seconds(60)) { [ports = first.ports] in RunningConductor.accepts(ports[0]) }
        try await waitUntil(.seconds(20)) { try await clients[0].conductors().count == 2 }

        // Paused for longer than its lease, while the other writes: what it goes on with afterwards is refused.
        let tls = try #require(
            cluster.certificates.map { EtcdTLS(authority: $0.authority, certificate: $0.certificate, key: $0.key) })
        let store = try await EtcdStore.open(
            EtcdConfiguration(endpoints: cluster.endpoints, tls: tls), clock: SystemWallClock(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let key = LeaderRecord.key("conductor")
        let paused = Term(
            name: "conductor", holder: next.run, began: try #require(try await store.get(key)).revision)
        second.signal(SIGSTOP)
        _ = try await Self.leader(clients[0]) { $0.name == "c1" }
        let term = try #require(try await store.get(key)).revision
        let thing = Transaction.Operation.put(ResourceKey(kind: "test.thing", name: "x"), [1])
        await #expect(throws: StoreError.notLeader("conductor"), "what the paused one has under way") {
            _ = try await FencedStore(store, term: paused).commit(Transaction(operations: [thing]))
        }
        // Each write is waited for: one that is broken off may still be made between the two last looks.
        let isEnough = Mutex(false)
        let load = Task {
            var number = 200
            while !isEnough.withLock(\.self) {
                number += 1
                _ = try await clients[0].applySite(Self.site(number))
            }
        }
        second.signal(SIGCONT)
        try await Task.sleep(for: .seconds(5))
        isEnough.withLock { $0 = true }
        _ = try? await load.value
        #expect(try await store.get(key)?.revision == term, "the one that was paused takes nothing back")
        try await waitUntil(.seconds(20)) { try await clients[1].conductors().count == 2 }
        #expect(try await clients[1].conductors().first(where: \.isLeader)?.name == "c1")
        #expect(try await clients[1].rules() == clients[0].rules())
        try await store.close()
        for client in clients { await client.shutdown() }
        let log = second.end()
        #expect(log.contains("does not lead in 'conductor' any more"), "\(log)")
        _ = first.end()
    }
}
