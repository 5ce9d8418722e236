import Primitives

extension SiteBlobs {
    /// Those of `digests` that a conductor holds, this one or a peer or source; counts as a use of them there.
    ///
    /// Throws `BlobError.unreachable` when it does not answer.
    public func held(_ digests: [Digest], by holder: String) async throws(BlobError) -> Set<Digest> {
        if holder == name {
            let lacking = try await local.offPool { Set($0.missing(from: digests)) }
            return Set(digests).subtracting(lacking)
        }
        var held: Set<Digest> = []
        for part in digests.parts(of: WantedBlobs.countMax) {
            held.formUnion(try await ask(holder, WantedBlobs(digests: part)).held)
        }
        return held
    }

    /// Has a conductor, this one or a peer, fetch `digests` from whoever has them; returns within half a minute, when all
    /// are there or not. Of many only the first `WantedBlobs.countMax` are asked for.
    ///
    /// Throws `BlobError.unreachable` when it does not answer.
    public func bring(_ digests: [Digest], to holder: String) async throws(BlobError) {
        guard holder == name else {
            // Whom it is to ask first does not matter: it goes on with all others.
            _ = try await ask(holder, WantedBlobs(digests: Array(digests.prefix(WantedBlobs.countMax)), from: name))
            return
        }
        begin(digests.prefix(WantedBlobs.countMax), from: name)
        let end = ContinuousClock.now + .seconds(20)
        while isFetching(anyOf: digests), ContinuousClock.now < end {
            do { try await Task.sleep(for: .milliseconds(50)) } catch { return }
        }
    }

    private func ask(_ holder: String, _ question: WantedBlobs) async throws(BlobError) -> HeldBlobs {
        let nothing = Digest(bytes: [UInt8](repeating: 0, count: 32))
        let digest = question.digests.first ?? nothing
        guard let access, let peer = (peers + sources).first(where: { $0.name == holder }) else {
            throw .unreachable(digest, why: "\(holder): it does not run")
        }
        do { return try await access.ask(peer, question) } catch {
            let why = (error as? any UserFacingError)?.publicMessage ?? "\(error)"
            throw .unreachable(digest, why: "\(holder): \(why)".printable(limit: 300))
        }
    }
}

/// What controllers lack of blobs; pure.
public struct BlobShortage: Sendable, Hashable {
    /// The blobs that lie on fewer of the controllers than they should, each with the controllers that shall get it.
    public private(set) var targets: [Digest: [String]] = [:]

    /// Of `digests`, with `held` being what each of the controllers holds: each shall be on two of them, or on the only one.
    public init(
        _ digests: some Sequence<Digest>, held: [String: Set<Digest>], copies: Int = BlobPlacement.copiesDefault
    ) {
        let placement = BlobPlacement(held.keys, copies: copies)
        let needed = min(copies, held.count)
        for digest in digests {
            let lacking = placement.ranking(of: digest).filter { held[$0]?.contains(digest) != true }
            let count = needed - (held.count - lacking.count)
            if count > 0 { targets[digest] = Array(lacking.prefix(count)) }
        }
    }

    /// Leaves out blobs that cannot be had.
    public mutating func leaveOut(_ digests: Set<Digest>) {
        for digest in digests { targets[digest] = nil }
    }

    /// The blobs that each controller shall get, in their order.
    public var byTarget: [String: [Digest]] {
        var blobs: [String: [Digest]] = [:]
        for (digest, names) in targets { for name in names { blobs[name, default: []].append(digest) } }
        return blobs.mapValues { $0.sorted() }
    }
}
