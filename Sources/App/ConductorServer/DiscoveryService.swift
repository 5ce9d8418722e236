import APISupport
import AgentProtocol
import BareMetal
import CatalogBareMetal
import CatalogIdentity
import Crypto
import FoundationEssentials
import Identity
import Logging
import NetworkUnits
import Primitives
import ReconcileRuntime
import ResourceModel
import SwiftASN1
import TPMVerification
import X509

/// What machines on a segment may ask for: to be registered, what to do, and a certificate.
struct DiscoveryService: Sendable {
    let catalog: LiveCatalog
    let store: any ResourceStore
    let registrar: Registrar
    let attestation: AttestationDesk
    let controller: NodeController
    let tokens: EnrolmentTokens
    let addresses: AddressController
    let audit: AuditLog
    let authorities: SiteAuthorities
    let register: CertificateRegister
    let readBlob: @Sendable (Primitives.Digest) async throws -> [UInt8]
    let logs: NodeLogs
    let progress: LiveProgress
    let refusals = RefusalLimiter<NodeID>()
    let ports: ConductorPorts
    let openSecret: @Sendable (String) async throws -> SecretText
    let clock: any WallClock
    let logger: Logger

    /// The longest that a request for orders is held open.
    static let waitSecondsMax = 30
    /// How long the first look for an order is put off, and the most; it doubles from look to look, as a machine that
    /// waits long is one of many.
    private static let lookPauses = (first: Duration.milliseconds(50), most: Duration.seconds(1))

    func register(_ post: InventoryPost) async throws -> InventoryReply {
        let reply = try await registrar.register(post)
        // A session that the machine's next request does not find would have it register anew.
        try await catalog.cache.barrier()
        progress.heard(reply.node, at: clock.now)
        return reply
    }

    /// What only the TPM of `offer` can answer. Throws `AttestationRefusal`.
    func challenge(_ offer: AttestationOffer) throws(AttestationRefusal) -> AttestationChallenge {
        try attestation.challenge(offer)
    }

    /// The node whose present session has this token.
    func node(session: String?) throws -> Node {
        guard let session, let node = registrar.node(withSession: session) else { throw DiscoveryRefusal.noSession }
        progress.heard(try node.id, at: clock.now)
        return node
    }

    /// The next order after number `after`; waits up to `wait` seconds for one.
    func order(session: String?, after: UInt64?, wait: Int) async throws -> DiscoveryOrder {
        var node = try node(session: session)
        let deadline = clock.now.advanced(by: .seconds(max(0, min(wait, Self.waitSecondsMax))))
        var pause = Self.lookPauses.first
        while true {
            let number = DiscoveryOrders.number(of: node)
            if number != after || clock.now >= deadline {
                let order = DiscoveryOrder(number: number, action: try await action(for: node, isNew: number != after))
                if try await mayBeGiven(order, to: node) { return order }
                try await catalog.cache.barrier()
            } else {
                try await Task.sleep(for: pause)
                pause = min(pause * 2, Self.lookPauses.most)
            }
            node = try self.node(session: session)
        }
    }

    /// Whether an order still stands when it is put together: in the commits that this takes, the session may have ended
    /// and the order been withdrawn. The store is asked, since the cache may be behind it.
    private func mayBeGiven(_ order: DiscoveryOrder, to node: Node) async throws -> Bool {
        switch order.action {
        case .wait, .standBy, .inspect: return true
        case .deploy, .clean, .rescue:
            guard let now = try await store.fetch(Node.self, node.metadata.name)?.value else { return false }
            return now.status.session?.tokenHash == node.status.session?.tokenHash
                && DiscoveryOrders.number(of: now) == order.number
        }
    }

    private func action(for node: Node, isNew: Bool) async throws -> DiscoveryOrder.Action {
        switch DiscoveryOrders.wanted(of: node) {
        case .wait(let reason): return .wait(reason: reason)
        case .standBy: return .standBy
        case .clean(let order):
            guard isNew else { return .wait(reason: "the order was given") }
            progress.begin(try node.id)
            // What is on its disks is given away with them.
            try await register.revokeAll(of: try node.id, by: "conductor", reason: "its disks are emptied")
            try await audit.record(
                .machine(
                    try node.id, verb: "order cleaning",
                    "\(order.method.rawValue): \(order.disks.map(\.description).joined(separator: "; "))"))
            return .clean(order)
        case .rescue:
            guard isNew else { return .wait(reason: "the order was given") }
            return .rescue(try await rescueOrder(for: node))
        case .deploy:
            // A machine that has the order already and asks for another gets no second token.
            guard isNew else { return .wait(reason: "the order was given") }
            return .deploy(try await deployOrder(for: node))
        }
    }

    /// The order with the password's hash, unless that was used or its time is over.
    private func rescueOrder(for node: Node) async throws -> RescueOrder {
        let id = try node.id
        guard let request = node.spec.rescue, let ends = request.passwordEnds, node.status.rescue?.loginAt == nil,
            ends > clock.now, node.status.rescued == request.number
        else { return RescueOrder(passwordHash: nil, seconds: 0) }
        let kept = try await openSecret(Node.RescueRequest.secretName(id)).revealed.split(separator: " ", maxSplits: 1)
        guard kept.count == 2, UInt64(kept[0]) == request.number else {
            return RescueOrder(passwordHash: nil, seconds: 0)
        }
        try await audit.record(.machine(id, verb: "order rescue", "for \(request.by), password until \(ends)"))
        return RescueOrder(
            passwordHash: String(kept[1]), seconds: Int(max(1, ends.since(clock.now).milliseconds / 1000)))
    }

    private func deployOrder(for node: Node) async throws -> DeployOrder {
        let id = try node.id
        guard let image = catalog.image(for: node) else {
            let message =
                "there is no image '\(node.spec.image ?? "for role \(node.spec.role?.rawValue ?? "?")")'; "
                + "push one with 'muster image push', then 'muster node deploy \(node.spec.name)'"
            try await controller.submit(.imageMissing(message), to: id)
            throw DiscoveryRefusal.noImage(message)
        }
        let network = try await network(for: node, id)
        let manifest = node.status.image ?? image.spec.manifest
        if node.status.image == nil { try await controller.submit(.imageChosen(manifest), to: id) }
        progress.begin(id)
        let generation = node.status.attempted
        let trust = authorities.now
        let now = clock.now
        try await register.beginDeployment(
            of: id, trusting: trust.state.trusted.map(\.fingerprint),
            until: now.advanced(by: EnrolmentTokens.lifetime))
        let event = try audit.operation(.machine(id, verb: "issue enrolment token", "for its deployment"))
        let token = try await tokens.make(for: id, generation: generation, now: now, with: [event])
        // What the machine asks for next is answered from the cache.
        try await catalog.cache.barrier()
        return DeployOrder(
            generation: generation, manifest: manifest, rootDisk: node.spec.rootDisk,
            stateFiles: try stateFiles(for: node, token: token, trust: trust, network: network))
    }

    /// The node's network with its addresses; ends the deployment when it cannot be put together.
    private func network(for node: Node, _ id: NodeID) async throws -> NodeNetworkItem? {
        try await addresses.settle(id)
        try await catalog.cache.barrier()
        do { return try catalog.networks(of: id).item(for: node) } catch {
            try await controller.submit(.imageMissing(error.publicMessage), to: id)
            throw DiscoveryRefusal.noNetwork(error)
        }
    }

    /// What the deployed system needs to find its conductor and be reached by its operators.
    private func stateFiles(
        for node: Node, token: SecretText, trust: AuthoritySet, network: NodeNetworkItem?
    ) throws -> [StateFile] {
        let server = catalog.serverAddress(for: node)
        // The one that the machine has booted from comes first, as it is known to be reached.
        let identity = AgentIdentityFile(
            node: try node.id, name: node.spec.name,
            provisioning: catalog.provisioningPorts(first: "\(server):\(ports.provisioning)"),
            conductors: catalog.agentPorts(first: "\(server):\(ports.agents)"), token: token.revealed)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        let keys = catalog.site()?.sshKeys ?? []
        var files = [
            StateFile(path: "muster/hostname", content: node.spec.name + "\n"),
            StateFile(
                path: "muster/agent.json",
                content: String(decoding: try encoder.encode(identity), as: UTF8.self) + "\n", mode: 0o600),
            StateFile(path: "muster/ca.pem", content: trust.bundlePEM),
            StateFile(path: "muster/authorized_keys", content: keys.map { $0 + "\n" }.joined(), mode: 0o600),
        ]
        // On trial: when the conductor is not reached over it, the node falls back to DHCP on every card.
        if let network {
            let units = UnitSet(network)
            files += units.files.sorted { $0.key < $1.key }.map { name, text in
                StateFile(path: "muster/network/\(name)", content: text)
            }
            let record = NetworkRecord(trial: NetworkRecord.Trial(units: units, seconds: network.confirmSeconds))
            files.append(
                StateFile(
                    path: NetworkRecord.path,
                    content: String(decoding: try encoder.encode(record), as: UTF8.self) + "\n"))
        }
        return files
    }

    /// The manifest that the machine was ordered to write, and no other.
    func manifest(session: String?, digest: Primitives.Digest) async throws -> [UInt8] {
        let node = try node(session: session)
        guard node.status.session?.isTrusted == true, node.status.image == digest else {
            throw DiscoveryRefusal.notOrdered
        }
        return try await readBlob(digest)
    }

    func report(session: String?, _ report: DiscoveryProgress) async throws {
        let node = try node(session: session)
        let id = try node.id
        if case .writing(let done, let total, let bytes) = report.stage {
            let now = clock.now
            // Percentages stay in memory; the store hears of them seldom, so that the deadline is kept alive.
            guard progress.shouldStore(id, Node.Progress(done: done, total: total, bytes: bytes), at: now) else {
                return
            }
        }
        if case .cleaning(_, let index, let count, let done, let total) = report.stage {
            let mebibytes = (done: Int(clamping: done >> 20), total: Int(clamping: total >> 20))
            let figures = Node.Progress(
                done: mebibytes.done + (index - 1) * mebibytes.total, total: mebibytes.total * count, bytes: 0)
            guard progress.shouldStore(id, figures, at: clock.now) else { return }
        }
        try await controller.submit(.progressed(order: report.order, report.stage), to: id)
        if case .login(let from) = report.stage {
            try await audit.record(.machine(id, verb: "log in to rescue", "from \(from.printable(limit: 80))"))
        }
    }

    func append(session: String?, _ batch: LogBatch) throws {
        let node = try node(session: session)
        try logs.append(batch, for: try node.id, isStranger: node.spec.approval == nil)
    }

    /// Redeems the one-time token and signs the agent's key.
    func enrol(_ request: EnrolmentRequest) async throws -> EnrolmentReply {
        let now = clock.now
        do {
            let key = try Self.keyDigest(ofSigningRequest: request.signingRequest)
            _ = try await tokens.redeem(request.token, by: request.node, publicKey: key, now: now)
            let authority = authorities.now.issuing
            let issued = try authority.issueNode(request.node, signingRequestPEM: request.signingRequest)
            try await register.note(issued, of: authority.fingerprint, for: request.node)
            try await controller.submit(.agentEnrolled, to: request.node)
            try await audit.record(.machine(request.node, verb: "enrol", "certificate \(issued.serial)"))
            // The agent comes with it at once, and the list of certificates is read from the cache.
            try await catalog.cache.barrier()
            return EnrolmentReply(certificateChain: issued.certificatePEM, notAfter: issued.notAfter)
        } catch {
            let text = (error as? any UserFacingError)?.publicMessage ?? "the signing request cannot be read"
            logger.warning("enrolment of \(request.node) refused: \(text)")
            // Anybody may ask: only what concerns a node is kept, and not more often than somebody would read it.
            if catalog.node(request.node) != nil, refusals.mayRecord(request.node, at: now) {
                try await audit.record(.machine(request.node, verb: "enrol", text, outcome: .denied))
            }
            throw error
        }
    }
}

extension DiscoveryService {
    /// SHA-256 of the public key of a signing request in PEM; throws `DiscoveryRefusal.badSigningRequest`.
    private static func keyDigest(ofSigningRequest pem: String) throws(DiscoveryRefusal) -> Primitives.Digest {
        do {
            guard pem.utf8.count <= CertificateAuthority.signingRequestSizeMax else {
                throw DiscoveryRefusal.badSigningRequest
            }
            let request = try CertificateSigningRequest(pemEncoded: pem)
            return Primitives.Digest(
                bytes: Array(SHA256.hash(data: Data(request.publicKey.subjectPublicKeyInfoBytes))))
        } catch {
            throw .badSigningRequest
        }
    }
}

/// Why the provisioning port refuses a machine.
enum DiscoveryRefusal: UserFacingError, Hashable {
    case noSession
    case notOrdered
    case noImage(String)
    case noNetwork(UnresolvedNetwork)
    case badSigningRequest

    var publicMessage: String {
        switch self {
        case .noSession: "The session is not known or over; post the inventory again."
        case .notOrdered: "This machine was not ordered to write that image."
        case .noImage(let message): message
        case .noNetwork(let error): error.publicMessage
        case .badSigningRequest:
            "The signing request cannot be read; send a PKCS #10 request with a P-256 or P-384 key in PEM."
        }
    }
}

extension AuditEventSpec {
    /// What a machine was given or refused.
    static func machine(
        _ node: NodeID, verb: String, _ summary: String, outcome: AuditOutcome = .ok
    ) -> AuditEventSpec {
        AuditEventSpec(
            who: "node:\(node)", verb: verb, resource: Node.key(node.raw), outcome: outcome, summary: summary)
    }
}
