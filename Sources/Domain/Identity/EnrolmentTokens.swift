import AgentProtocol
import CatalogIdentity
import Crypto
import Primitives
import ResourceModel

/// Makes and redeems the one-time tokens with which installed agents ask for their first certificate.
///
/// A token is `<node>.<64 hexadecimal digits>` with 256 random bits. Only its digest is stored, under the node's
/// name, so a node has at most one.
public struct EnrolmentTokens: Sendable {
    /// How long a token is good for.
    public static let lifetime: Duration = .seconds(60 * 60)

    private let store: any ResourceStore
    private let random: RandomBytes

    /// Tokens kept in `store`.
    public init(store: any ResourceStore, random: RandomBytes = .system) {
        self.store = store
        self.random = random
    }

    /// Makes the node's token; an older one of the node is void from now on. `operations` are committed together with
    /// it.
    public func make(
        for node: NodeID, generation: Generation, now: Timestamp, lifetime: Duration = Self.lifetime,
        with operations: [Transaction.Operation] = []
    ) async throws(StoreError) -> SecretText {
        let text = "\(node.raw).\(Hex.encode(random(32)))"
        let spec = EnrolmentTokenSpec(
            node: node, hash: TokenHash.of(text), expires: now.advanced(by: lifetime), generation: generation)
        for _ in 0..<16 {
            let current = try await store.fetch(EnrolmentToken.self, node.raw)
            var next = current ?? Stored(new: EnrolmentToken(created: now, spec: spec))
            if current != nil {
                next.value.spec = spec
                next.value.status = EnrolmentTokenStatus()
                next.value.metadata.generation = next.value.metadata.generation.next
            }
            do {
                _ = try await store.commit(
                    Transaction(conditions: [next.unchanged], operations: [next.put()] + operations))
                return SecretText(text)
            } catch {
                guard case .conflict = error else { throw error }
            }
        }
        throw .conflict(EnrolmentToken.key(node.raw))
    }

    /// Uses `token` up for `node` and returns the generation it was made for.
    ///
    /// Of any number of callers at once exactly one succeeds. `publicKey` is the digest of the key to be certified:
    /// the same request may come again (its answer was lost), a request for another key may not.
    /// Throws `EnrolmentError`.
    public func redeem(
        _ token: String, by node: NodeID, publicKey: Primitives.Digest? = nil, now: Timestamp
    ) async throws(EnrolmentError) -> Generation {
        guard token.utf8.count <= 200, let dot = token.lastIndex(of: "."),
            let owner = try? NodeID(String(token[..<dot]))
        else { throw .unknown }
        let hash = TokenHash.of(token)
        for _ in 0..<16 {
            let fetched: Stored<EnrolmentToken>?
            do { fetched = try await store.fetch(EnrolmentToken.self, owner.raw) } catch { throw .store(error) }
            guard var stored = fetched, ConstantTime.equal(stored.value.spec.hash.bytes, hash.bytes) else {
                throw .unknown
            }
            let spec = stored.value.spec
            guard spec.node == node else { throw .wrongNode }
            if let used = stored.value.status.used {
                guard let publicKey, stored.value.status.usedFor == publicKey, now < spec.expires else {
                    throw .alreadyUsed(at: used)
                }
                return spec.generation
            }
            guard now < spec.expires else { throw .expired(at: spec.expires) }
            stored.value.status.used = now
            stored.value.status.usedFor = publicKey
            do {
                _ = try await store.commit(Transaction(conditions: [stored.unchanged], operations: [stored.put()]))
                return spec.generation
            } catch {
                guard case .conflict = error else { throw .store(error) }
            }
        }
        throw .store(.conflict(EnrolmentToken.key(owner.raw)))
    }

    /// Makes the node's token void; nothing happens when it has none.
    public func revoke(_ node: NodeID) async throws(StoreError) {
        _ = try await store.commit(Transaction(operations: [.delete(EnrolmentToken.key(node.raw))]))
    }
}

/// Why a node is not enrolled.
public enum EnrolmentError: UserFacingError, Hashable {
    /// Nobody made this token, or a newer one has replaced it.
    case unknown
    /// Its time is over.
    case expired(at: Timestamp)
    /// It was used before, for another key.
    case alreadyUsed(at: Timestamp)
    /// It was made for another node.
    case wrongNode
    /// The store failed; the token is not used up.
    case store(StoreError)

    public var publicMessage: String {
        switch self {
        case .unknown:
            "The enrolment token is not known or a newer one has replaced it. Deploy the node again."
        case .expired(let time):
            "The enrolment token ended at \(time). Deploy the node again to give it a new one."
        case .alreadyUsed(let time):
            "The enrolment token was used at \(time) already. If that was not this node, somebody has copied its disk: "
                + "look at the node's events, then deploy it again."
        case .wrongNode:
            "The enrolment token belongs to another node. Deploy this node again; do not copy disks between nodes."
        case .store(let error): error.publicMessage
        }
    }
}

/// How tokens are stored.
public enum TokenHash {
    /// SHA-256 of the token's UTF-8 bytes. Tokens have 256 random bits, so no slow hash is needed.
    public static func of(_ token: String) -> Primitives.Digest {
        Primitives.Digest(bytes: Array(SHA256.hash(data: Array(token.utf8))))
    }
}
