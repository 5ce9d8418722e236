import AgentPort
import AgentProtocol
import BareMetal
import CatalogBareMetal
import CatalogIdentity
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import ServiceLifecycle
import WebSocketMessages

/// Brings agents' streams and the catalog together: greets agents with their view, sends what changes in it, and
/// passes on what they tell.
struct AgentHub: AgentPortDelegate, Service {
    let catalog: LiveCatalog
    let controller: NodeController
    let feed: AgentViewFeed
    let metrics: NodeMetrics
    let logs: NodeLogs
    let board: ViewBoard
    let authorities: SiteAuthorities
    let register: CertificateRegister
    let audit: AuditLog
    let secrets: ControllerSecretsDesk
    let clock: any WallClock
    /// The port of this conductor's API.
    let apiPort: Int
    /// This run of the conductor; see `Node.Stream`.
    let conductor: String
    let logger: Logger
    /// How far the store had come when this run began; nil: how far it has come when a node arrives.
    var startedAt: Revision?
    /// The newest session of each node, so that the end of an older one says nothing.
    let newest = NewestSessions()
    let counters = StreamCounters()
    let ledger = StreamLedger()

    /// How long an agent waits that has come to a conductor without its store: where all are so it would come and go.
    private static let cutOffPause = 30

    func agentConnected(_ session: AgentSession, hello: AgentHello) async {
        counters.countOpened()
        newest.open(session.node, session.id, hello)
        guard !ledger.isCutOff else { return session.goodbye(Self.cutOff, retryAfterSeconds: Self.cutOffPause) }
        // Agents come back within milliseconds of a restart; the nodes must have been read by then.
        do { try await catalog.cache.barrier() } catch {
            session.goodbye("the conductor is starting", retryAfterSeconds: 5)
            return
        }
        guard newest.isNewest(session.node, session.id) else { return }
        publish(board.advance())
        let ground = board.ground
        guard let node = ground.now.get(Node.self, session.node.raw) else {
            session.goodbye("this node is not in the inventory any more", retryAfterSeconds: 300)
            return
        }
        guard accepts(session, in: ground.now) else { return session.goodbye(Self.revoked, retryAfterSeconds: 300) }
        // The view with which a node comes first was made by a run before this one.
        let reached = newest.greet(session.node) ? startedAt ?? ground.now.revision : ground.now.revision
        if hello.viewRevision > reached { await noteAhead(session, hello.viewRevision, reached) }
        await noteCertificate(of: session, in: ground.now)
        feed.open(session, hello: hello, view: view(of: node, on: ground))
        // What changed while the session was not there to be told.
        let later = board.ground
        if later.now.revision > ground.now.revision {
            publish(ViewBoard.News(ground: later, nodes: .some([node.metadata.name])))
        }
        endRefused(session.node, in: catalog.cache.snapshot())
        await pass(.agentConnected(hello, stream(session)), session)
    }

    private static let revoked = "this node's certificate was revoked: deploy the node again"

    private func accepts(_ session: AgentSession, in now: CacheSnapshot) -> Bool {
        let certificates = now.get(NodeCertificates.self, session.node.raw)
        return certificates?.accepts(session.certificate.serial) ?? true
    }

    /// Notes by which certificate a node has come; `told` is what it says itself of what it keeps on its disk.
    private func noteCertificate(
        of session: AgentSession, in now: CacheSnapshot, told: NodeStatusReport.Trust? = nil
    ) async {
        let known = now.get(NodeCertificates.self, session.node.raw)
        let own = session.certificate
        // A node may hold a newer one than its stream was opened by, and none that nobody gave it.
        let held =
            known?.status.issued.first { $0.serial == told?.certificate }
            ?? NodeCertificates.Issued(
                serial: own.serial,
                authority: authorities.now.authority(withKey: own.authorityKey)
                    ?? authorities.now.issuing.fingerprint, at: own.notBefore, notAfter: own.notAfter)
        do {
            try await register.noteHeld(
                held, by: session.node, known: known,
                trusted: told.map { Array($0.authorities.prefix(TrustItem.authorityCountMax)) })
        } catch {
            logger.log(level: error.logLevel(.warning), "\(session): its certificate was not noted: \(error)")
        }
    }

    /// Ends the streams of nodes that are not to have one any more.
    func endRefused() {
        let now = catalog.cache.snapshot()
        for id in newest.nodes(among: .all) { endRefused(id, in: now) }
    }

    /// Ends the stream of a node that is gone, or whose certificate was revoked or is an authority's no more.
    private func endRefused(_ id: NodeID, in now: CacheSnapshot) {
        guard let certificate = feed.certificate(of: id) else { return }
        if now.get(Node.self, id.raw) == nil, now.undecodable[Node.key(id.raw)] == nil {
            feed.dismiss(id, "this node is not in the inventory any more", retryAfterSeconds: 300)
        } else if now.get(NodeCertificates.self, id.raw)?.accepts(certificate.serial) == false {
            feed.dismiss(id, Self.revoked, retryAfterSeconds: 300)
        } else if let key = certificate.authorityKey, authorities.now.authority(withKey: key) == nil {
            feed.dismiss(id, "the authority of this node's certificate is not trusted any more", retryAfterSeconds: 1)
        }
    }

    func agentSent(_ message: AgentMessage, from session: AgentSession) async {
        counters.count(message)
        switch message {
        case .hello:
            break
        case .status(let report):
            newest.note(session.node, session.id, seen: report.observedRevision)
            if let trust = report.trust {
                await noteCertificate(of: session, in: catalog.cache.snapshot(), told: trust)
            }
            await pass(.agentReported(report), session)
        case .metrics(let report):
            let roundTrip = await session.roundTrip()
            if let news = metrics.take(report, from: session.node, roundTrip: roundTrip, at: clock.now) {
                await pass(.clockRead(news.offset), session)
            }
        case .logs(let batch):
            do { try logs.append(batch, for: session.node) } catch { logger.warning("\(session): \(error)") }
        case .renew(let request):
            await renew(request, session)
        case .secrets(let request):
            await handOver(request, session)
        }
    }

    func agentDisconnected(_ session: AgentSession, reason: WebSocketEnd) async {
        feed.close(session)
        counters.countEnded()
        guard newest.close(session.node, session.id) else { return }
        logger.info("\(session) ended: \(reason)")
        await pass(.agentDisconnected(stream(session)), session)
    }

    /// A node has a view that this store has not made yet: the store is an older copy of the one that did, together
    /// with its mark. One word of it is enough for the audit log, as one such node is for an alert.
    private func noteAhead(_ session: AgentSession, _ seen: Revision, _ newest: Revision) async {
        let text =
            "its view is of revision \(seen) and the store is at \(newest): the store is an older copy; put the newest "
            + "back, or start the conductor once with --accept-older-store"
        logger.error("\(session): \(text)")
        guard counters.countAhead(session.node) else { return }
        do { try await audit.record(.machine(session.node, verb: "find an older store", text)) } catch {
            logger.error("audit event lost: \(error)")
        }
    }

    private func stream(_ session: AgentSession) -> Node.Stream {
        Node.Stream(conductor: conductor, number: session.id)
    }

    private func pass(_ input: NodeInput, _ session: AgentSession) async {
        do {
            try await controller.submit(input, to: session.node)
        } catch {
            switch input {
            case .agentConnected, .agentDisconnected:
                logger.log(level: error.logLevel(.warning), "\(session): its stream's change is told later: \(error)")
                ledger.add(session.node, session.id)
            default: logger.log(level: error.logLevel(.error), "\(session): \(error)")
            }
        }
    }

    private func renew(_ request: String, _ session: AgentSession) async {
        do {
            let authority = authorities.now.issuing
            let issued = try authority.issueNode(session.node, signingRequestPEM: request)
            try await register.note(
                issued, of: authority.fingerprint, for: session.node, presented: session.certificate.serial)
            try await audit.record(.machine(session.node, verb: "renew", "certificate \(issued.serial)"))
            // The agent may come with it at once, and the list of certificates is read from the cache.
            try await catalog.cache.barrier()
            try session.send(
                .certificate(EnrolmentReply(certificateChain: issued.certificatePEM, notAfter: issued.notAfter)))
        } catch {
            logger.log(level: error.logLevel(.warning), "\(session): its certificate was not renewed: \(error)")
        }
    }

    private func handOver(_ request: ControllerSecretsRequest, _ session: AgentSession) async {
        let reply = await secrets.reply(to: request, of: session.node, presented: session.certificate.serial)
        if case .refused(let why) = reply { logger.warning("\(session): it was given no secrets: \(why)") }
        do { try session.send(.secrets(reply)) } catch {
            logger.warning("\(session): the answer to its request for secrets was not sent: \(error)")
        }
    }

    /// The view that one ground gives, with the revision of just that one.
    private func view(of node: Node, on ground: ViewGround) -> NodeView {
        var conductors = ground.apis
        if conductors.isEmpty, node.spec.role == .controller {
            conductors = LiveCatalog.segment(of: node, in: ground.now).map { ["\($0.spec.server):\(apiPort)"] } ?? []
        }
        let plane = ground.now.get(ControlPlaneRecord.self, ControlPlaneRecord.name)
        return NodeViewProjection.view(
            of: node, site: ground.now.get(Site.self, Site.name)?.spec, networks: ground.networks, ends: ground.ends,
            conductors: conductors, trust: ground.trust, agentPorts: ground.agentPorts,
            controlPlane: plane,
            secrets: plane.flatMap { secrets.item(for: node, in: $0, segments: { ground.now.all(Segment.self) }) },
            revision: ground.now.revision)
    }

    /// Publishes the views that changes of the catalog concern, and ends streams of nodes that are gone, until cancelled.
    func run() async throws {
        for await _ in board.news().cancelOnGracefulShutdown() {
            let news = board.advance()
            publish(news)
            await reclaim(news)
        }
    }

    /// Says again that a node's stream is open here where the catalog has it as gone.
    ///
    /// A conductor that was paused tells late of streams that have ended meanwhile, after the agent has come to this one.
    private func reclaim(_ news: ViewBoard.News) async {
        for id in newest.nodes(among: news.nodes) {
            guard let agent = news.ground.now.get(Node.self, id.raw)?.status.agent, agent.connection == .gone,
                let (session, hello) = newest.newest(of: id),
                agent.stream?.conductor != conductor || agent.stream?.number == session
            else { continue }
            do {
                let stream = Node.Stream(conductor: conductor, number: session)
                try await controller.submit(.agentConnected(hello, stream), to: id)
            } catch {
                logger.log(level: error.logLevel(.error), "\(id): that its stream is open was not noted: \(error)")
            }
        }
    }

    private func publish(_ news: ViewBoard.News) {
        let now = news.ground.now
        var views: [(NodeID, NodeView)] = []
        for id in newest.nodes(among: news.nodes) {
            if let node = now.get(Node.self, id.raw) {
                guard news.nodes.concerns(node) else { continue }
                views.append((id, view(of: node, on: news.ground)))
            }
            endRefused(id, in: now)
        }
        feed.publish(views)
    }
}

extension TrustItem {
    /// What nodes are told of the site's authorities.
    init(_ authority: SiteAuthority) {
        self.init(
            authorities: authority.status.state.trusted.map(\.certificatePEM),
            hastensRenewal: authority.status.state.older != nil && authority.spec.rotation?.isHastened == true)
    }
}
