import APISupport
import AgentProtocol
import BareMetal
import CatalogBareMetal
import CatalogIdentity
import FleetContract
import Hummingbird
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel

/// Nodes' certificates and the authority that issues them.
extension FleetCall {
    // MARK: Revocation

    /// Revokes all certificates of a node, and the token of a deployment that has not asked for one yet; its stream ends
    /// at once, and no agent port takes it any more.
    func revokeCertificate(_ note: inout AuditNote) async throws -> Response {
        let request = try await body(RevokeRequest.self)
        let reason = request.reason ?? "no reason was given"
        guard reason.utf8.count <= RevokeRequest.reasonLengthMax, reason.hasOnlyPrintableScalars else {
            throw InvalidValue(
                "reason", reason, expected: "at most \(RevokeRequest.reasonLengthMax) bytes that can be printed")
        }
        let found = try node()
        let id = try found.id
        note.resource = NodeCertificates.key(id.raw)
        let by = context.principal.description
        let event = services.events.event(
            node: id, type: "CertificateRevoked", message: "by \(by): \(reason)", now: services.clock.now)
        let revoked = try await services.register.revokeAll(
            of: id, by: by, reason: reason,
            beside: [try Stored(new: event).put(), .delete(EnrolmentToken.key(id.raw))])
        note.summary = "\(revoked.count) certificates: \(reason)"
        if let revision = revoked.revision { try await services.cache.wait(for: revision) }
        guard let summary = summary(found) else { throw APIError.notFound("The node '\(found.spec.name)' is gone.") }
        let name = found.spec.name
        return .json(
            NodeOrderReply(
                node: summary,
                message:
                    "its certificates are accepted no more and its stream is ended; what runs on it goes on with its "
                    + "last view. The way back is a new deployment: muster node deploy \(name)",
                deployment: found.spec.deployment))
    }

    // MARK: The authority

    func showAuthority() async throws -> Response { .json(try authorityRecord(try authority())) }

    /// Begins a rotation, or hurries the one that is under way.
    func rotateAuthority(_ note: inout AuditNote) async throws -> Response {
        let request = try await body(RotateAuthorityRequest.self)
        let by = context.principal.description
        let now = services.clock.now
        note.resource = SiteAuthority.key(SiteAuthority.name)
        var documents: (before: [UInt8], after: [UInt8]) = ([], [])
        let revision = try await services.store.update(SiteAuthority.self, SiteAuthority.name) { stored in
            guard var stored else { throw APIError.notFound("This conductor has no authority yet; try again.") }
            documents.before = try stored.encoded()
            let spec = stored.value.spec
            try stored.value.order(request, by: by, at: now)
            guard stored.value.spec != spec else { return nil }
            stored.value.metadata.generation = stored.value.metadata.generation.next
            documents.after = try stored.encoded()
            return stored
        }
        if let revision {
            (note.before, note.after) = (documents.before, documents.after)
            try await services.cache.wait(for: revision)
        }
        return .json(try authorityRecord(try authority()))
    }

    private func authority() throws -> SiteAuthority {
        guard let authority = services.cache.get(SiteAuthority.self, SiteAuthority.name) else {
            throw APIError.notFound("This conductor has no authority yet; try again.")
        }
        return authority
    }

    private func authorityRecord(_ authority: SiteAuthority) throws -> AuthorityRecord {
        let state = authority.status.state
        let waiting = AuthorityMachine.waiting(for: state.nextStep, services.dependents(authority))
        let names = nodeNames()
        let rotation = authority.spec.rotation.flatMap { $0.number > 1 && state.isUnderWay(to: $0.number) ? $0 : nil }
        return AuthorityRecord(
            state: state.name, since: authority.status.since,
            authorities: state.trusted.map {
                AuthorityRecord.Authority(number: $0.number, fingerprint: $0.fingerprint, notAfter: $0.notAfter)
            },
            bundle: state.trusted.map(\.certificatePEM).joined(), orderedBy: rotation?.by,
            isHastened: rotation?.isHastened ?? false, next: state.next,
            waiting: waiting.map { $0.record(named: names[$0.node] ?? $0.node.raw) }.sorted { $0.node < $1.node },
            time: services.clock.now)
    }
}

extension SiteAuthority {
    /// Takes an order up; throws `APIError` when there is nothing that it could be about.
    fileprivate mutating func order(_ request: RotateAuthorityRequest, by: String, at now: Timestamp) throws {
        let (hastens, force) = (request.hastens ?? false, request.force ?? false)
        let newest = status.state.newest.number
        if status.state.older == nil, spec.rotation.map({ $0.number <= newest }) ?? true {
            guard !force else {
                throw APIError.conflict(
                    "No rotation is under way, so nothing waits; begin one with 'muster ca rotate'.")
            }
            spec.rotation = Rotation(number: newest + 1, by: by, at: now, isHastened: hastens)
            return
        }
        guard hastens || force else {
            throw APIError.conflict(
                "A rotation is under way already; 'muster ca show' tells what it waits for, --hasten hurries the nodes."
            )
        }
        if hastens { spec.rotation?.isHastened = true }
        if force {
            guard let step = status.state.nextStep else {
                throw APIError.conflict("The newer authority is about to be made; try again in a second.")
            }
            if spec.rotation?.forced.contains(step) == false { spec.rotation?.forced.append(step) }
        }
    }
}

extension SiteAuthority.State {
    fileprivate var name: String {
        switch self {
        case .steady: "steady"
        case .introducing: "introducing"
        case .replacing: "replacing"
        }
    }

    fileprivate func isUnderWay(to number: Int) -> Bool { older != nil || newest.number < number }

    fileprivate var next: String? {
        switch self {
        case .steady: nil
        case .introducing(let newer, _, _):
            "once all trust authority \(newer.number), the servers show certificates of it"
        case .replacing(_, let older):
            "once nobody holds a certificate of authority \(older.number), it is trusted no more and its key is deleted"
        }
    }
}

extension AuthorityDependents.Dependent {
    fileprivate func record(named name: String) -> AuthorityRecord.Dependent {
        let texts = reasons.sorted().map { reason in
            switch reason {
            case .trustsOlderOnly: "has not told that it trusts the newer authority"
            case .holdsOlderCertificate: "holds a certificate of the older authority"
            case .bootedBefore: "runs a ramdisk that was booted before"
            }
        }
        let consequence =
            reasons == [.bootedBefore]
            ? "its ramdisk cannot speak to the conductor until it is booted again"
            : "it is cut off until it is deployed again; what runs on it goes on"
        return AuthorityRecord.Dependent(node: name, reasons: texts, until: until, whenForced: consequence)
    }
}
