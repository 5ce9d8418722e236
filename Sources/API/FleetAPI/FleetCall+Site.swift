import APISupport
import AgentProtocol
import BareMetal
import CatalogBareMetal
import CatalogIdentity
import Fleet
import FleetContract
import Hummingbird
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel

extension SiteError: APIErrorConvertible {
    public var apiError: APIError { APIError(.unprocessableContent, "invalid_site", publicMessage) }
}

extension FleetCall {
    private static let siteBodySize = ByteCount.mebibytes(1)

    func validateSite() async throws -> Response {
        let problems = try await body(SiteDocument.self, limit: Self.siteBodySize).problems()
        guard problems.isEmpty else { throw SiteError(problems) }
        return .json(SitePlanReply(changes: [], isDryRun: true))
    }

    func applySite(_ note: inout AuditNote) async throws -> Response {
        let isDryRun = try flag("dryRun")
        let desired = try await body(SiteDocument.self, limit: Self.siteBodySize)
        note.resource = Site.key(Site.name)
        try Self.checkAuthorities(of: desired)
        let plan = try SitePlan.make(
            desired: desired, current: try await currentSite(), now: services.clock.now,
            by: context.principal.description)
        note.summary = Self.summary(of: plan, isDryRun: isDryRun)
        guard !isDryRun else { return .json(SitePlanReply(changes: plan.changes, isDryRun: true)) }
        let vault = services.vault
        let transactions = try plan.transactions { name, purpose, password, old in
            try vault.sealed(name, purpose: purpose, SecretText(password.clearText), replacing: old)
        }
        var revision: Revision?
        do {
            for transaction in transactions { revision = try await services.store.commit(transaction) }
        } catch {
            guard case .conflict = error else { throw error }
            throw APIError.conflict("Somebody else changed the site at the same time; look at it and apply it again.")
        }
        if let revision { try await services.cache.wait(for: revision) }
        return .json(SitePlanReply(changes: plan.changes, isDryRun: false))
    }

    /// Throws `SiteError` for a certificate that cannot be that of an authority.
    private static func checkAuthorities(of desired: SiteDocument) throws(SiteError) {
        for (index, entry) in (desired.tpmAuthorities ?? []).enumerated() {
            guard let certificate = entry.certificate else { continue }
            do throws(EndorsementError) { _ = try EndorsementAuthority(certificatePEM: certificate) } catch {
                throw SiteError([
                    SiteProblem(path: "tpm.authorities[\(index)].certificateFile", message: error.why)
                ])
            }
        }
    }

    private static func summary(of plan: SitePlan, isDryRun: Bool) -> String {
        let changes = plan.changes.map { "\($0.action.rawValue) \($0.kind) \($0.name)" }.joined(separator: ", ")
        return (isDryRun ? "dry run: " : "") + (changes.isEmpty ? "nothing to change" : changes)
    }

    /// What the store itself holds now: a plan is made of that, never of a copy that may lag.
    func currentSite() async throws -> CurrentSite {
        let store = services.store
        var current = CurrentSite(
            site: try await store.fetch(Site.self, Site.name), segments: try await store.fetchAll(Segment.self),
            bmcs: try await store.fetchAll(BMC.self), rules: try await store.fetchAll(Rule.self))
        current.skus = try await store.fetchAll(SKU.self)
        current.tpmAuthorities = try await store.fetchAll(TPMAuthority.self)
        current.networks = try await store.fetchAll(PlaneNetwork.self)
        current.nodeNetworks = try await store.fetchAll(NodeNetwork.self)
        for secret in try await store.fetchAll(Secret.self) {
            let name = secret.value.metadata.name
            guard PasswordSlot.parse(name) != nil else { continue }
            current.secrets[name] = secret
            do { current.passwords[name] = Password(try await services.vault.open(name).revealed) } catch {
                // One that does not open is written anew.
                guard case .store = error else { continue }
                throw error
            }
        }
        for node in services.cache.all(Node.self) {
            if let bmc = node.spec.bmc { current.bmcUsers[bmc, default: []].append(node.spec.name) }
            if let network = node.spec.network {
                current.nodeNetworkUsers[network, default: []].append(node.spec.name)
            }
        }
        return current
    }

    // MARK: BMCs

    func listBMCs() async throws -> Response {
        let nodes = services.cache.all(Node.self)
        let records = services.cache.all(BMC.self).map { bmc in
            let name = bmc.metadata.name
            return BMCRecord(
                bmc,
                nodes: nodes.filter { ($0.spec.bmc ?? $0.status.identity.bmc) == name }.map(\.spec.name).sorted())
        }
        return .json(RecordList(items: records))
    }

    /// One BMC with its sensors' newest readings.
    func showBMC() async throws -> Response {
        let name = try parameter("bmc")
        guard let bmc = services.cache.all(BMC.self).first(where: { $0.metadata.name == name }) else {
            throw APIError.notFound(
                "There is no BMC '\(name.printable(limit: 80))'; 'muster bmc list' shows those there are.")
        }
        let nodes = services.cache.all(Node.self).filter { ($0.spec.bmc ?? $0.status.identity.bmc) == name }
        let report = services.live.sensors(name)
        return .json(
            BMCDetail(
                bmc: BMCRecord(bmc, nodes: nodes.map(\.spec.name).sorted()),
                time: services.clock.now, sensors: report?.readings ?? [], sensorsRead: report?.at))
    }

    /// A machine that is a node gets the order as its own, so that its life takes account of it.
    func powerBMC(_ note: inout AuditNote) async throws -> Response {
        let command = try await body(PowerCommand.self)
        let name = try parameter("bmc")
        let owner = services.cache.all(Node.self).first {
            ($0.spec.bmc ?? $0.status.identity.bmc) == name
        }
        if let owner {
            throw APIError.conflict(
                "The BMC '\(name)' belongs to the node '\(owner.spec.name)'; say 'muster node power "
                    + "\(owner.spec.name) \(command.action.rawValue)'.")
        }
        var documents: (before: [UInt8], after: [UInt8]) = ([], [])
        let revision = try await services.store.update(BMC.self, name) { stored in
            guard var stored else {
                throw APIError.notFound(
                    "There is no BMC '\(name.printable(limit: 80))'; 'muster bmc list' shows those "
                        + "there are.")
            }
            documents.before = try stored.encoded()
            let last = max(stored.value.spec.power?.number ?? 0, stored.value.status.powerSeen ?? 0)
            stored.value.spec.power = Node.PowerRequest(number: last + 1, action: command.action)
            stored.value.metadata.generation = stored.value.metadata.generation.next
            documents.after = try stored.encoded()
            return stored
        }
        (note.before, note.after) = (documents.before, documents.after)
        if let revision { try await services.cache.wait(for: revision) }
        guard let bmc = try await services.store.fetch(BMC.self, name)?.value else {
            throw APIError.notFound("The BMC '\(name)' is gone.")
        }
        return .json(BMCRecord(bmc, nodes: []))
    }

    /// Trusts the certificate that a BMC shows: what the caller has compared, and what it showed last, must be one.
    func approveBMC(_ note: inout AuditNote) async throws -> Response {
        let request = try await body(ApproveBMCRequest.self)
        let name = try parameter("bmc")
        let by = context.principal.description
        let now = services.clock.now
        var documents: (before: [UInt8], after: [UInt8]) = ([], [])
        let revision = try await services.store.update(BMC.self, name) { stored in
            guard var stored else {
                throw APIError.notFound(
                    "There is no BMC '\(name.printable(limit: 80))'; 'muster bmc list' shows those there are.")
            }
            documents.before = try stored.encoded()
            guard stored.value.spec.approvedCertificate?.digest != request.fingerprint else { return nil }
            try Self.requireApprovable(stored.value, request.fingerprint)
            stored.value.spec.approvedCertificate = BMC.ApprovedCertificate(
                digest: request.fingerprint, by: by, at: now)
            stored.value.metadata.generation = stored.value.metadata.generation.next
            documents.after = try stored.encoded()
            return stored
        }
        note.summary = "certificate \(request.fingerprint.hex)"
        if let revision {
            (note.before, note.after) = (documents.before, documents.after)
            try await services.cache.wait(for: revision)
        }
        guard let bmc = try await services.store.fetch(BMC.self, name)?.value else {
            throw APIError.notFound("The BMC '\(name)' is gone.")
        }
        return .json(BMCRecord(bmc, nodes: []))
    }

    private static func requireApprovable(_ bmc: BMC, _ fingerprint: Digest) throws {
        let name = bmc.metadata.name
        guard bmc.spec.address.hasPrefix("https://") else {
            throw APIError.conflict("'\(name)' is reached by \(bmc.spec.address), which has no certificate.")
        }
        guard bmc.spec.certificateDigest == nil else {
            throw APIError.conflict(
                "The site file names the certificate of '\(name)'; change 'certificateDigest' there and apply it.")
        }
        guard let shown = bmc.status.refusedCertificate?.digest else {
            throw APIError.conflict(
                bmc.status.isReachable
                    ? "The certificate that '\(name)' shows is trusted already."
                    : "'\(name)' has shown no certificate yet; 'muster bmc show \(name)' tells why.")
        }
        guard shown == fingerprint else {
            throw APIError.conflict(
                "'\(name)' shows another certificate, \(shown.hex). If you have compared that one, approve it instead.")
        }
    }

    // MARK: Lists

    func listSegments() async throws -> Response {
        let segments = services.cache.all(Segment.self).sorted { $0.metadata.name < $1.metadata.name }
        return .json(
            RecordList(
                items: segments.map { SegmentRecord(name: $0.metadata.name, spec: $0.spec, status: $0.status) }))
    }

    /// The newest events of a segment first; their keys begin with its name and go on with the time.
    func segmentEvents() async throws -> Response {
        let name = try parameter("segment")
        guard services.cache.get(Segment.self, name) != nil else {
            throw APIError.notFound(
                "There is no segment '\(name.printable(limit: 80))'; 'muster segment list' shows those there are.")
        }
        let limit = try number("limit", in: 1...FleetLimit.pageCount, otherwise: 100)
        let events = try await services.store.fetchAll(SegmentEvent.self).map(\.value)
            .filter { $0.spec.segment == name }.sorted { $0.metadata.name > $1.metadata.name }
        return .json(
            RecordList(
                items: events.prefix(limit).map {
                    SegmentEventRecord(
                        key: $0.metadata.name, time: $0.spec.time, type: $0.spec.type, message: $0.spec.message)
                }))
    }

    func listRules() async throws -> Response {
        let rules = services.cache.all(Rule.self).sorted {
            ($0.spec.order, $0.metadata.name) < ($1.spec.order, $1.metadata.name)
        }
        return .json(RecordList(items: rules.map { SiteDocument.RuleEntry(name: $0.metadata.name, spec: $0.spec) }))
    }

    func listLeases() async throws -> Response {
        let nodes = services.cache.all(Node.self)
        let leases = services.cache.all(Lease.self)
        let records = leases.map { lease in
            LeaseRecord(
                segment: lease.spec.segment, address: lease.spec.address, mac: lease.spec.mac,
                phase: lease.status.phase, expires: lease.status.expires, hostname: lease.status.hostname,
                node: nodes.first { $0.status.identity.macs.contains(lease.spec.mac) }?.spec.name)
        }
        return .json(RecordList(items: records.sorted { ($0.segment, $0.address) < ($1.segment, $1.address) }))
    }

    func listConflicts() async throws -> Response {
        let names = nodeNames()
        let records = services.cache.all(IdentityConflict.self).map { conflict in
            ConflictRecord(
                name: conflict.metadata.name, spec: conflict.spec, status: conflict.status,
                nodeNames: conflict.spec.nodes.map { names[$0] ?? $0.raw })
        }
        return .json(RecordList(items: records))
    }

    /// Events in the order of time, from `since` (milliseconds since 1970) or after `marker`.
    func listAudit() async throws -> Response {
        let limit = try number("limit", in: 1...FleetLimit.pageCount, otherwise: 100)
        let since = try query("since").map { text in
            guard let time = Int64(text), time >= 0 else {
                throw InvalidValue("since", text, expected: "milliseconds since 1970")
            }
            return Timestamp(millisecondsSinceEpoch: time)
        }
        let (events, hasMore) = try await services.audit.events(since: since, after: query("marker"), limit: limit)
        let records = events.map { event in
            let (outcome, message): (String, String?) =
                switch event.spec.outcome {
                case .ok: ("ok", nil)
                case .denied: ("denied", nil)
                case .failed(let message): ("failed", message)
                }
            return AuditRecord(
                key: event.metadata.name, time: event.metadata.created, who: event.spec.who, from: event.spec.from,
                requestID: event.spec.requestID, verb: event.spec.verb, resource: event.spec.resource.description,
                outcome: outcome, message: message, summary: event.spec.summary)
        }
        return .json(RecordList(items: records, next: hasMore ? records.last?.key : nil))
    }
}
