import AgentProtocol
import CatalogIdentity
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Identity
import Logging
import NIOCore
import Policy
import Primitives

/// A service of the cloud below one path: its routes, its errors, its versions.
public struct APIService<Backend: APIBackend>: Sendable {
    /// For people, for example `Identity`.
    public let title: String
    /// The type in catalogs, which access rules name, for example `identity`.
    public let type: String
    /// Where it is mounted, for example `/identity`.
    public let path: String
    /// What its routes work with.
    public let backend: Backend
    /// Its routes.
    public let routes: [APIRoute<Backend>]
    /// How callers choose a version; nil: there is only one.
    public let microversions: MicroversionRules?
    /// An error as this service says it.
    public let errorBody: @Sendable (APIError) -> JSONValue
    /// Whether a token that is not valid is refused on open routes too, which need none.
    public let refusesBadTokens: Bool
    /// Bytes of a request's body.
    public let bodySizeMax: Int
    /// What all services share.
    public let door: APIDoor
    /// One of each route.
    private let meters: [RouteMeter]
    /// Of what fits no route.
    private let strayMeter: RouteMeter
    let refusals = RefusalLimiter<RefusedCall>()

    /// A service.
    public init(
        title: String, type: String, path: String, backend: Backend, routes: [APIRoute<Backend>],
        microversions: MicroversionRules? = nil, refusesBadTokens: Bool = false, bodySizeMax: Int = 112 << 10,
        door: APIDoor,
        errorBody: @escaping @Sendable (APIError) -> JSONValue
    ) {
        self.title = title
        self.type = type
        self.path = path
        self.backend = backend
        self.routes = routes
        self.microversions = microversions
        self.refusesBadTokens = refusesBadTokens
        self.bodySizeMax = bodySizeMax
        self.door = door
        self.errorBody = errorBody
        meters = routes.map { RouteMeter(service: type, method: $0.method.rawValue, route: $0.path) }
        strayMeter = RouteMeter(service: type, method: "other", route: "other")
    }

    /// Its answers by route, method and status class, the time that they took, and how many callers were held up.
    ///
    /// A HEAD that is answered as the GET of the same path counts as one.
    public var samples: [MetricsReport.Sample] { RouteMeter.samples(meters + [strayMeter], of: type) }

    /// Adds all routes to `router`, and answers of its own for paths and methods that there are none of.
    public func addRoutes(to router: Router<FleetRequestContext>) {
        let declared = Set(routes.map { "\($0.method) \($0.path)" })
        for (route, meter) in zip(routes, meters) {
            add(route, as: route.method, meter, to: router)
            if route.method == .get, !declared.contains("HEAD \(route.path)") {
                add(route, as: .head, meter, to: router)
            }
        }
        let document = openAPI.text
        router.get(RouterPath("\(path)/openapi.json")) { _, _ in
            Response(
                status: .ok, headers: [.contentType: "application/json"],
                body: .init(byteBuffer: ByteBuffer(bytes: document)))
        }
        for (path, routes) in Dictionary(grouping: routes, by: \.placedPath) {
            let methods = Set(routes.map(\.method) + (routes.contains { $0.method == .get } ? [.head] : []))
            let allowed = methods.map(\.rawValue).sorted().joined(separator: ", ")
            let error = APIError(
                .methodNotAllowed, "method_not_allowed", "The method is not allowed for the requested URL.",
                headers: [.allow: allowed])
            for method in Self.methods where !methods.contains(method) {
                router.on(RouterPath(self.path + path), method: method) { request, context in
                    stray(error, request, context)
                }
            }
        }
        router.add(middleware: UnknownPathMiddleware(path: path, answer: stray))
    }

    private static var methods: [HTTPRequest.Method] { [.get, .head, .post, .put, .patch, .delete, .options] }

    private func add(
        _ route: APIRoute<Backend>, as method: HTTPRequest.Method, _ meter: RouteMeter,
        to router: Router<FleetRequestContext>
    ) {
        let clock = ContinuousClock()
        let places = route.places
        router.on(RouterPath(path + route.placedPath), method: method) { request, context in
            let start = clock.now
            let answered: Response
            do {
                var parameters: [String: String] = [:]
                for (placed, name) in places { parameters[name] = context.parameters.get(placed) ?? "" }
                let answer = try await respond(to: request, context, route, parameters)
                answered = response(answer, of: route, isHead: method == .head, request, context)
            } catch {
                answered = self.answer(error, request: request, context: context)
            }
            meter.note(answered.status, start.duration(to: clock.now))
            return answered
        }
    }

    /// How an error that came before any route is answered below this service's path; nil: the path is another's.
    public func answer(
        beforeRoutes error: any Error, _ request: Request, _ context: FleetRequestContext
    ) -> Response? {
        guard request.uri.path == path || request.uri.path.hasPrefix(path + "/") else { return nil }
        return stray(error, request, context)
    }

    /// Answers what came to no route.
    private func stray(_ error: any Error, _ request: Request, _ context: FleetRequestContext) -> Response {
        let answered = answer(error, request: request, context: context)
        strayMeter.note(answered.status, .zero)
        return answered
    }

    // MARK: One call

    private func respond(
        to request: Request, _ context: FleetRequestContext, _ route: APIRoute<Backend>, _ parameters: [String: String]
    ) async throws -> APIAnswer {
        let version = try microversions?.version(asked: request.headers)
        try await door.barrier()
        let caller = try admitted(request, route, context)
        if let first = route.versions?.lowerBound, let version, version < first {
            throw APIError.notFound("The requested path is not there before version \(first).")
        }
        let body = try await body(of: request, route)
        let call = APICall(
            backend: backend, policy: door.policy, parameters: parameters,
            query: try APIQuery(request.uri.query ?? ""),
            body: body, caller: caller, version: version, headers: request.headers, method: request.method,
            base: base(of: request), requestID: context.requestID, remoteAddress: context.remoteAddress)
        if let schema = route.request, let fault = schema.fault(in: body) {
            throw APIError.badRequest(fault.message)
        }
        for parameter in route.query {
            guard let text = call.query[parameter.name] else { continue }
            if let fault = parameter.schema.fault(inQuery: text, at: parameter.name) {
                throw APIError.badRequest(fault.message)
            }
        }
        do {
            if case .rule(let rule) = route.access { try call.demand(rule, try route.target(call)) }
            return try await route.handle(call)
        } catch {
            await record(error, of: call, route, request, context)
            throw error
        }
    }

    /// The caller, unless there were too many calls lately of it or, without a good token, of its address.
    private func admitted(
        _ request: Request, _ route: APIRoute<Backend>, _ context: FleetRequestContext
    ) throws -> Caller {
        let caller: Caller
        do {
            caller = try self.caller(of: request, route, context)
        } catch {
            try door.rates?.admit(RemotePlace.of(context.remoteAddress))
            throw error
        }
        try door.rates?.admit(caller.token?.user.id ?? RemotePlace.of(context.remoteAddress))
        return caller
    }

    private func caller(
        of request: Request, _ route: APIRoute<Backend>, _ context: FleetRequestContext
    ) throws -> Caller {
        guard let token = request.headers[.authToken] ?? Self.bearer(request.headers[.authorization]) else {
            guard case .open = route.access else { throw APIError.authenticationRequired }
            return .anonymous
        }
        let caller: Caller
        do {
            caller = try door.verify(token)
        } catch {
            let cause = (error as? any UserFacingError)?.diagnostic ?? "\(error)"
            context.logger.info("token refused", metadata: ["cause": .string(cause.printable(limit: 500))])
            // A bearer token on an open route may be another's, for example an identity provider's.
            let isRefused = refusesBadTokens && request.headers[.authToken] != nil
            guard case .open = route.access, !isRefused else { throw APIError.authenticationRequired }
            return .anonymous
        }
        context.caller = caller
        try door.checkAccessRules(caller, type, request.method.rawValue, pathBelow(request))
        return caller
    }

    private static func bearer(_ header: String?) -> String? {
        guard let parts = header?.split(separator: " "), parts.count == 2, parts[0].lowercased() == "bearer" else {
            return nil
        }
        return String(parts[1])
    }

    private func body(of request: Request, _ route: APIRoute<Backend>) async throws -> JSONValue {
        guard route.request != nil else { return .null }
        if let length = request.headers[.contentLength].flatMap(Int.init), length > bodySizeMax {
            throw APIError.bodyTooLarge(limit: bodySizeMax)
        }
        return try await request.decode(JSONValue.self, limit: bodySizeMax)
    }

    /// The request's path below the service's.
    func pathBelow(_ request: Request) -> String { String(request.uri.path.dropFirst(path.count)) }

    private func base(of request: Request) -> String { "https://\(request.head.authority ?? "localhost")\(path)" }

    // MARK: Answers

    private func response(
        _ answer: APIAnswer, of route: APIRoute<Backend>, isHead: Bool, _ request: Request,
        _ context: FleetRequestContext
    ) -> Response {
        var headers = answer.headers
        if answer.body != nil { headers[.contentType] = headers[.contentType] ?? "application/json" }
        finish(&headers, request, context)
        let body = answer.body.map { ByteBuffer(bytes: $0) } ?? ByteBuffer()
        if isHead { headers[.contentLength] = "\(body.readableBytes)" }
        return Response(
            status: answer.status ?? route.status, headers: headers,
            body: isHead ? .init() : .init(byteBuffer: body))
    }

    private func answer(_ error: any Error, request: Request, context: FleetRequestContext) -> Response {
        let known = APIError(error, requestID: context.requestID)
        if known.status.kind == .serverError, known.status != .serviceUnavailable { context.logFailure(error) }
        var headers = known.headers
        headers[.contentType] = "application/json"
        if known.status == .unauthorized { headers[.wwwAuthenticate] = "Keystone uri=\"\(door.identityURL(request))\"" }
        finish(&headers, request, context)
        let body = request.method == .head ? ByteBuffer() : ByteBuffer(bytes: errorBody(known).text)
        return Response(status: known.status, headers: headers, body: .init(byteBuffer: body))
    }

    private func finish(_ headers: inout HTTPFields, _ request: Request, _ context: FleetRequestContext) {
        headers[.openStackRequestID] = "req-\(context.requestID)"
        var vary = "X-Auth-Token"
        if let microversions {
            vary += ", OpenStack-API-Version, \(microversions.header.rawName)"
            if let version = try? microversions.version(asked: request.headers) {
                for field in microversions.headers(of: version) { headers[field.name] = field.value }
            }
        }
        headers[.vary] = vary
    }
}

/// Answers what is below a service's path and fits none of its routes; those were added before, and do not pass here.
private struct UnknownPathMiddleware: RouterMiddleware {
    let path: String
    let answer: @Sendable (any Error, Request, FleetRequestContext) -> Response

    func handle(
        _ request: Request, context: FleetRequestContext,
        next: (Request, FleetRequestContext) async throws -> Response
    ) async throws -> Response {
        guard request.uri.path == path || request.uri.path.hasPrefix(path + "/") else {
            return try await next(request, context)
        }
        let known = "The requested path was not found: \(request.uri.path.printable(limit: 200))"
        return answer(APIError.notFound(known), request, context)
    }
}

/// What all services share: who callers are, what they may, and when reads are new enough.
public struct APIDoor: Sendable {
    /// The caller of a token; throws when it is not valid.
    public var verify: @Sendable (String) throws -> Caller
    /// Returns when reads show what any conductor has acknowledged.
    public var barrier: @Sendable () async throws -> Void
    /// The rules.
    public var policy: PolicyTable
    /// How many requests each caller may make; nil: any number.
    public var rates: CallRates?
    /// Throws when the caller's application credential is bounded to other requests than of this type, method and path.
    public var checkAccessRules:
        @Sendable (_ caller: Caller, _ type: String, _ method: String, _ path: String) throws -> Void

    /// A door.
    public init(
        policy: PolicyTable, verify: @escaping @Sendable (String) throws -> Caller,
        barrier: @escaping @Sendable () async throws -> Void, rates: CallRates? = nil,
        checkAccessRules: @escaping @Sendable (Caller, String, String, String) throws -> Void = { _, _, _, _ in }
    ) {
        self.policy = policy
        self.verify = verify
        self.barrier = barrier
        self.rates = rates
        self.checkAccessRules = checkAccessRules
    }

    func identityURL(_ request: Request) -> String { "https://\(request.head.authority ?? "localhost")/identity" }
}

extension APIError {
    /// A token is missing or not valid.
    public static let authenticationRequired = APIError(
        .unauthorized, "unauthorized", "The request you have made requires authentication.")

    /// A rule does not allow it.
    public static func notAllowed(_ rule: String) -> APIError {
        APIError(
            .forbidden, notAllowedCode, "You are not authorized to perform the requested action: \(rule).")
    }

    static let notAllowedCode = "not_allowed"

    /// The caller may not do that.
    public static func forbidden(_ message: String) -> APIError { APIError(.forbidden, "forbidden", message) }
}

extension Schema {
    /// What is wrong with a parameter of a query, which is a text whatever it means.
    func fault(inQuery text: String, at name: String) -> SchemaFault? {
        switch self {
        case .integer: fault(in: Int64(text).map { .integer($0) } ?? .string(text), at: name)
        case .boolean, .any: nil
        default: fault(in: .string(text), at: name)
        }
    }
}
