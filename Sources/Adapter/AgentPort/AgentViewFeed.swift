import AgentProtocol
import Logging
import NIOCore
import Primitives
import Synchronization

/// Brings views to agents: the whole one when an agent has another revision, differences from then on.
///
/// Keeps the view sent last per connection. Safe from any thread; publishes of one node must come in the order of its
/// revisions, older ones are ignored.
public final class AgentViewFeed: Sendable {
    private let clock: any WallClock
    private let logger: Logger
    private let conductors: @Sendable () -> [String]
    private let entries = Mutex<[NodeID: Entry]>([:])

    private final class Entry: Sendable {
        let session: AgentSession
        let last: Mutex<NodeView>

        init(session: AgentSession, view: NodeView) {
            self.session = session
            last = Mutex(view)
        }
    }

    /// A feed; `conductors` tells all conductors' agent ports as `host:port` for each welcome.
    public init(
        logger: Logger, clock: any WallClock = SystemWallClock(), conductors: @escaping @Sendable () -> [String]
    ) {
        self.logger = logger
        self.clock = clock
        self.conductors = conductors
    }

    /// Greets a new session: a welcome, and the view unless the agent has that revision already. A session that a newer
    /// one has overtaken gets nothing.
    public func open(_ session: AgentSession, hello: AgentHello, view: NodeView) {
        let isCurrent = hello.viewRevision == view.revision
        let entry = Entry(session: session, view: view)
        entry.last.withLock { _ in
            let isNewest = entries.withLock { entries in
                if let known = entries[session.node], known.session.id > session.id { return false }
                entries[session.node] = entry
                return true
            }
            guard isNewest else { return }
            let welcome = ConductorWelcome(time: clock.now, conductors: conductors(), viewIsCurrent: isCurrent)
            deliver(to: session) { () throws(AgentSendError) in try AgentSession.encode(.welcome(welcome)) }
            if !isCurrent { deliver(to: session) { () throws(AgentSendError) in try AgentSession.encode(.view(view)) } }
        }
    }

    /// Forgets a session that has ended; a newer one of the same node stays.
    public func close(_ session: AgentSession) {
        entries.withLock { entries in
            if entries[session.node]?.session === session { entries[session.node] = nil }
        }
    }

    /// The certificate by which the node's stream was opened; nil: it has none here.
    public func certificate(of node: NodeID) -> AgentCertificate? {
        entries.withLock { $0[node]?.session.certificate }
    }

    /// Tells a node to go, and closes its stream.
    public func dismiss(_ node: NodeID, _ message: String, retryAfterSeconds: Int) {
        entries.withLock { $0[node] }?.session.goodbye(message, retryAfterSeconds: retryAfterSeconds)
    }

    /// Sends a node what has changed in its view; nothing when it is not connected here or nothing has changed.
    public func publish(_ view: NodeView, to node: NodeID) { publish([(node, view)]) }

    /// Sends many nodes what has changed in their views; equal changes are encoded once.
    public func publish(_ views: some Sequence<(NodeID, NodeView)>) {
        var encoded: (change: ViewChange, text: ByteBuffer)?
        for (node, view) in views {
            guard let entry = entries.withLock({ $0[node] }) else { continue }
            entry.last.withLock { last in
                guard view.revision > last.revision, let change = view.change(from: last) else { return }
                last = view
                deliver(to: entry.session) { () throws(AgentSendError) in
                    if let encoded, encoded.change == change { return encoded.text }
                    let text = try AgentSession.encode(.change(change))
                    encoded = (change, text)
                    return text
                }
            }
        }
    }

    private func deliver(to session: AgentSession, _ text: () throws(AgentSendError) -> ByteBuffer) {
        do {
            try session.send(encoded: text())
        } catch .ended {
            return
        } catch {
            logger.error("A view cannot be sent.", metadata: ["agent": "\(session)", "error": "\(error)"])
            session.goodbye("This node's view cannot be sent: \(error).", retryAfterSeconds: 60)
        }
    }
}
