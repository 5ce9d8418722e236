import BlobPeers
import BlobStore
import CatalogBareMetal
import CatalogIdentity
import ControlPlane
import EtcdBed
import Foundation
import Glibc
import Primitives
import ResourceModel
import StoreEtcd
import StoreSQLite
import TestSupport
import Testing

@testable import ConductorServer

/// A conductor hands its site over to controllers, in a process that is killed at each step.
@Suite(
    .serialized,
    .enabled(if: geteuid() == 0 && access("/usr/bin/etcd", X_OK) == 0, "needs root and the package etcd-server"))
struct SeedPivotTests {
    /// Runs a seed until it kills itself.
    private static func killed(_ run: SeedRun) async {
        await #expect(processExitsWith: .signal(SIGKILL)) { [run = run as SeedRun] in try await run.serve() }
    }

    /// Runs a seed until it ends for good.
    private static func ended(_ run: SeedRun) async {
        await #expect(processExitsWith: .success) { [run = run as SeedRun] in try await run.serve() }
    }

    /// The tokens in a store that a writer has made.
    private static func written(_ store: any ResourceStore) async throws -> Set<String> {
        Set(try await store.fetchAll(OperatorToken.self).map(\.value.metadata.name))
    }

    /// Expects that a seed has ended for good, that all it acknowledged is with the controllers, and that it says where.
    private static func checkEnd(of bed: SeedBed, _ writer: SeedWriter) async throws {
        let target = try await bed.target()
        let acknowledged = writer.acknowledged
        let lost = acknowledged.subtracting(try await written(target))
        #expect(acknowledged.count > 10 && lost.isEmpty, "lost of \(acknowledged.count): \(lost.sorted())")
        #expect(try await target.get(StandInSurroundings.seed) == nil, "it is forgotten")
        try await target.close()
        #expect(try bed.note?.state == .retired)
        let files = try FileManager.default.contentsOfDirectory(atPath: bed.state)
        #expect(!files.contains("store.sqlite") && files.contains("store.sqlite.moved-to-etcd"), "\(files)")
        let again = try bed.program()
        #expect(again.status == SiteMoved.exitCode && again.output.contains("https://127.0.0.1:9443"), "\(again)")
    }

    @Test(.timeLimit(.minutes(4)))
    func `a seed that is killed at each step goes on, and nothing that it acknowledged is lost`() async throws {
        let bed = try await SeedBed("pivot-killed")
        defer { bed.cluster.stop() }
        let writer = bed.writer()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await writer.run() }
            // Founded, reserved, assigned and published, each by a run; frozen, without DHCP, copied and compared by one.
            for look in [2, 2, 2, 2, 2, 3, 4, 5] { await Self.killed(try bed.run(.look(look))) }
            #expect(try bed.note == nil)
            await Self.killed(try bed.run(.beforeOpening))
            #expect(try bed.note?.state == .turning)

            // Who may have handed over asks first, and serves nothing until it is answered.
            bed.cluster.pause(0)
            let opening = try bed.run(.afterOpening)
            async let opened: Void = Self.killed(opening)
            try await Task.sleep(for: .seconds(4))
            #expect(!RunningConductor.accepts(bed.ports[0]))
            bed.cluster.resume(0)
            await opened
            let before = writer.acknowledged
            await Self.killed(try bed.run(.look(2)))

            group.addTask { try await bed.settle() }
            let last = try bed.run()
            group.addTask { await Self.ended(last) }
            try await waitUntil(.seconds(30)) { [ports = bed.ports] in RunningConductor.accepts(ports[0]) }
            try await Self.fetchBlob(from: bed)
            try await waitUntil(.seconds(30)) { writer.refusals.keys.contains { $0.hasPrefix("421 site_moved: ") } }
            bed.letSettle()
            try await waitUntil(.seconds(30)) { try bed.note?.state == .retired }
            #expect(writer.acknowledged == before, "an open store and a seed that takes writes")
            writer.stop()
            try await group.waitForAll()
        }
        let refusals = writer.refusals.keys.sorted()
        #expect(
            refusals.contains { $0.hasPrefix("503 store_frozen: The site moves to its controllers") }, "\(refusals)")
        #expect(
            refusals.contains { $0.hasPrefix("421 site_moved: ") && $0.contains("https://127.0.0.1:9443") },
            "\(refusals)")
        try await Self.checkEnd(of: bed, writer)
    }

    @Test(.timeLimit(.minutes(3)))
    func `a seed whose opening does not arrive serves on, tries again, moves, and ends`() async throws {
        let bed = try await SeedBed("pivot-lost")
        defer { bed.cluster.stop() }
        let writer = bed.writer()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await writer.run() }
            bed.letSettle()
            group.addTask { try await bed.settle() }
            await Self.ended(try bed.run(.openingLost(count: 1)))
            writer.stop()
            try await group.waitForAll()
        }
        try await Self.checkEnd(of: bed, writer)

        // A site that goes back to one conductor has it in the same place.
        _ = try await Conductor.move(
            to: .sqlite, stateDirectory: bed.state, etcd: try bed.run().etcd, logger: bed.logger)
        let running = try RunningConductor(state: bed.state, ports: bed.ports)
        defer { _ = running.end() }
        try await waitUntil(.seconds(30)) { [ports = bed.ports] in RunningConductor.accepts(ports[0]) }
    }

    @Test(.timeLimit(.minutes(3)))
    func `a seed that was killed before the opening goes back when it is told to, and serves on`() async throws {
        let bed = try await SeedBed("pivot-back")
        defer { bed.cluster.stop() }
        await Self.killed(try bed.run(.beforeOpening))
        #expect(try bed.note?.state == .turning)
        let etcd = try bed.run().etcd
        await #expect(throws: SiteMoves.self) {
            try await Conductor.move(to: .etcd, stateDirectory: bed.state, etcd: etcd, logger: bed.logger)
        }
        try await bed.withStore { store in
            try await store.update(ControlPlaneRecord.self, ControlPlaneRecord.name) { stored in
                var next = stored
                next?.value.spec.goesBack = true
                return next
            }
        }
        let writer = bed.writer()
        try await withThrowingTaskGroup(of: Void.self) { group in
            let run = try bed.run()
            group.addTask { await Self.killed(run) }
            group.addTask { try await writer.run() }
            try await waitUntil(.seconds(60)) { writer.acknowledged.count > 10 }
            #expect(try bed.note == nil)
            writer.stop()
            try bed.kill()
            try await group.waitForAll()
        }
        try await bed.withStore { store in
            let plane = try await store.get(ControlPlaneRecord.key(ControlPlaneRecord.name))
            #expect(plane == nil, "no controllers any more")
            let kept = try await Self.written(store)
            #expect(kept.isSuperset(of: writer.acknowledged))
        }
        let target = try await bed.target()
        #expect(try await StoreMigration.isUnfinished(in: target), "who waits there waits on")
        try await target.close()
    }

    /// A conductor that has the site's key fetches the seed's blob; who has another gets nothing.
    private static func fetchBlob(from bed: SeedBed) async throws {
        let authorities = try String(contentsOfFile: "\(bed.state)/ca.pem", encoding: .utf8)
        for (key, isKnown) in [(bed.peerKey, true), (SecretText("another"), false)] {
            let access = HTTPBlobPeers(name: "a", key: key) { authorities }
            let files = try FileBlobStore(
                directory: bed.directory.appending("blobs-\(isKnown)"), clock: SystemWallClock())
            let blobs = SiteBlobs(
                files, name: "a", peers: { [] },
                sources: { [BlobPeer(name: "seed", url: "https://127.0.0.1:\(bed.ports[0])")] }, access: access)
            var failure: (any Error)?
            do {
                let isThere = await access.answers(at: "https://127.0.0.1:\(bed.ports[0])")
                #expect(isThere == isKnown, "who has the key hears that a conductor of its site answers")
                #expect(try await blobs.held([bed.blob], by: "seed") == [bed.blob])
                try await blobs.ensure(bed.blob)
            } catch { failure = error }
            try await access.close()
            #expect(
                files.contains(bed.blob) == isKnown && (failure == nil) == isKnown, "\(failure.map { "\($0)" } ?? "")")
        }
    }
}
