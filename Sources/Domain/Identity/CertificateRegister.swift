import AgentProtocol
import CatalogIdentity
import Primitives
import ResourceModel

/// The only writer of `NodeCertificates`: notes each certificate before it is handed out, and revokes.
public struct CertificateRegister: Sendable {
    private let store: any ResourceStore
    private let clock: any WallClock

    /// A register in `store`.
    public init(store: any ResourceStore, clock: any WallClock = SystemWallClock()) {
        self.store = store
        self.clock = clock
    }

    /// Notes a certificate that is about to be handed to `node`; do so before the node can get it.
    ///
    /// `presented` is the serial number of the certificate by which the node asks for it, nil when it asks by a token.
    /// Throws `CertificateRefusal` when that was revoked, no deployment is awaited any more, or the node has `NodeCertificates.issuedCountMax` that are
    /// good, and `StoreError`.
    public func note(
        _ issued: IssuedNode, of authority: Digest, for node: NodeID, presented: String? = nil
    ) async throws {
        let now = clock.now
        try await change(node) { certificates throws(CertificateRefusal) in
            let isAwaited = certificates.status.enrolsUntil.map { now < $0 } ?? !certificates.spec.refusesUnlisted
            guard presented.map(certificates.accepts) ?? isAwaited else { throw .revoked }
            guard certificates.status.issued.count < NodeCertificates.issuedCountMax else { throw .tooMany }
            certificates.add(
                NodeCertificates.Issued(
                    serial: issued.serial, authority: authority, at: now, notAfter: issued.notAfter))
        }
    }

    /// Notes by which certificate a node has come, and what it has told to trust (nil: nothing was told); writes only
    /// what is new. A certificate of the time before they were listed is listed now, unless it is refused.
    public func noteHeld(
        _ held: NodeCertificates.Issued, by node: NodeID, known: NodeCertificates?, trusted: [Digest]? = nil
    ) async throws {
        if let known, known.status.held == held.serial, trusted == nil || known.status.trusted == trusted,
            known.status.issued.contains(where: { $0.serial == held.serial })
        {
            return
        }
        try await change(node) { certificates throws(CertificateRefusal) in
            guard certificates.accepts(held.serial) else { throw .revoked }
            certificates.add(held)
            certificates.status.held = held.serial
            if let trusted { certificates.status.trusted = trusted }
        }
    }

    /// Revokes all certificates that `node` has, and those that nobody has listed; returns how many were listed.
    ///
    /// `beside` is committed in the same transaction. Throws `StoreError`.
    @discardableResult
    public func revokeAll(
        of node: NodeID, by: String, reason: String, beside: [Transaction.Operation] = []
    ) async throws -> (count: Int, revision: Revision?) {
        let now = clock.now
        var count = 0
        let revision = try await change(node, beside: beside) { certificates in
            count = certificates.revokeAll(at: now, by: by, reason: reason)
        }
        return (count, revision)
    }

    /// Revokes all certificates that `node` has, as its disk is written anew with the authorities `trusted`; its agent
    /// may ask for a first one until `end`. Throws `StoreError`.
    public func beginDeployment(of node: NodeID, trusting trusted: [Digest], until end: Timestamp) async throws {
        let now = clock.now
        try await change(node) { certificates in
            certificates.revokeAll(at: now, by: "conductor", reason: "the node is deployed anew")
            certificates.status.trusted = trusted
            certificates.status.enrolsUntil = end
        }
    }

    /// Takes out what has ended, and lists of nodes that are gone once nothing is in them; `exists` tells whether a
    /// node is in the inventory.
    public func prune(exists: (NodeID) -> Bool) async throws {
        let now = clock.now
        for stored in try await store.fetchAll(NodeCertificates.self) {
            guard let node = try? NodeID(stored.value.metadata.name) else { continue }
            var next = stored
            next.value.prune(at: now)
            let isEmpty = next.value.spec.revoked.isEmpty && next.value.status.issued.isEmpty
            let operation: Transaction.Operation
            if isEmpty, !exists(node) {
                operation = .delete(stored.value.key)
            } else if next.value != stored.value {
                operation = try next.put()
            } else {
                continue
            }
            do {
                _ = try await store.commit(Transaction(conditions: [stored.unchanged], operations: [operation]))
            } catch {
                // Somebody else has written it: it is looked at again the next time.
                guard case .conflict = error else { throw error }
            }
        }
    }

    @discardableResult
    private func change<Failure: Error>(
        _ node: NodeID, beside: [Transaction.Operation] = [],
        _ body: (inout NodeCertificates) throws(Failure) -> Void
    ) async throws -> Revision? {
        let now = clock.now
        for attempt in 0..<StoreContention.attemptCountMax {
            var stored =
                try await store.fetch(NodeCertificates.self, node.raw)
                ?? Stored(new: NodeCertificates(node: node.raw, created: now))
            let before = stored.value
            stored.value.prune(at: now)
            try body(&stored.value)
            guard stored.value != before || !beside.isEmpty else { return nil }
            if stored.value.spec != before.spec {
                stored.value.metadata.generation = stored.value.metadata.generation.next
            }
            do {
                return try await store.commit(
                    Transaction(conditions: [stored.unchanged], operations: [stored.put()] + beside))
            } catch {
                guard case .conflict = error else { throw error }
            }
            await StoreContention.giveWay(after: attempt)
        }
        throw StoreError.conflict(NodeCertificates.key(node.raw))
    }
}

/// Why a node is given no certificate.
public enum CertificateRefusal: UserFacingError, Hashable {
    /// The one by which it asks was revoked.
    case revoked
    /// It has `NodeCertificates.issuedCountMax` that are good.
    case tooMany

    public var publicMessage: String {
        switch self {
        case .revoked:
            "This node's certificate was revoked. Deploy the node again."
        case .tooMany:
            "This node has \(NodeCertificates.issuedCountMax) certificates that are good; it gets another when one has "
                + "ended. Look at what asks for them: muster node logs."
        }
    }
}
