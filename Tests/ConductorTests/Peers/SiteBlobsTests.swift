import AgentProtocol
import AsyncHTTPClient
import BlobPeers
import BlobStore
import CatalogBareMetal
import CatalogIdentity
import Foundation
import Identity
import ImageChunks
import NIOCore
import NIOSSL
import Primitives
import ResourceModel
import Synchronization
import TestSupport
import Testing

@testable import ConductorServer

/// Blobs between conductors, over real sockets and TLS.
@Suite(.timeLimit(.minutes(3)))
struct SiteBlobsTests {
    private static func bytes(_ count: Int, seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    // MARK: Fetching

    @Test func `any conductor gives any blob, fetched once for all who ask`() async throws {
        try await PeerBed.with(3) { bed in
            let bytes = Self.bytes(3 << 20, seed: 1)
            let digest = try bed.members[2].files.put(bytes)
            let site = bed.members[0].site
            try await withThrowingTaskGroup(of: [UInt8].self) { group in
                for _ in 0..<20 { group.addTask { try await site.get(digest) } }
                for try await found in group { #expect(found == bytes) }
            }
            let fetches = bed.members[0].access.state.withLock { $0.fetches }
            #expect(fetches.filter { $0.peer == "c2" }.count == 1, "\(fetches)")
            #expect(bed.holders(of: digest) == ["c0", "c2"])
            #expect(site.pulled.count == 1 && site.pulled.bytes == UInt64(bytes.count))
            #expect(try await site.size(of: digest) == UInt64(bytes.count))
            #expect(
                try await bed.members[1].site.read(digest, at: 1 << 20, count: 10)
                    == Array(bytes[(1 << 20)...].prefix(10)))
            let nowhere = Digest(bytes: [UInt8](repeating: 1, count: 32))
            await #expect(throws: BlobError.missing(nowhere)) { try await site.get(nowhere) }
            #expect(try await site.size(of: nowhere) == nil)
        }
    }

    @Test func `a transfer that breaks off goes on where it was, with another peer too`() async throws {
        try await PeerBed.with(3) { bed in
            let bytes = Self.bytes(1 << 20, seed: 2)
            let digest = try bed.members[1].files.put(bytes)
            try bed.members[2].files.put(bytes)
            let access = bed.members[0].access
            access.state.withLock { $0.cut = 300_000 }
            #expect(try await bed.members[0].site.get(digest) == bytes)
            let offsets = access.state.withLock { $0.fetches.map(\.offset) }
            #expect(offsets == [0, 300_000, 600_000, 900_000])
        }
    }

    @Test func `changed bytes are never shown, and the next peer is asked`() async throws {
        try await PeerBed.with(3) { bed in
            let bytes = Self.bytes(10_000, seed: 3)
            let digest = try bed.members[1].files.put(bytes)
            try bed.members[2].files.put(bytes)
            let first = try #require(bed.members[0].site.placement.ranking(of: digest).first { $0 != "c0" })
            bed.members[0].access.state.withLock { $0.liars = [first] }
            #expect(try await bed.members[0].site.get(digest) == bytes)
            let other = try bed.members[1].files.put(Self.bytes(10, seed: 4))
            bed.members[0].access.state.withLock { $0.liars = ["c1", "c2"] }
            await #expect {
                try await bed.members[0].site.get(other)
            } throws: { error in
                guard case .unreachable(other, _)? = error as? BlobError else { return false }
                return true
            }
            #expect(bed.holders(of: other) == ["c1"])
        }
    }

    @Test func `a blob that is damaged on disk is mended from a peer`() async throws {
        try await PeerBed.with(2) { bed in
            let bytes = Self.bytes(5000, seed: 5)
            let digest = try bed.members[0].files.put(bytes)
            _ = try await bed.members[0].site.secure([digest], for: nil)
            let file = bed.path(of: digest, on: 0)
            try Data(bytes.reversed()).write(to: URL(fileURLWithPath: file))
            #expect(try await bed.members[0].site.get(digest) == bytes)
            #expect(try bed.members[0].files.get(digest) == bytes)
        }
    }

    // MARK: Copies

    @Test func `what is secured is on two, where the placement wants it`() async throws {
        try await PeerBed.with(3) { bed in
            let digests = try (0..<150).map { try bed.members[0].files.put(Self.bytes(500, seed: 100 + $0)) }
            #expect(try await bed.members[0].site.secure(digests, for: "image x") == 2)
            for digest in digests {
                let holders = bed.holders(of: digest)
                #expect(holders.count == 2 && holders.contains("c0"))
                let wanted = bed.members[0].site.placement.ranking(of: digest).first { $0 != "c0" }
                #expect(holders.contains { $0 == wanted })
            }
            let events = try await bed.store.fetchAll(AuditEvent.self).map(\.value.spec)
            #expect(events.allSatisfy { $0.who == "conductor:c0" && $0.verb == "copy" } && events.count >= 2)
            #expect(events.contains { $0.summary?.hasSuffix("blobs of image x") == true }, "\(events)")
        }
    }

    @Test func `who names a blob that came to another conductor has it first`() async throws {
        try await PeerBed.with(3) { bed in
            let digests = try (0..<30).map { try bed.members[1].files.put(Self.bytes(500, seed: 200 + $0)) }
            #expect(await bed.members[2].site.missing(from: digests).isEmpty)
            #expect(try await bed.members[2].site.secure(digests, for: nil) == 2)
            for digest in digests { #expect(bed.members[2].files.contains(digest)) }
        }
    }

    @Test func `a conductor that has died is gone round, or waited for until it is out of the registry`() async throws {
        try await PeerBed.with(3) { bed in
            let digests = try (0..<20).map { try bed.members[0].files.put(Self.bytes(500, seed: 300 + $0)) }
            await bed.members[1].stop()
            #expect(try await bed.members[0].site.secure(digests, for: nil) == 2)
            for digest in digests { #expect(bed.holders(of: digest) == ["c0", "c2"]) }
            await bed.members[2].stop()
            let more = try bed.members[0].files.put(Self.bytes(500, seed: 333))
            await #expect {
                try await bed.members[0].site.secure([more], for: nil)
            } throws: { error in
                guard case .unreachable(more, let why)? = error as? BlobError else { return false }
                return why.contains("c1") && why.contains("c2")
            }
            bed.register([0])
            #expect(try await bed.members[0].site.secure([more], for: nil) == 1)
        }
    }

    // MARK: Who may

    @Test func `only the site's key opens the routes, and only a server of the site's authority is believed`()
        async throws
    {
        try await PeerBed.with(2) { bed in
            let digest = try bed.members[1].files.put(Self.bytes(10, seed: 6))
            let peer = bed.members[1].peer
            let stranger = HTTPBlobPeers(name: "x", key: SecretText("no")) { bed.authorities.now.bundlePEM }
            await #expect {
                try await stranger.fetch(digest, from: peer, offset: 0) { _ in }
            } throws: { ($0 as? BlobPeerError)?.status == 401 }
            await #expect {
                try await stranger.ask(peer, WantedBlobs(digests: [digest]))
            } throws: { ($0 as? BlobPeerError)?.status == 401 }
            try await stranger.close()
            let other = try CertificateAuthority.makeRoot(name: "other").certificatePEM
            let mistrusting = HTTPBlobPeers(name: "x", key: bed.key) { other }
            await #expect(throws: (any Error).self) {
                try await mistrusting.fetch(digest, from: peer, offset: 0) { _ in Issue.record("believed") }
            }
            try await mistrusting.close()
            // A conductor fetches from those that it knows only.
            let answer = try await bed.members[1].access.ask(
                bed.members[0].peer, WantedBlobs(digests: [digest], from: "elsewhere"))
            #expect(answer.held.isEmpty)
            let many = [Digest](repeating: digest, count: WantedBlobs.countMax + 1)
            await #expect {
                try await bed.members[1].access.ask(bed.members[0].peer, WantedBlobs(digests: many))
            } throws: {
                [400, 413].contains(($0 as? BlobPeerError)?.status)
            }
        }
    }

    // MARK: A conductor that is lost

    @Test func `the blobs of a conductor that is lost come back to two copies`() async throws {
        try await PeerBed.with(3) { bed in
            let image = try await bed.pushImage(from: 0, chunks: 40, seed: 7)
            for member in bed.members { try await member.replicator.round() }
            for digest in image { #expect(bed.holders(of: digest).count >= 2) }
            await bed.members[1].stop()
            bed.forget(1)
            for number in [0, 2] { try await bed.members[number].replicator.round() }
            for digest in image { #expect(Set(bed.holders(of: digest)).isSuperset(of: ["c0", "c2"])) }
            let samples = Dictionary(
                uniqueKeysWithValues: bed.members[2].figures.samples.map { ($0.name, $0.value) })
            #expect(samples["muster_blobs_under_replicated"] == 0 && samples["muster_blobs_missing"] == 0)
            #expect(samples["muster_blobs_named"] == Double(image.count))
            #expect((samples["muster_blobs_pulled_bytes_total"] ?? 0) > 0)
        }
    }

    @Test func `what no conductor has any more is told, and the rest comes all the same`() async throws {
        try await PeerBed.with(2) { bed in
            let image = try await bed.pushImage(from: 0, chunks: 10, seed: 8)
            let lost = try #require(image.sorted().first { $0 != bed.manifests.last })
            for number in 0..<2 { try FileManager.default.removeItem(atPath: bed.path(of: lost, on: number)) }
            let other = try #require(image.sorted().last { $0 != bed.manifests.last })
            try FileManager.default.removeItem(atPath: bed.path(of: other, on: 1))
            try await bed.members[1].replicator.round()
            #expect(bed.holders(of: other) == ["c0", "c1"])
            let samples = Dictionary(
                uniqueKeysWithValues: bed.members[1].figures.samples.map { ($0.name, $0.value) })
            #expect(samples["muster_blobs_missing"] == 1 && samples["muster_blobs_under_replicated"] == 1)
        }
    }

    // MARK: Sweeps

    /// Everything is a day old when conductors name blobs, old ones and new ones, while all of them sweep.
    @Test(arguments: [11, 12, 13] as [UInt64])
    func `no sweep takes what is named or about to be, whichever conductor names it`(seed: UInt64) async throws {
        try await PeerBed.with(2) { bed in
            var random = SeededRandom(seed: seed)
            var known: [[UInt8]] = (0..<12).map { Self.bytes(200, seed: seed * 1000 + $0) }
            for bytes in known { try bed.members[Int.random(in: 0..<2, using: &random)].files.put(bytes) }
            for turn in 0..<12 {
                bed.clock.advance(by: Housekeeper.blobGrace + .seconds(3600))
                known.append(Self.bytes(200, seed: seed * 1000 + 500 + UInt64(turn)))
                let chosen = known.shuffled(using: &random).prefix(4)
                let pusher = Int.random(in: 0..<2, using: &random)
                let pauses = (0..<4).map { _ in Int.random(in: 0...3000, using: &random) }
                let name = "image-\(Int.random(in: 0..<3, using: &random))"
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<2 {
                        group.addTask {
                            for pause in pauses[(number * 2)..<(number * 2 + 2)] {
                                try await Task.sleep(for: .microseconds(pause))
                                try await bed.members[number].housekeeper.sweepBlobs()
                            }
                        }
                    }
                    group.addTask { try await bed.name(Array(chosen), as: name, from: pusher) }
                    try await group.waitForAll()
                }
                for digest in try await bed.named() {
                    #expect(bed.holders(of: digest).count == 2, "seed \(seed), turn \(turn): \(digest)")
                }
            }
            // It does sweep.
            bed.clock.advance(by: Housekeeper.blobGrace + .seconds(3600))
            let unnamed = try bed.members[0].files.put(Self.bytes(9, seed: seed))
            bed.clock.advance(by: Housekeeper.blobGrace + .seconds(3600))
            try await bed.members[0].housekeeper.sweepBlobs()
            #expect(bed.holders(of: unnamed).isEmpty)
        }
    }
}
