import FoundationEssentials
import HTTPTypes
import Hummingbird
import Identity
import Logging
import Primitives
import Synchronization

/// How a part of the API answers an error in its own form; nil: the request is none of that part's.
public typealias ErrorAnswer = @Sendable (any Error, Request, FleetRequestContext) -> Response?

/// Outermost: gives the request its name, answers every error as JSON, and writes the access log.
public struct RequestLogMiddleware: RouterMiddleware {
    private let clock = ContinuousClock()
    private let answers: [ErrorAnswer]

    /// Errors are answered by the first of `answers` that does, or else in the form of the operators' API.
    public init(answers: [ErrorAnswer] = []) { self.answers = answers }

    public func handle(
        _ request: Request, context: FleetRequestContext,
        next: (Request, FleetRequestContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        if let given = request.headers[.requestID], Self.isProper(given) { context.requestID = given }
        context.logger[metadataKey: "request"] = .string(context.requestID)
        let start = clock.now
        var response: Response
        do {
            response = try await next(request, context)
        } catch {
            response = answer(error, request, context)
        }
        response.headers[.requestID] = context.requestID
        // Proxies look several times a second whether a conductor answers, as anybody may: it says nothing of anyone.
        let isLook = request.method == .get && context.principal == .anonymous && response.status == .ok
        context.logger.log(
            level: isLook ? .debug : .info, "request",
            metadata: [
                "method": .string(request.method.rawValue), "path": .string(request.uri.path.printable(limit: 500)),
                "status": .stringConvertible(response.status.code),
                "milliseconds": .stringConvertible(start.duration(to: clock.now).milliseconds),
                "who": .string(context.principal.description), "from": .string(context.remoteAddress ?? "-"),
            ])
        return response
    }

    private func answer(_ error: any Error, _ request: Request, _ context: FleetRequestContext) -> Response {
        for answer in answers {
            if let response = answer(error, request, context) { return response }
        }
        let answer = APIError(error, requestID: context.requestID)
        if answer.status.kind == .serverError { context.logFailure(error) }
        return answer.response
    }

    private static func isProper(_ id: String) -> Bool {
        (1...RequestLimits.requestIDLengthMax).contains(id.utf8.count)
            && id.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }
}

extension HTTPField.Name {
    /// `X-Request-ID`: the name of a request in logs and audit events.
    public static let requestID = HTTPField.Name("X-Request-ID")!
}

/// Answers 503 with Retry-After when too many requests are worked on, and 413 before a body that is too large is read.
public struct LimitMiddleware: RouterMiddleware {
    private let running = Running()
    private let limit: Int
    private let bodySizeMax: Int

    /// Lets `limit` requests run at once.
    public init(limit: Int = RequestLimits.concurrencyMax, bodySizeMax: Int = RequestLimits.bodySizeMax) {
        self.limit = limit
        self.bodySizeMax = bodySizeMax
    }

    public func handle(
        _ request: Request, context: FleetRequestContext,
        next: (Request, FleetRequestContext) async throws -> Response
    ) async throws -> Response {
        if let length = request.headers[.contentLength].flatMap(Int.init), length > bodySizeMax {
            throw APIError.bodyTooLarge(limit: bodySizeMax)
        }
        let isAdmitted = running.count.withLock { count in
            guard count < limit else { return false }
            count += 1
            return true
        }
        guard isAdmitted else {
            throw APIError(
                .serviceUnavailable, "busy", "The conductor works on \(limit) requests already; try again in a second.",
                headers: [.retryAfter: "1"])
        }
        defer { running.count.withLock { $0 -= 1 } }
        return try await next(request, context)
    }

    private final class Running: Sendable {
        let count = Mutex(0)
    }
}

/// Accepts operators' bearer tokens (RFC 6750 section 2.1) and the cloud's, as `X-Auth-Token` too; answers 401 for all else.
public struct BearerTokenMiddleware: RouterMiddleware {
    private let verify: @Sendable (String) -> Caller?
    private let openPaths: Set<String>

    /// Asks `verify`, which must take constant time, for the holder of a token; `openPaths` need none.
    public init(openPaths: Set<String> = [], verify: @escaping @Sendable (String) -> Caller?) {
        self.openPaths = openPaths
        self.verify = verify
    }

    public func handle(
        _ request: Request, context: FleetRequestContext,
        next: (Request, FleetRequestContext) async throws -> Response
    ) async throws -> Response {
        let given = request.headers[.authToken] ?? request.headers[.authorization].flatMap(Self.token)
        if openPaths.contains(request.uri.path), given == nil, request.headers[.authorization] == nil {
            return try await next(request, context)
        }
        guard let given, let caller = verify(given) else { throw APIError.unauthorized }
        context.caller = caller
        return try await next(request, context)
    }

    private static func token(_ header: String) -> String? {
        let parts = header.split(separator: " ", omittingEmptySubsequences: true)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
        return String(parts[1])
    }
}

/// Waits before each request until what this conductor shows is at least what any conductor has acknowledged: what is
/// ordered is planned on that too, so that no order is refused for what it was just told elsewhere.
public struct ReadBarrierMiddleware: RouterMiddleware {
    private let barrier: @Sendable () async throws -> Void
    private let exempt: Set<String>

    /// Awaits `barrier` before each request but those for the paths that are `exempt`; an error of it is the answer.
    public init(exempt: Set<String> = [], _ barrier: @escaping @Sendable () async throws -> Void) {
        self.exempt = exempt
        self.barrier = barrier
    }

    public func handle(
        _ request: Request, context: FleetRequestContext,
        next: (Request, FleetRequestContext) async throws -> Response
    ) async throws -> Response {
        if !exempt.contains(request.uri.path) { try await barrier() }
        return try await next(request, context)
    }
}

extension Router where Context == FleetRequestContext {
    /// Adds the middleware of the operators' API in its order; call it before any route is added.
    public func addFleetMiddleware(
        openPaths: Set<String> = [], concurrencyMax: Int = RequestLimits.concurrencyMax,
        verify: @escaping @Sendable (String) -> Caller?, barrier: @escaping @Sendable () async throws -> Void
    ) {
        add(middleware: RequestLogMiddleware())
        add(middleware: LimitMiddleware(limit: concurrencyMax))
        add(middleware: BearerTokenMiddleware(openPaths: openPaths, verify: verify))
        add(middleware: ReadBarrierMiddleware(barrier))
    }
}
