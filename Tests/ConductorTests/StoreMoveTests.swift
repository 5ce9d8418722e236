import AgentProtocol
import CatalogBareMetal
import ClientSDK
import EtcdBed
import FleetContract
import Foundation
import Glibc
import Logging
import Primitives
import ResourceModel
import StoreEtcd
import StoreSQLite
import TestSupport
import Testing

/// The catalog goes from the state directory into etcd and back, and the site is the same afterwards.
@Suite(
    .serialized,
    .enabled(if: geteuid() == 0 && access("/usr/bin/etcd", X_OK) == 0, "needs root and the package etcd-server"))
struct StoreMoveTests {
    /// A state directory with the ports of its conductor.
    private struct Place {
        let state: String
        let ports = RunningConductor.freePorts()
        let etcd: [String]

        /// Runs a conductor for as long as `body` runs.
        func serve(_ more: [String], _ body: (FleetClient) async throws -> Void) async throws {
            let running = try RunningConductor(
                state: state, ports: ports, more: ["--conductor-name", "only", "--password-cost", "8"] + more)
            defer { _ = running.end() }
            try await waitUntil(.seconds(60)) { [ports] in RunningConductor.accepts(ports[0]) }
            let token = try String(contentsOfFile: "\(state)/operator.token", encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            let client = try FleetClient(
                .init(api: "https://127.0.0.1:\(ports[0])", token: token, authorityFile: "\(state)/ca.pem"))
            let result: Result<Void, any Error>
            do { result = .success(try await body(client)) } catch { result = .failure(error) }
            await client.shutdown()
            try result.get()
        }

        /// Runs `muster-conductor migrate`.
        func migrate(to target: String) throws -> (status: Int32, output: String) {
            try run(["migrate", "--to", target])
        }

        /// Runs a command of `muster-conductor` on this place and its cluster.
        func run(_ words: [String]) throws -> (status: Int32, output: String) {
            let process = Process()
            let output = Pipe()
            process.executableURL = URL(fileURLWithPath: RunningConductor.package + "/.build/debug/muster-conductor")
            process.arguments = words + ["--state-dir", state] + etcd
            process.standardOutput = output
            process.standardError = output
            try process.run()
            let text = output.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            return (process.terminationStatus, String(decoding: text, as: UTF8.self))
        }
    }

    private static func options(_ cluster: EtcdTestCluster) throws -> [String] {
        let certificates = try #require(cluster.certificates)
        return cluster.endpoints.flatMap { ["--etcd", $0] } + [
            "--etcd-ca", certificates.authority, "--etcd-cert", certificates.certificate, "--etcd-key",
            certificates.key,
        ]
    }

    @Test(.timeLimit(.minutes(3))) func `a site on one cluster is backed up while it runs and restored on another`()
        async throws
    {
        let (old, new) = (try EtcdTestCluster(members: 1), try EtcdTestCluster(members: 1))
        try await old.start()
        defer { old.stop() }
        try await new.start()
        defer { new.stop() }
        let directory = try TemporaryDirectory("cluster-backup")
        let (pass, file) = (directory.appending("pass"), directory.appending("site.backup"))
        try "a passphrase of this test\n".write(toFile: pass, atomically: true, encoding: .utf8)
        chmod(pass, 0o600)
        let sealed = ["--passphrase-file", pass]
        let first = Place(state: directory.appending("first"), etcd: try Self.options(old))
        let second = Place(state: directory.appending("second"), etcd: try Self.options(new))
        try await first.serve(first.etcd) { client in
            _ = try await client.applySite(Self.site("kept"))
            let backup = try first.run(["backup", "--to", file] + sealed)
            #expect(backup.status == 0, "\(backup.output)")
        }
        let token = try String(contentsOfFile: "\(first.state)/operator.token", encoding: .utf8)
        let restored = try second.run(["restore", file] + sealed)
        #expect(restored.status == 0, "\(restored.output)")
        #expect(try String(contentsOfFile: "\(second.state)/operator.token", encoding: .utf8) == token)
        try await second.serve(second.etcd) { client in
            let rules = try await client.rules().map(\.name)
            #expect(rules == ["kept"])
        }
        let again = try Place(state: directory.appending("third"), etcd: Self.options(new)).run(
            ["restore", file] + sealed)
        #expect(again.status != 0, "what has documents is not restored into: \(again.output)")
    }

    private static func site(_ name: String) -> SiteDocument {
        SiteDocument(
            site: .init(name: "lab", sshKeys: []), segments: [], bmcs: [],
            rules: [.init(name: name, spec: .init(order: 1, match: [], role: .network))])
    }

    @Test(.timeLimit(.minutes(3))) func `a site moves into etcd and back, and nothing is lost`() async throws {
        let cluster = try EtcdTestCluster(members: 1)
        try await cluster.start()
        defer { cluster.stop() }
        let directory = try TemporaryDirectory("store-move")
        let place = Place(state: directory.appending("state"), etcd: try Self.options(cluster))
        #expect(try place.migrate(to: "etcd").output.contains("There is no store"))
        try await place.serve([]) { _ = try await $0.applySite(Self.site("one")) }
        let authority = try String(contentsOfFile: "\(place.state)/ca.pem", encoding: .utf8)

        let there = try place.migrate(to: "etcd")
        #expect(there.status == 0 && there.output.contains("copied and compared"), "\(there.output)")
        try await place.serve(place.etcd) { client in
            let rules = try await client.rules().map(\.name)
            #expect(rules == ["one"])
            _ = try await client.applySite(Self.site("two"))
            try await waitUntil(.seconds(20)) { try await client.conductors().map(\.name) == ["only"] }
            #expect(
                try place.migrate(to: "sqlite").output.contains(
                    "fleet.conductor/only is of somebody who uses the store now"))
        }
        var back = try place.migrate(to: "sqlite")
        for _ in 0..<20 where back.status != 0 && back.output.contains("who uses the store now") {
            try await Task.sleep(for: .seconds(1))
            back = try place.migrate(to: "sqlite")
        }
        #expect(back.status == 0, "\(back.output)")
        try await place.serve([]) { client in
            let rules = try await client.rules().map(\.name)
            #expect(rules == ["two"])
        }
        #expect(try String(contentsOfFile: "\(place.state)/ca.pem", encoding: .utf8) == authority)
        #expect(try place.migrate(to: "etcd").output.contains("not empty"))
    }

    @Test(.timeLimit(.minutes(3)))
    func `a conductor on a store that a site is being moved into waits until it is whole`()
        async throws
    {
        let cluster = try EtcdTestCluster(members: 1)
        try await cluster.start()
        defer { cluster.stop() }
        let directory = try TemporaryDirectory("store-wait")
        let seed = Place(state: directory.appending("seed"), etcd: [])
        try await seed.serve([]) { _ = try await $0.applySite(Self.site("kept")) }
        let certificates = try #require(cluster.certificates)
        let target = try await EtcdStore.open(
            EtcdConfiguration(
                endpoints: cluster.endpoints,
                tls: EtcdTLS(
                    authority: certificates.authority, certificate: certificates.certificate, key: certificates.key)),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let source = try await SQLiteStore.open(path: "\(seed.state)/store.sqlite")
        let migration = StoreMigration(from: source, to: target)
        let reservation = try await migration.reserve()

        let place = Place(state: directory.appending("controller"), etcd: try Self.options(cluster))
        try FileManager.default.createDirectory(
            atPath: place.state, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        try FileManager.default.copyItem(atPath: "\(seed.state)/master.key", toPath: "\(place.state)/master.key")
        let running = try RunningConductor(
            state: place.state, ports: place.ports, log: "notice",
            more: ["--conductor-name", "only", "--password-cost", "8"] + place.etcd)
        defer { _ = running.end() }
        try await Task.sleep(for: .seconds(3))
        #expect(running.process.isRunning && !RunningConductor.accepts(place.ports[0]))
        let documents = try await target.list(kind: nil, after: nil, limit: 10).documents
        #expect(documents.map(\.key) == [StoreMigration.mark], "it makes nothing")
        #expect(try FileManager.default.contentsOfDirectory(atPath: place.state) == ["master.key"])

        let report = try await migration.copy(under: reservation)
        try await migration.verify(report)
        try await Task.sleep(for: .seconds(1))
        #expect(!RunningConductor.accepts(place.ports[0]), "a copy that is not opened is not served")
        _ = try await migration.open(reservation)
        try await waitUntil(.seconds(60)) { [ports = place.ports] in RunningConductor.accepts(ports[0]) }
        let token = try String(contentsOfFile: "\(seed.state)/operator.token", encoding: .utf8)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        let client = try FleetClient(
            .init(api: "https://127.0.0.1:\(place.ports[0])", token: token, authorityFile: "\(seed.state)/ca.pem"))
        let rules = try await client.rules().map(\.name)
        await client.shutdown()
        try await source.close()
        try await target.close()
        #expect(rules == ["kept"], "the seed's authority, token and documents")
        let log = running.end()
        #expect(log.contains("is not whole yet") && log.contains("the site is whole"), "\(log)")
    }
}
