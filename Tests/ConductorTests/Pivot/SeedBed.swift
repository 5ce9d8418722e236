import AgentProtocol
import BlobStore
import CatalogBareMetal
import CatalogIdentity
import ControlPlane
import EtcdBed
import Foundation
import Glibc
import Identity
import Logging
import Primitives
import ResourceModel
import StoreEtcd
import StoreSQLite
import Synchronization
import TestSupport
import Testing

@testable import ConductorServer

/// A site with a seed and a store of one member that it moves to; the test is the controller.
final class SeedBed: Sendable {
    let directory: TemporaryDirectory
    let cluster: EtcdTestCluster
    let state: String
    let ports = RunningConductor.freePorts()
    let peerKey: SecretText
    let blob: Digest
    private let token: String
    private let maySettle = Mutex(false)
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// Makes the site, with one blob, and orders that it moves; no seed runs when this returns.
    init(_ label: String) async throws {
        directory = try TemporaryDirectory(label)
        cluster = try EtcdTestCluster(members: 1)
        try await cluster.start()
        state = directory.appending("state")
        let running = try RunningConductor(
            state: state, ports: ports, more: ["--conductor-name", "seed", "--password-cost", "8"])
        defer { _ = running.end() }
        try await waitUntil(.seconds(60)) { [ports] in RunningConductor.accepts(ports[0]) }
        _ = running.end()
        token = try String(contentsOfFile: "\(state)/operator.token", encoding: .utf8)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        let store = try await SQLiteStore.open(path: "\(state)/store.sqlite")
        let vault = try await SecretVault.open(store: store, keyFile: "\(state)/master.key")
        peerKey = try await PeerKey.open(in: vault)
        blob = try FileBlobStore(directory: "\(state)/blobs", clock: SystemWallClock()).put(Array("a blob".utf8))
        let plane = ControlPlaneRecord(
            created: SystemWallClock().now, spec: .init(controllers: ["a"]), status: .init(phase: .pivoting))
        _ = try await store.commit(Transaction(operations: [try Stored(new: plane).put()]))
        try await store.close()
    }

    /// A run of the seed that ends so.
    func run(_ fault: SeedRun.Fault? = nil) throws -> SeedRun {
        let certificates = try #require(cluster.certificates)
        return SeedRun(
            state: state, ports: ports, endpoints: cluster.endpoints, authority: certificates.authority,
            certificate: certificates.certificate, key: certificates.key, fault: fault)
    }

    /// A client of the seed's API.
    func writer() -> SeedWriter {
        SeedWriter(api: "https://127.0.0.1:\(ports[0])", token: token, authority: "\(state)/ca.pem")
    }

    /// Works on the seed's store, while no seed runs.
    func withStore(_ body: (SQLiteStore) async throws -> Void) async throws {
        let store = try await SQLiteStore.open(path: "\(state)/store.sqlite")
        try await body(store)
        try await store.close()
    }

    /// kill -9 of the run that is under way.
    func kill() throws {
        let text = try String(contentsOfFile: try run().processFile, encoding: .utf8)
        Glibc.kill(try #require(pid_t(text)), SIGKILL)
    }

    var note: PivotNote? { get throws { try PivotNoteFile(directory: state).load() } }

    /// The store that the site moves to.
    func target() async throws -> EtcdStore { try await EtcdStore.open(try run().etcd, logger: logger) }

    /// Lets the new leader settle.
    func letSettle() { maySettle.withLock { $0 = true } }

    /// The new leader: waits until the site is there, and settles its control plane once it may.
    func settle() async throws {
        let target = try await target()
        while !Task.isCancelled {
            try await Task.sleep(for: .milliseconds(100))
            guard maySettle.withLock({ $0 }), try await !StoreMigration.isUnfinished(in: target),
                try await target.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name)?.value.status.phase
                    == .changing
            else { continue }
            try await target.update(ControlPlaneRecord.self, ControlPlaneRecord.name) { stored in
                var next = stored
                next?.value.status.phase = .settled
                return next
            }
            break
        }
        try await target.close()
    }

    /// Runs the conductor's own program on the state directory, until it ends by itself.
    func program() throws -> (status: Int32, output: String) {
        let running = try RunningConductor(state: state, ports: ports)
        running.process.waitUntilExit()
        let status = running.process.terminationStatus
        return (status, running.end())
    }
}
