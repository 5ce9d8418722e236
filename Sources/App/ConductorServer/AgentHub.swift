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
    let authority: CertificateAuthority
    let audit: AuditLog
    let clock: any WallClock
    /// The port of this conductor's API.
    let apiPort: Int
    /// This run of the conductor; see `Node.Stream`.
    let conductor: String
    let logger: Logger
    /// The newest session of each node, so that the end of an older one says nothing.
    let newest = NewestSessions()
    let counters = StreamCounters()

    func agentConnected(_ session: AgentSession, hello: AgentHello) async {
        counters.countOpened()
        newest.open(session.node, session.id)
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
        if hello.viewRevision > ground.now.revision { await noteAhead(session, hello.viewRevision, ground.now.revision) }
        feed.open(session, hello: hello, view: view(of: node, on: ground))
        // What changed while the session was not there to be told.
        let later = board.ground
        if later.now.revision > ground.now.revision {
            publish(ViewBoard.News(ground: later, nodes: .some([node.metadata.name])))
        }
        await pass(.agentConnected(hello, stream(session)), session)
    }

    func agentSent(_ message: AgentMessage, from session: AgentSession) async {
        counters.count(message)
        switch message {
        case .hello:
            break
        case .status(let report):
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
            logger.error("\(session): \(error)")
        }
    }

    private func renew(_ request: String, _ session: AgentSession) async {
        do {
            let issued = try authority.issueNode(session.node, signingRequestPEM: request)
            try await audit.record(.machine(session.node, verb: "renew", "certificate \(issued.serial)"))
            try session.send(
                .certificate(EnrolmentReply(certificateChain: issued.certificatePEM, notAfter: issued.notAfter)))
        } catch {
            logger.warning("\(session): its certificate was not renewed: \(error)")
        }
    }

    /// The view that one ground gives, with the revision of just that one.
    private func view(of node: Node, on ground: ViewGround) -> NodeView {
        let server = node.spec.role == .controller ? LiveCatalog.serverAddress(for: node, in: ground.now) : nil
        return NodeViewProjection.view(
            of: node, site: ground.now.get(Site.self, Site.name)?.spec, networks: ground.networks, ends: ground.ends,
            conductors: server.map { ["\($0):\(apiPort)"] } ?? [], revision: ground.now.revision)
    }

    /// Publishes the views that changes of the catalog concern, and ends streams of nodes that are gone, until cancelled.
    func run() async throws {
        for await _ in board.news().cancelOnGracefulShutdown() { publish(board.advance()) }
    }

    private func publish(_ news: ViewBoard.News) {
        let now = news.ground.now
        var views: [(NodeID, NodeView)] = []
        for id in newest.nodes(among: news.nodes) {
            if let node = now.get(Node.self, id.raw) {
                guard news.nodes.concerns(node) else { continue }
                views.append((id, view(of: node, on: news.ground)))
            } else if now.undecodable[Node.key(id.raw)] == nil {
                feed.dismiss(id, "this node is not in the inventory any more", retryAfterSeconds: 300)
            }
        }
        feed.publish(views)
    }
}
