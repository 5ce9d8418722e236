import Primitives
import Synchronization

/// The blobs of a site with several conductors: this one's own, and those that it fetches from its peers when they are
/// asked for here. Alone it is its own store and nothing more.
///
/// What comes from a peer is verified before it is stored, so that nobody is shown half a blob or another one.
public final class SiteBlobs: Sendable {
    /// Tries of one peer that bring nothing before the next one is asked.
    static let fruitlessMax = 3

    /// What this conductor holds.
    public let local: FileBlobStore
    /// This conductor's name in the placement.
    public let name: String
    /// How many conductors hold a blob.
    public let copies: Int
    let access: (any BlobPeerAccess)?
    private let peersNow: @Sendable () -> [BlobPeer]
    private let sourcesNow: @Sendable () -> [BlobPeer]
    private let places: AsyncSemaphore
    private let state = Mutex(State())

    private struct State {
        var flights: [Digest: Task<Result<Void, BlobError>, Never>] = [:]
        var pulled = Pulled()
    }

    /// What was fetched since the start.
    public struct Pulled: Sendable, Hashable {
        /// Blobs.
        public var count: UInt64 = 0
        /// Bytes.
        public var bytes: UInt64 = 0
    }

    /// The store `local` of the conductor `name` among `peers` (who may be listed there itself), who are reached by
    /// `access`; `fetchesMax` blobs are fetched at once. `sources` hold none for others any more, and are only asked for
    /// what no peer has.
    public init(
        _ local: FileBlobStore, name: String, peers: @escaping @Sendable () -> [BlobPeer],
        sources: @escaping @Sendable () -> [BlobPeer] = { [] }, access: any BlobPeerAccess,
        copies: Int = BlobPlacement.copiesDefault, fetchesMax: Int = 16
    ) {
        self.local = local
        self.name = name
        self.copies = copies
        self.access = access
        peersNow = peers
        sourcesNow = sources
        places = AsyncSemaphore(limit: fetchesMax)
    }

    /// The store `local` of a conductor that is alone.
    public init(alone local: FileBlobStore) {
        self.local = local
        name = ""
        copies = 1
        access = nil
        peersNow = { [] }
        sourcesNow = { [] }
        places = AsyncSemaphore(limit: 1)
    }

    /// The other conductors that are there now.
    public var peers: [BlobPeer] { access == nil ? [] : peersNow().filter { $0.name != name } }
    /// Those that may have what no peer has, and are given nothing.
    public var sources: [BlobPeer] { access == nil ? [] : sourcesNow() }
    private var isAlone: Bool { peers.isEmpty && sources.isEmpty }
    /// Who holds what, as the site is now.
    public var placement: BlobPlacement { BlobPlacement(peers.map(\.name) + [name], copies: copies) }
    /// What was fetched since the start.
    public var pulled: Pulled { state.withLock { $0.pulled } }

    // MARK: Reading

    /// The whole blob, checked, from a peer when it is not here; throws `.missing` when no conductor has it, and
    /// `.unreachable` when one that may have it does not answer.
    public func get(_ digest: Digest) async throws(BlobError) -> [UInt8] {
        try await fetching(digest) { (blobs) throws(BlobError) in try blobs.get(digest) }
    }

    /// A part of a blob, as `FileBlobStore.read`; fetched as `get` does.
    public func read(_ digest: Digest, at offset: UInt64, count: Int) async throws(BlobError) -> [UInt8] {
        try await fetching(digest) { (blobs) throws(BlobError) in try blobs.read(digest, at: offset, count: count) }
    }

    /// The blob's size, nil when no conductor has it; fetched as `get` does.
    public func size(of digest: Digest) async throws(BlobError) -> UInt64? {
        if let size = try local.size(of: digest) { return size }
        do { try await ensure(digest) } catch {
            guard case .missing = error else { throw error }
            return nil
        }
        return try local.size(of: digest)
    }

    /// Works on a blob that is here; when it is missing or turns out to be damaged, once more after it was fetched.
    public func fetching<Value: Sendable>(
        _ digest: Digest, _ work: @escaping @Sendable (FileBlobStore) throws(BlobError) -> Value
    ) async throws(BlobError) -> Value {
        do { return try await local.offPool(work) } catch {
            guard error == .missing(digest) || error == .corrupt(digest), !isAlone else { throw error }
        }
        try await ensure(digest)
        return try await local.offPool(work)
    }

    // MARK: Fetching

    /// Returns once the blob is here, which counts as a use; asks the peer `first` before the others. Who asks for one
    /// that is being fetched waits for that. Throws as `get`.
    public func ensure(_ digest: Digest, from first: String? = nil) async throws(BlobError) {
        guard !local.contains(digest) else { return }
        guard !isAlone else { throw .missing(digest) }
        try await flight(digest, from: first).value.get()
    }

    /// Begins to fetch what is not being fetched already.
    func begin(_ digests: some Sequence<Digest>, from first: String) {
        for digest in digests { _ = flight(digest, from: first) }
    }

    /// Whether any of `digests` is being fetched.
    func isFetching(anyOf digests: some Sequence<Digest>) -> Bool {
        state.withLock { state in digests.contains { state.flights[$0] != nil } }
    }

    private func flight(_ digest: Digest, from first: String?) -> Task<Result<Void, BlobError>, Never> {
        state.withLock { state in
            if let running = state.flights[digest] { return running }
            let task = Task { () -> Result<Void, BlobError> in
                let result = await self.pull(digest, from: first)
                self.state.withLock { $0.flights[digest] = nil }
                return result
            }
            state.flights[digest] = task
            return task
        }
    }

    private func pull(_ digest: Digest, from first: String?) async -> Result<Void, BlobError> {
        await places.enter()
        defer { places.leave() }
        guard !local.contains(digest), let access else { return .success(()) }
        let sources = sources
        let known = Dictionary((peers + sources).map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let others = placement.ranking(of: digest) + sources.map(\.name)
        let order = [first].compactMap(\.self) + others.filter { $0 != first }
        var upload: BlobUpload?
        var failures: [String] = []
        for peer in order.compactMap({ known[$0] }) {
            switch await take(digest, from: peer, access, &upload) {
            case .stored(let size):
                state.withLock { state in
                    state.pulled.count += 1
                    state.pulled.bytes += size
                }
                return .success(())
            case .absent: continue
            case .failed(let why): failures.append("\(peer.name): \(why)")
            case .refused(let error): return .failure(error)
            }
        }
        return .failure(
            failures.isEmpty
                ? .missing(digest) : .unreachable(digest, why: failures.joined(separator: "; ").printable(limit: 500)))
    }

    private enum Take {
        case stored(UInt64)
        case absent
        case failed(String)
        /// This conductor's own store does not take it.
        case refused(BlobError)
    }

    /// Takes a blob from one peer, and goes on where `upload`, begun with this or another peer, has ended.
    private func take(
        _ digest: Digest, from peer: BlobPeer, _ access: any BlobPeerAccess, _ upload: inout BlobUpload?
    ) async -> Take {
        var fruitless = 0
        while true {
            let before = upload?.size ?? 0
            do {
                let current = try upload ?? BlobUpload(to: local, sizeMax: BlobLimits.blobSizeMax)
                upload = current
                let isThere = try await access.fetch(digest, from: peer, offset: before) {
                    (part) throws(BlobError) in try await current.append(part)
                }
                guard isThere else { return .absent }
                upload = nil
                let size = current.size
                try await current.finish(expecting: digest)
                return .stored(size)
            } catch let error as BlobError {
                guard case .mismatch = error else { return .refused(error) }
                return .failed(error.publicMessage)
            } catch {
                fruitless = (upload?.size ?? 0) > before ? 0 : fruitless + 1
                guard fruitless < Self.fruitlessMax else {
                    return .failed((error as? any UserFacingError)?.publicMessage ?? "\(error)")
                }
            }
        }
    }
}
