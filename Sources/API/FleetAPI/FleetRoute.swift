import APISupport
import CatalogBareMetal
import HTTPTypes
import Hummingbird
import Identity
import Primitives
import ResourceModel

/// A row of the API's table: what answers, and what its caller must be allowed to do.
public struct FleetRoute: Sendable {
    /// The method.
    public let method: HTTPRequest.Method
    /// The path with parameters as in `/fleet/v1/nodes/{node}`.
    public let path: String
    /// What its caller must be allowed to do.
    public let access: Access
    let work: Work

    /// What a caller must be allowed to do.
    public enum Access: Sendable, Hashable {
        /// Nothing: no token is needed.
        case open
        /// Read resources of this kind.
        case read(kind: String)
        /// Do this to resources of this kind; leaves an audit event.
        case change(Action, kind: String)
    }

    enum Work: Sendable {
        case answer(@Sendable (FleetCall) async throws -> Response)
        case change(@Sendable (FleetCall, inout AuditNote) async throws -> Response)
    }

    static func open(_ path: String, _ answer: @escaping @Sendable (FleetCall) async throws -> Response) -> FleetRoute {
        FleetRoute(method: .get, path: path, access: .open, work: .answer(answer))
    }

    static func read(
        _ path: String, _ kind: String, method: HTTPRequest.Method = .get,
        _ answer: @escaping @Sendable (FleetCall) async throws -> Response
    ) -> FleetRoute {
        FleetRoute(method: method, path: path, access: .read(kind: kind), work: .answer(answer))
    }

    static func change(
        _ method: HTTPRequest.Method, _ path: String, _ action: Action, _ kind: String,
        _ change: @escaping @Sendable (FleetCall, inout AuditNote) async throws -> Response
    ) -> FleetRoute {
        FleetRoute(method: method, path: path, access: .change(action, kind: kind), work: .change(change))
    }

    /// Asks the gate, then answers.
    func respond(_ call: FleetCall) async throws -> Response {
        let gate = call.services.gate
        switch (work, access) {
        case (.answer(let answer), .read(let kind)):
            try gate.reading(call.context, ResourceKey(kind: kind, name: call.subject ?? "*"))
            return try await answer(call)
        case (.answer(let answer), .change(let action, let kind)):
            // Reading that is granted like a change (a console's record) leaves its event too, the first of several.
            let key = ResourceKey(kind: kind, name: call.subject ?? "*")
            let isAllowed = (try? gate.allowing(call.context, action, key)) != nil
            if isAllowed, !call.counters.reads.isFirst(call.context.principal, key, at: call.services.clock.now) {
                return try await answer(call)
            }
            return try await gate.mutating(call.context, action, key) { _ in try await answer(call) }
        case (.answer(let answer), .open):
            return try await answer(call)
        case (.change(let change), .change(let action, let kind)):
            let key = ResourceKey(kind: kind, name: call.subject ?? "*")
            return try await gate.mutating(call.context, action, key) { note in try await change(call, &note) }
        case (.change, .open), (.change, .read):
            throw APIError(.internalServerError, "internal", "This path is not guarded; it stays closed.")
        }
    }
}

/// One request on its way through a handler.
struct FleetCall: Sendable {
    let request: Request
    let context: FleetRequestContext
    let services: FleetServices
    let counters: RequestCounters

    /// The last parameter of the path, printable and without what a resource name cannot have; nil: none.
    var subject: String? {
        for name in ["node", "bmc", "image", "ramdisk", "digest", "conflict", "segment", "operator"] {
            guard let value = context.parameters.get(name) else { continue }
            let key = ResourceKey(kind: "any", name: value)
            return (try? key.validate()) == nil ? "invalid" : value
        }
        return nil
    }

    /// The parameter `name` of the path.
    func parameter(_ name: String) throws -> String {
        guard let value = context.parameters.get(name) else { throw APIError.badRequest("'\(name)' is missing.") }
        return value
    }

    /// The value of `name` in the query; nil when it is not there.
    func query(_ name: String) -> String? { request.uri.queryParameters[Substring(name)].map(String.init) }

    /// The number `name` in the query, within `range`; `fallback` when it is not there.
    func number(_ name: String, in range: ClosedRange<Int>, otherwise fallback: Int) throws -> Int {
        guard let text = query(name) else { return fallback }
        guard let number = Int(text), range.contains(number) else {
            throw InvalidValue(name, text, expected: "a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// Whether the query has `name=true`; throws for anything but true and false.
    func flag(_ name: String) throws -> Bool {
        switch query(name) {
        case nil, "false": return false
        case "true": return true
        case .some(let text): throw InvalidValue(name, text, expected: "true or false")
        }
    }

    /// The body; an empty one is `{}`.
    func body<Body: Decodable>(_ type: Body.Type, limit: ByteCount = .mebibytes(1)) async throws -> Body {
        try await request.decode(type, limit: Int(limit.bytes))
    }
}
