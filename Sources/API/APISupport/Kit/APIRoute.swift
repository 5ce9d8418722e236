import HTTPTypes
import Identity
import Policy
import Primitives

/// One route of a service, as data: from it come routing, validation, the policy check, OpenAPI and the route-walk test.
public struct APIRoute<Backend: APIBackend>: Sendable {
    /// What answers a call.
    public typealias Handler = @Sendable (APICall<Backend>) async throws -> APIAnswer
    /// What a call acts upon, for its rule; things that are not there are left out, or answered with 404 to everybody.
    public typealias Target = @Sendable (APICall<Backend>) throws -> PolicyTarget

    /// The HTTP method.
    public let method: HTTPRequest.Method
    /// The path below the service's, with parameters such as `{user_id}`.
    public let path: String
    /// Who may call it.
    public let access: Access
    /// What it does, for OpenAPI.
    public let summary: String
    /// The microversions that have it; nil: all.
    public let versions: PartialRangeFrom<Microversion>?
    /// What may stand in the query; other parameters are let through when `allowsOtherQueries`.
    public let query: [QueryParameter]
    /// The body's schema; nil: there is none, and one that comes is not read.
    public let request: Schema?
    /// The answer's schema; nil: it has no body.
    public let response: Schema?
    /// The status of an answer.
    public let status: HTTPResponse.Status
    /// Another one that the handler may answer with; nil: there is none.
    public let otherStatus: HTTPResponse.Status?
    /// What the call acts upon.
    public let target: Target
    /// What answers it.
    public let handle: Handler

    /// Who may call a route.
    public enum Access: Sendable, Hashable {
        /// Anybody, without a token.
        case open
        /// Whoever has a valid token.
        case token
        /// Whom a rule of the policy allows it.
        case rule(String)
    }

    /// A route.
    public init(
        _ method: HTTPRequest.Method, _ path: String, _ access: Access, _ summary: String,
        versions: PartialRangeFrom<Microversion>? = nil, query: [QueryParameter] = [], request: Schema? = nil,
        response: Schema? = nil, status: HTTPResponse.Status? = nil, otherStatus: HTTPResponse.Status? = nil,
        target: @escaping Target = { _ in PolicyTarget() }, handle: @escaping Handler
    ) {
        self.method = method
        self.path = path
        self.access = access
        self.summary = summary
        self.versions = versions
        self.query = query
        self.request = request
        self.response = response
        self.status = status ?? (response == nil ? .noContent : method == .post || method == .put ? .created : .ok)
        self.otherStatus = otherStatus
        self.target = target
        self.handle = handle
    }

    /// Whether a call changes something.
    public var isChange: Bool { method != .get && method != .head }

    /// The names of the path's parameters, in order.
    public var parameters: [String] { places.map(\.name) }

    /// The parameters of the path by the names of `placedPath` and by their own.
    var places: [(placed: String, name: String)] {
        path.split(separator: "/").enumerated().filter { $0.element.first == "{" && $0.element.last == "}" }
            .map { ("p\($0.offset)", String($0.element.dropFirst().dropLast())) }
    }

    /// The path with parameters that are called by their places: the router wants one name for each place, while
    /// `/roles/{role_id}` and `/roles/{prior_role_id}/implies` are what the API's reference says.
    var placedPath: String {
        path.split(separator: "/").enumerated().map { $0.element.first == "{" ? "/{p\($0.offset)}" : "/\($0.element)" }
            .joined()
    }
}

/// A parameter of a query.
public struct QueryParameter: Sendable, Hashable {
    /// Its name.
    public let name: String
    /// Its value's schema.
    public let schema: Schema
    /// What it does, for OpenAPI.
    public let summary: String

    /// A parameter.
    public init(_ name: String, _ schema: Schema = .string(), _ summary: String = "") {
        self.name = name
        self.schema = schema
        self.summary = summary
    }
}

/// One call of a route.
public struct APICall<Backend: APIBackend>: Sendable {
    /// What the service works with.
    public let backend: Backend
    /// The rules, for what depends on more than the route.
    public let policy: PolicyTable
    /// The parameters of the path, decoded.
    public let parameters: [String: String]
    /// The query.
    public let query: APIQuery
    /// The body; null when there is none.
    public let body: JSONValue
    /// Who calls.
    public let caller: Caller
    /// The microversion that the answer is in; nil when the service has none.
    public let version: Microversion?
    /// The request's headers.
    public let headers: HTTPFields
    /// The request's method.
    public let method: HTTPRequest.Method
    /// The service's address as the caller knows it, for links: `https://cloud.example:9443/identity`.
    public let base: String
    /// Names the request in logs and audit events.
    public let requestID: String
    /// The caller's IP address.
    public let remoteAddress: String?

    /// Returns when a rule allows this call; throws `APIError` 403.
    public func demand(_ rule: String, _ target: PolicyTarget = PolicyTarget()) throws {
        guard policy.isAllowed(rule, caller.credentials, target) else { throw APIError.notAllowed(rule) }
    }

    /// Whom the caller's address stands for where callers are bounded.
    public var remotePlace: String { RemotePlace.of(remoteAddress) }

    /// The parameter `name` of the path.
    public func parameter(_ name: String) -> String { parameters[name] ?? "" }
}

/// What a call is answered with.
public struct APIAnswer: Sendable {
    /// The body, JSON text; nil: none.
    public var body: [UInt8]?
    /// More headers.
    public var headers: HTTPFields
    /// Another status than the route's; nil: that one.
    public var status: HTTPResponse.Status?

    /// An answer.
    public init(body: [UInt8]? = nil, headers: HTTPFields = [:], status: HTTPResponse.Status? = nil) {
        self.body = body
        self.headers = headers
        self.status = status
    }

    /// A JSON value.
    public static func json(
        _ value: JSONValue, headers: HTTPFields = [:], status: HTTPResponse.Status? = nil
    ) -> APIAnswer { APIAnswer(body: value.text, headers: headers, status: status) }

    /// No body.
    public static let empty = APIAnswer()
}
