import APISupport
import AgentProtocol
import CatalogBareMetal
import FoundationEssentials
import HTTPTypes
import Hummingbird
import NIOCore
import Primitives

/// The provisioning port's routes; see `DiscoveryPath`.
struct ProvisioningRoutes: Sendable {
    let service: DiscoveryService

    static let inventorySizeMax = 512 * 1024
    static let logSizeMax = 512 * 1024
    static let requestSizeMax = 64 * 1024
    /// Every machine in the ramdisk holds one request for orders open.
    static let concurrencyMax = 20_000

    func router() -> Router<FleetRequestContext> {
        let router = Router(context: FleetRequestContext.self)
        router.add(middleware: MachineErrorMiddleware())
        router.add(middleware: LimitMiddleware(limit: Self.concurrencyMax, bodySizeMax: Self.inventorySizeMax))
        let service = service
        router.post(RouterPath(DiscoveryPath.inventory)) { request, _ in
            Response.json(
                try await service.register(try await request.decode(InventoryPost.self, limit: Self.inventorySizeMax)))
        }
        router.post(RouterPath(DiscoveryPath.attestation)) { request, _ in
            Response.json(
                try service.challenge(try await request.decode(AttestationOffer.self, limit: Self.requestSizeMax)))
        }
        router.get(RouterPath(DiscoveryPath.orders)) { request, _ in
            let after = request.uri.queryParameters["after"].flatMap { UInt64($0) }
            let wait = request.uri.queryParameters["wait"].flatMap { Int($0) } ?? 0
            return Response.json(try await service.order(session: request.bearer, after: after, wait: wait))
        }
        router.post(RouterPath(DiscoveryPath.progress)) { request, _ in
            let report = try await request.decode(DiscoveryProgress.self, limit: Self.requestSizeMax)
            try await service.report(session: request.bearer, report)
            return Response(status: .noContent)
        }
        router.post(RouterPath(DiscoveryPath.logs)) { request, _ in
            try service.append(
                session: request.bearer, try await request.decode(LogBatch.self, limit: Self.logSizeMax))
            return Response(status: .noContent)
        }
        router.get(RouterPath(DiscoveryPath.manifests + "/:digest")) { request, context in
            let digest = try Digest(hex: context.parameters.require("digest"))
            let bytes = try await service.manifest(session: request.bearer, digest: digest)
            return Response(
                status: .ok, headers: [.contentType: "application/octet-stream"],
                body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
        }
        router.post(RouterPath(DiscoveryPath.enrol)) { request, _ in
            Response.json(
                try await service.enrol(try await request.decode(EnrolmentRequest.self, limit: Self.requestSizeMax)))
        }
        return router
    }
}

extension Request {
    /// The bearer token (RFC 6750), nil when there is none.
    fileprivate var bearer: String? {
        guard let header = headers[.authorization], header.hasPrefix("Bearer ") else { return nil }
        return String(header.dropFirst(7))
    }
}

/// Answers machines' errors as `ErrorBody`.
struct MachineErrorMiddleware: RouterMiddleware {
    func handle(
        _ request: Request, context: FleetRequestContext,
        next: (Request, FleetRequestContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch {
            let answer = MachineAnswer(error, requestID: context.requestID)
            if answer.status.kind == .serverError { context.logFailure(error) }
            var response = Response.json(
                AgentProtocol.ErrorBody(code: answer.code, message: answer.message), status: answer.status)
            for header in answer.headers { response.headers[header.name] = header.value }
            return response
        }
    }
}
