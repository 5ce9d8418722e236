import APISupport
import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import FleetAPI
import FleetContract
import HTTPTypes
import Hummingbird
import Identity
import Logging
import NIOCore
import Primitives
import ResourceModel

/// The web pages that show the fleet to an operator's browser: rendered here, live by server-sent events, read-only.
public struct WebPages: Sendable {
    let reads: FleetReads
    let gate: Gate
    let audit: AuditLog
    let sessions: BrowserSessions
    private let barrier: @Sendable () async throws -> Void
    let version: String

    /// Bytes of a form.
    static let formSizeMax = 4096
    /// Nodes of one page.
    static let nodeCountMax = 2000

    /// Pages of what `reads` gives. `verify` finds the holder of a token, `barrier` returns when reads show what any
    /// conductor has acknowledged.
    public init(
        reads: FleetReads, gate: Gate, audit: AuditLog, clock: any WallClock, version: String,
        verify: @escaping @Sendable (String) -> Caller?, barrier: @escaping @Sendable () async throws -> Void
    ) {
        self.reads = reads
        self.gate = gate
        self.audit = audit
        self.barrier = barrier
        self.version = version
        sessions = BrowserSessions(
            verify: { token in verify(token).flatMap { gate.isOperator($0) ? $0 : nil } }, clock: clock)
    }

    /// Adds the pages; their callers are known by the session's cookie, which opens nothing else.
    public func addRoutes(to router: Router<FleetRequestContext>) {
        let open = router.group().add(middleware: PageErrorMiddleware(version: version))
        for asset in Asset.all { open.get(RouterPath(asset.path)) { _, _ in asset.response } }
        open.get("/sign-in") { request, context in signInPage(request, context) }
        open.post("/sign-in") { request, context in try await signIn(request, context) }
        open.post("/sign-out") { request, _ in try signOut(request) }
        open.get("/session") { request, context -> Response in
            caller(request) == nil
                ? .plain("signed out\n", status: .unauthorized) : .plain("signed in\n", status: .ok)
        }

        let closed = router.group()
            .add(middleware: PageErrorMiddleware(version: version))
            .add(middleware: SessionMiddleware(dashboard: self))
            .add(middleware: ReadBarrierMiddleware(barrier))
        closed.get("/") { request, context in try fleetPage(request, context) }
        closed.get("/live") { request, context in try await fleetStream(request, context) }
        closed.get("/nodes/{node}") { request, context in try await nodePage(request, context) }
        closed.get("/nodes/{node}/live") { request, context in try await nodeStream(request, context) }
    }

    /// Who has signed in with this browser; nil: nobody.
    func caller(_ request: Request) -> Caller? {
        BrowserSessions.cookie(in: request.headers[.cookie]).flatMap { sessions.caller(cookie: $0) }
    }

    // MARK: Pages

    private func fleetPage(_ request: Request, _ context: FleetRequestContext) throws -> Response {
        try gate.reading(context, ResourceKey(kind: Node.kind, name: "*"))
        let (nodes, revision) = reads.nodes()
        let wanted = request.uri.queryParameters["q"].map(String.init) ?? ""
        let page = FleetPage(words: PageWords(now: reads.now), nodes: nodes, wanted: wanted)
        return .page(
            frame("Fleet", "fleet", "/live?since=\(revision)", context, page.markup))
    }

    private func nodePage(_ request: Request, _ context: FleetRequestContext) async throws -> Response {
        let wanted = try context.parameters.require("node")
        let node = try readable(wanted, context)
        let page = NodePage(try await facts(of: node), words: PageWords(now: reads.now))
        let live = PageWords.path(try node.id) + "/live"
        return .page(frame(node.spec.name, "node", live, context, page.markup))
    }

    func readable(_ wanted: String, _ context: FleetRequestContext) throws -> Node {
        try gate.reading(context, ResourceKey(kind: Node.kind, name: (try? NodeID(wanted))?.raw ?? "*"))
        return try reads.node(wanted)
    }

    /// All that a node's page shows. An inventory that cannot be read is left out rather than the page.
    func facts(of node: Node, inventory known: (digest: Digest, report: InventoryReport)? = nil) async throws
        -> NodePageFacts
    {
        var inventory: InventoryReport?
        if let known, known.digest == node.status.inventory {
            inventory = known.report
        } else {
            inventory = try? await reads.inventory(of: node)
        }
        return NodePageFacts(
            detail: try await reads.detail(of: node), inventory: inventory,
            why: try await reads.why(node, eventCount: NodePage.eventCount),
            logs: reads.logs(of: try node.id, count: NodePage.logLineCount))
    }

    private func frame(
        _ title: String, _ kind: String, _ live: String?, _ context: FleetRequestContext, _ content: Markup
    ) -> Page {
        Page(
            title: title, kind: kind, live: live, operatorName: context.principal.description, version: version,
            content: content)
    }
}

/// Lets signed-in browsers through; sends others to the sign-in page, and streams away.
struct SessionMiddleware: RouterMiddleware {
    let dashboard: WebPages

    func handle(
        _ request: Request, context: FleetRequestContext,
        next: (Request, FleetRequestContext) async throws -> Response
    ) async throws -> Response {
        if let caller = dashboard.caller(request) {
            context.caller = caller
            return try await next(request, context)
        }
        if request.uri.path.hasSuffix("/live") { return .plain("Sign in first.\n", status: .unauthorized) }
        return .seeOther("/sign-in?next=\(request.uri.path.percentEncoded)")
    }
}

/// Answers errors as pages.
struct PageErrorMiddleware: RouterMiddleware {
    let version: String

    func handle(
        _ request: Request, context: FleetRequestContext,
        next: (Request, FleetRequestContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch {
            let answer = APIError(error, requestID: context.requestID)
            if answer.status.kind == .serverError { context.logFailure(error, "page failed") }
            let content = tag("section", ["class": "panel narrow"]) {
                tag("h1") { answer.status == .notFound ? "Not found" : "That did not work" }
                tag("p") { PageWords.advice(answer.message) }
                tag("p") { tag("a", ["href": "/"]) { "To the fleet" } }
            }
            return .page(
                Page(title: "Error", kind: "plain", version: version, content: content), status: answer.status)
        }
    }
}
