import APISupport
import AgentProtocol
import BlobPeers
import BlobStore
import BootServer
import CatalogBareMetal
import Foundation
import Glibc
import Hummingbird
import HummingbirdCore
import Identity
import ImageChunks
import Logging
import NIOCore
import NIOPosix
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import Synchronization
import TestSupport

@testable import ConductorServer

/// Conductors with one store, each with blobs of its own and its peers' routes behind TLS on a port of loopback.
final class PeerBed: Sendable {
    let store: MemoryStore
    let clock: ManualWallClock
    let authorities: SiteAuthorities
    let audit: AuditLog
    let key: SecretText
    let members: [Member]
    private let registry: PeerRegistry
    private let directory: TemporaryDirectory

    struct Member: Sendable {
        let peer: BlobPeer
        let files: FileBlobStore
        let site: SiteBlobs
        let access: CountingAccess
        let catalog: LiveCatalog
        let housekeeper: Housekeeper
        let figures: BlobFigures
        let replicator: BlobReplicator
        let http: HTTPBlobPeers
        /// Ends its server.
        let stop: @Sendable () async -> Void
    }

    /// Runs `body` with `count` conductors; all of it is gone afterwards.
    static func with(_ count: Int, _ body: @escaping @Sendable (PeerBed) async throws -> Void) async throws {
        let bed = try await PeerBed(count)
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for member in bed.members { group.addTask { try await member.catalog.cache.run() } }
                defer { group.cancelAll() }
                try await withDeadline(.seconds(60)) {
                    for member in bed.members { try await member.catalog.cache.barrier() }
                    try await body(bed)
                }
            }
            await bed.close()
        } catch {
            await bed.close()
            throw error
        }
    }

    private init(_ count: Int) async throws {
        let clock = ManualWallClock()
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let directory = try TemporaryDirectory("peers")
        let store = MemoryStore(clock: clock)
        let registry = PeerRegistry()
        let vault = try await SecretVault.open(store: store, keyFile: directory.appending("master.key"))
        let key = try await PeerKey.open(in: vault)
        let authorities = SiteAuthorities(
            try await AuthorityController.open(
                store: store, keys: AuthorityVault(vault: vault, name: "site", clock: SystemWallClock())))
        let audit = AuditLog(store: store, clock: clock)
        let certificate = try ServerCertificate(
            authorities: authorities, names: ["localhost"], clock: SystemWallClock(), logger: logger)
        var members: [Member] = []
        for number in 0..<count {
            let name = "c\(number)"
            let state = directory.appending(name)
            try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: true)
            try FileManager.default.copyItem(
                atPath: directory.appending("master.key"), toPath: "\(state)/master.key")
            chmod("\(state)/master.key", 0o600)
            let files = try FileBlobStore(directory: "\(state)/blobs", clock: clock)
            let http = HTTPBlobPeers(name: name, key: key) { authorities.now.bundlePEM }
            let access = CountingAccess(http)
            let site = SiteBlobs(
                files, name: name, peers: { registry.peers.withLock { $0 } },
                sources: { registry.sources.withLock { $0 } }, access: access)
            let router = Router(context: FleetRequestContext.self)
            router.add(middleware: RequestLogMiddleware())
            PeerRoutes(blobs: site, key: key, audit: audit, logger: logger).addRoutes(to: router)
            router.add(middleware: BearerTokenMiddleware { _ in nil })
            let (ports, port) = AsyncStream.makeStream(of: Int.self)
            let application = Application(
                router: router, server: .https(certificate, addresses: AddressLimit(1000)),
                configuration: .init(address: .hostname("127.0.0.1", port: 0)),
                onServerRunning: { port.yield($0.localAddress?.port ?? 0) }, logger: logger)
            let server = Task { try await application.run() }
            var iterator = ports.makeAsyncIterator()
            let peer = BlobPeer(name: name, url: "https://127.0.0.1:\(await iterator.next() ?? 0)")
            registry.peers.withLock { $0.append(peer) }
            let cache = ResourceCache(
                store: store, kinds: LiveCatalog.kinds, indexes: LiveCatalog.indexes, logger: logger)
            let catalog = LiveCatalog(cache: cache)
            let figures = BlobFigures(site)
            members.append(
                Member(
                    peer: peer, files: files, site: site, access: access, catalog: catalog,
                    housekeeper: Housekeeper(
                        catalog: catalog, store: store, blobs: site, audit: audit,
                        register: CertificateRegister(store: store, clock: clock), clock: clock, logger: logger),
                    figures: figures,
                    replicator: BlobReplicator(catalog: catalog, blobs: site, figures: figures, logger: logger),
                    http: http,
                    stop: {
                        server.cancel()
                        _ = try? await server.value
                    }))
        }
        self.directory = directory
        (self.store, self.clock, self.authorities, self.audit) = (store, clock, authorities, audit)
        self.members = members
        (self.registry, self.key) = (registry, key)
    }

    /// Takes a conductor out of the registry, as the end of its lease does.
    func forget(_ number: Int) {
        let name = members[number].peer.name
        registry.peers.withLock { peers in peers.removeAll { $0.name == name } }
    }

    /// Has a conductor that is registered no more be noted as one that may have blobs still, or not.
    func note(_ number: Int, isNoted: Bool) {
        registry.sources.withLock { $0 = isNoted ? [members[number].peer] : [] }
    }

    /// Registers only these conductors.
    func register(_ numbers: [Int]) {
        registry.peers.withLock { $0 = numbers.map { members[$0].peer } }
    }

    /// The conductors that have a blob.
    func holders(of digest: Digest) -> [String] {
        members.filter { $0.files.absent(from: [digest]).isEmpty }.map(\.peer.name)
    }

    private func close() async {
        for member in members { try? await member.http.close() }
        for member in members { await member.stop() }
    }
}

/// Who is registered.
final class PeerRegistry: Sendable {
    let peers = Mutex<[BlobPeer]>([])
    let sources = Mutex<[BlobPeer]>([])
}

/// Counts what is asked for, and spoils it where a test wants that.
final class CountingAccess: BlobPeerAccess {
    struct State {
        var fetches: [(digest: Digest, peer: String, offset: UInt64)] = []
        /// Bytes after which each transfer breaks off.
        var cut: Int?
        /// Peers whose bytes are changed on the way.
        var liars: Set<String> = []
    }

    struct Broken: Error {}

    let state = Mutex(State())
    private let base: HTTPBlobPeers

    init(_ base: HTTPBlobPeers) { self.base = base }

    func fetch(
        _ digest: Digest, from peer: BlobPeer, offset: UInt64,
        _ part: @escaping @Sendable ([UInt8]) async throws(BlobError) -> Void
    ) async throws -> Bool {
        let (cut, isLiar) = state.withLock { state in
            state.fetches.append((digest, peer.name, offset))
            return (state.cut, state.liars.contains(peer.name))
        }
        let broken = Mutex(cut)
        let stopped = Mutex(false)
        let result = try await base.fetch(digest, from: peer, offset: offset) { (bytes) throws(BlobError) in
            var bytes = bytes
            if isLiar { bytes[0] ^= 1 }
            let left = broken.withLock { left -> Int? in
                guard let now = left else { return nil }
                left = max(0, now - bytes.count)
                return now
            }
            if let left, left < bytes.count {
                if left > 0 { try await part(Array(bytes.prefix(left))) }
                stopped.withLock { $0 = true }
                return
            }
            try await part(bytes)
        }
        if stopped.withLock({ $0 }) { throw Broken() }
        return result
    }

    func ask(_ peer: BlobPeer, _ question: WantedBlobs) async throws -> HeldBlobs {
        try await base.ask(peer, question)
    }
}

extension PeerBed {
    /// Where the file of a blob is.
    func path(of digest: Digest, on number: Int) -> String {
        "\(state(of: number))/blobs/blobs/\(digest.hex.prefix(2))/\(digest.hex)"
    }

    /// A conductor's state directory.
    func state(of number: Int) -> String { directory.appending("c\(number)") }

    /// The manifests of images.
    var manifests: [Digest] { members[0].catalog.images().map(\.spec.manifest) }

    /// Makes an image of new chunks current, as a push to one conductor does; returns all its blobs.
    @discardableResult
    func pushImage(from number: Int, chunks count: Int, seed: UInt64) async throws -> [Digest] {
        var random = SeededRandom(seed: seed)
        let chunks = (0..<count).map { _ in (0..<300).map { _ in UInt8(truncatingIfNeeded: random.next()) } }
        try await name(chunks, as: "image-\(seed)", from: number)
        return Array(try await named())
    }

    /// Stores what a conductor lacks of these chunks, and names them, in the order of `putImage`.
    func name(_ chunks: [[UInt8]], as name: String, from number: Int) async throws {
        let site = members[number].site
        let digests = chunks.map { bytes in bytes.withUnsafeBytes { ChunkDigest(of: $0) } }
        let manifest = try ChunkManifest(
            imageSize: UInt64(4096 * chunks.count),
            chunks: zip(chunks.indices, digests).map { index, digest in
                ImageChunk(
                    offset: UInt64(4096 * index), length: 4096, raw: digest, stored: digest,
                    storedLength: chunks[index].count)
            })
        while true {
            let missing = Set(await site.missing(from: digests.map(\.digest)))
            for (bytes, digest) in zip(chunks, digests) where missing.contains(digest.digest) {
                try site.local.put(bytes)
            }
            try site.local.put(manifest.encoded())
            do {
                _ = try await site.secure(digests.map(\.digest) + [manifest.digest], for: nil)
                break
            } catch {
                // Swept between the two: an operator is told to push again, which sends it.
                guard case .missing = error else { throw error }
            }
        }
        let spec = NodeImage.Spec(
            role: .network, manifest: manifest.digest, size: .kibibytes(4), storedSize: .kibibytes(1),
            chunkCount: chunks.count)
        let now = clock.now
        try await store.update(NodeImage.self, name) { (stored) throws(StoreError) -> Stored<NodeImage>? in
            guard var stored else {
                return Stored(
                    new: NodeImage(metadata: Metadata(name: name, schemaVersion: 1, created: now), spec: spec))
            }
            stored.value.spec = spec
            return stored
        }
    }

    /// What the catalog names now.
    func named() async throws -> Set<Digest> {
        try await members[0].catalog.cache.barrier()
        return try await NamedBlobs.of(
            members[0].catalog.cache.snapshot(), in: members[0].site, read: ManifestMemory()
        ).all
    }
}
