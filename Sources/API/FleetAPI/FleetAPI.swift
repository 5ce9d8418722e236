import APISupport
import CatalogBareMetal
import CatalogIdentity
import FleetContract
import HTTPTypes
import Hummingbird
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel

/// The operators' API below `/fleet/v1`, and `/metrics`.
public struct OperatorAPI: Sendable {
    /// The paths that need no token.
    public static let openPaths: Set<String> = [FleetPath.root, FleetPath.root + "/", FleetPath.ready]

    let services: FleetServices
    private let counters = RequestCounters()

    /// An API over `services`.
    public init(services: FleetServices) { self.services = services }

    /// What is read here, for other surfaces beside this one.
    public var reads: FleetReads { FleetReads(services: services, watches: counters.watches) }

    /// A router with the middleware and all routes. `verify` finds the holder of a token, `barrier` returns when
    /// reads show what any conductor has acknowledged; `pages` adds routes that look after their callers themselves, and
    /// `errorAnswers` answer errors that come before those.
    public func router(
        verify: @escaping @Sendable (String) -> Caller?, barrier: @escaping @Sendable () async throws -> Void,
        errorAnswers: [ErrorAnswer] = [], pages: (Router<FleetRequestContext>) -> Void = { _ in }
    ) -> Router<FleetRequestContext> {
        let router = Router(context: FleetRequestContext.self)
        router.add(middleware: RequestCounterMiddleware(counters: counters))
        router.add(middleware: RequestLogMiddleware(answers: errorAnswers))
        router.add(middleware: LimitMiddleware(bodySizeMax: Int(FleetLimit.blobSize.bytes)))
        pages(router)
        router.add(middleware: BearerTokenMiddleware(openPaths: Self.openPaths, verify: verify))
        // Proxies ask for the version to see who is there: while a store elects its leader, all conductors are.
        router.add(middleware: ReadBarrierMiddleware(exempt: [FleetPath.root, FleetPath.root + "/"], barrier))
        for route in Self.routes {
            router.on(RouterPath(route.path), method: route.method) { request, context in
                try await route.respond(
                    FleetCall(request: request, context: context, services: services, counters: counters))
            }
        }
        return router
    }

    /// The kinds that handlers read from the cache.
    public static let cachedKinds: [any Resource.Type] = [
        Node.self, BMC.self, Segment.self, Rule.self, SKU.self, NodeImage.self, Ramdisk.self, Lease.self,
        IdentityConflict.self, NodeCertificates.self, SiteAuthority.self, ConductorRecord.self,
        ControlPlaneRecord.self, AddressAssignment.self,
    ]

    /// What the cache has to find resources by.
    public static let cacheIndexes = [AnyCacheIndex(FleetReads.nodesByName)]

    /// Every route with what its caller must be allowed to do.
    public static let routes: [FleetRoute] = nodeRoutes + siteRoutes + controllerRoutes + imageRoutes + metricRoutes

    private static let root = FleetPath.root

    private static let nodeRoutes: [FleetRoute] = [
        .open(root) { try $0.version() },
        .open(FleetPath.ready) { try $0.ready() },
        .read("\(root)/nodes", Node.kind) { try await $0.listNodes() },
        .read("\(root)/nodes/{node}", Node.kind) { try await $0.showNode() },
        .read("\(root)/nodes/{node}/inventory", Node.kind) { try await $0.inventory() },
        .read("\(root)/nodes/{node}/why", Node.kind) { try await $0.why() },
        .read("\(root)/nodes/{node}/explain", Node.kind) { try await $0.explainNode() },
        .read("\(root)/nodes/{node}/events", Node.kind) { try await $0.nodeEvents() },
        .read("\(root)/nodes/{node}/logs", Node.kind) { try await $0.logs() },
        FleetRoute(
            method: .get, path: "\(root)/nodes/{node}/console", access: .change(.console, kind: Node.kind),
            work: .answer { try await $0.console() }),
        .change(.post, "\(root)/nodes/{node}/console", .console, Node.kind) { try await $0.attachConsole(&$1) },
        .change(.post, "\(root)/nodes/{node}/approve", .approve, Node.kind) { try await $0.approve(&$1) },
        .change(.post, "\(root)/nodes/{node}/deploy", .deploy, Node.kind) { try await $0.deploy(&$1) },
        .change(.post, "\(root)/nodes/{node}/clean", .delete, Node.kind) { try await $0.clean(&$1) },
        .change(.post, "\(root)/nodes/{node}/rescue", .rescue, Node.kind) { try await $0.rescue(&$1) },
        .change(.post, "\(root)/nodes/{node}/unrescue", .rescue, Node.kind) { try await $0.unrescue(&$1) },
        .change(.post, "\(root)/nodes/{node}/power", .power, Node.kind) { try await $0.powerNode(&$1) },
        .change(.post, "\(root)/nodes/{node}/revoke-certificate", .rotate, Node.kind) {
            try await $0.revokeCertificate(&$1)
        },
        .change(.patch, "\(root)/nodes/{node}", .update, Node.kind) { try await $0.patchNode(&$1) },
        .change(.delete, "\(root)/nodes/{node}", .delete, Node.kind) { try await $0.deleteNode(&$1) },
        .read("\(root)/top", Node.kind) { try await $0.top() },
        .read("\(root)/watch", Node.kind) { try await $0.watch() },
        .read("\(root)/events", NodeEvent.kind) { try await $0.events() },
    ]

    private static let siteRoutes: [FleetRoute] = [
        .read("\(root)/bmcs", BMC.kind) { try await $0.listBMCs() },
        .read("\(root)/bmcs/{bmc}", BMC.kind) { try await $0.showBMC() },
        .change(.post, "\(root)/bmcs/{bmc}/power", .power, BMC.kind) { try await $0.powerBMC(&$1) },
        .change(.post, "\(root)/bmcs/{bmc}/approve", .approve, BMC.kind) { try await $0.approveBMC(&$1) },
        .change(.post, "\(root)/bmcs/{bmc}/rotate-password", .rotate, BMC.kind) { try await $0.rotateBMCPassword(&$1) },
        .read("\(root)/segments", Segment.kind) { try await $0.listSegments() },
        .read("\(root)/segments/{segment}/events", Segment.kind) { try await $0.segmentEvents() },
        .read("\(root)/leases", Lease.kind) { try await $0.listLeases() },
        .read("\(root)/rules", Rule.kind) { try await $0.listRules() },
        .read("\(root)/conflicts", IdentityConflict.kind) { try await $0.listConflicts() },
        .change(.delete, "\(root)/conflicts/{conflict}", .delete, IdentityConflict.kind) {
            try await $0.deleteConflict(&$1)
        },
        .read("\(root)/conductors", ConductorRecord.kind) { try await $0.listConductors() },
        .change(.delete, "\(root)/conductors/{conductor}", .delete, ConductorRecord.kind) {
            try await $0.forgetConductor(&$1)
        },
        .read("\(root)/authority", SiteAuthority.kind) { try await $0.showAuthority() },
        .change(.post, "\(root)/authority/rotate", .rotate, SiteAuthority.kind) { try await $0.rotateAuthority(&$1) },
        .read("\(root)/tokens", OperatorToken.kind) { try await $0.listTokens() },
        .change(.post, "\(root)/tokens/{operator}", .create, OperatorToken.kind) { try await $0.createToken(&$1) },
        .change(.post, "\(root)/tokens/{operator}/rotate", .rotate, OperatorToken.kind) {
            try await $0.rotateToken(&$1)
        },
        .change(.post, "\(root)/tokens/{operator}/revoke", .rotate, OperatorToken.kind) {
            try await $0.revokeToken(&$1)
        },
        .read("\(root)/audit", AuditEvent.kind) { try await $0.listAudit() },
        .read("\(root)/policy/rules", FleetCall.policyKind) { try $0.listPolicyRules() },
        .read("\(root)/policy/explain", FleetCall.policyKind) { try await $0.explainPolicy() },
        .change(.put, "\(root)/site", .update, Site.kind) { try await $0.applySite(&$1) },
        .change(.post, "\(root)/site/check", .update, Site.kind) { try await $0.checkSite(&$1) },
        .read("\(root)/site/explain", Rule.kind, method: .post) { try await $0.explainInventory() },
        .read("\(root)/site/validate", Site.kind, method: .post) { try await $0.validateSite() },
    ]

    private static let controllerRoutes: [FleetRoute] = [
        .read("\(root)/controllers", ControlPlaneRecord.kind) { try await $0.showControllers() },
        .read("\(root)/controllers/plan", ControlPlaneRecord.kind) { try await $0.planControllers() },
        .change(.put, "\(root)/controllers", .update, ControlPlaneRecord.kind) { try await $0.changeControllers(&$1) },
        .change(.post, "\(root)/controllers/pivot", .pivot, ControlPlaneRecord.kind) { try await $0.orderPivot(&$1) },
        .change(.delete, "\(root)/controllers/pivot", .pivot, ControlPlaneRecord.kind) { try await $0.undoPivot(&$1) },
    ]

    private static let imageRoutes: [FleetRoute] = [
        .read("\(root)/images", NodeImage.kind) { try await $0.listImages() },
        .change(.put, "\(root)/images/{image}", .create, NodeImage.kind) { try await $0.putImage(&$1) },
        .change(.put, "\(root)/ramdisks/{ramdisk}", .create, Ramdisk.kind) { try await $0.putRamdisk(&$1) },
        .read("\(root)/blobs/missing", NodeImage.kind, method: .post) { try await $0.missingBlobs() },
        .change(.post, "\(root)/blobs", .create, NodeImage.kind) { try await $0.putBlobs(&$1) },
        .change(.put, "\(root)/blobs/{digest}", .create, NodeImage.kind) { try await $0.putBlob(&$1) },
    ]

    private static let metricRoutes: [FleetRoute] = [
        .read(FleetPath.metrics, Node.kind) { try await $0.conductorMetrics() },
        .read("\(FleetPath.metrics)/nodes/{node}", Node.kind) { try await $0.nodeMetrics() },
        .read("\(FleetPath.metrics)/http_sd", Node.kind) { try await $0.metricTargets() },
    ]
}
