import APISupport
import HTTPTypes
import Hummingbird
import NIOCore
import Primitives
import TestSupport

/// What every service that is made with the kit must do, as checks that run against a scene made by the caller.
public enum ServiceConformance<Bench: APIBench> {
    /// One thing that is checked.
    public struct Check: Sendable, CustomStringConvertible {
        /// What must hold.
        public let description: String
        private let body: @Sendable (Bench) async throws -> Void

        init(_ description: String, _ body: @escaping @Sendable (Bench) async throws -> Void) {
            self.description = description
            self.body = body
        }

        /// Throws `ServiceFault` when it does not hold.
        public func run(_ bench: Bench) async throws { try await body(bench) }
    }

    /// All checks.
    public static var checks: [Check] { inputChecks + answerChecks + limitChecks }
}

/// A service under test, and calls that it takes.
public protocol APIBench: Sendable {
    associatedtype Backend: APIBackend
    /// The service with another door.
    func service(_ door: APIDoor) -> APIService<Backend>
    /// The door that the service has.
    var door: APIDoor { get }
    /// A token of somebody who may do everything, and one of somebody who may only read.
    var admin: String { get }
    var reader: String { get }
    /// A path with GET that lists and POST that makes, and a body for that.
    var collection: String { get }
    var body: JSONValue { get }
    /// The headers of a call in the newest version.
    var versionHeaders: HTTPFields { get }
    /// Whether a body is an error as this service says it, with the message.
    func isError(_ body: JSONValue) -> Bool
    /// Lets time pass.
    func pass(_ duration: Duration)
}

extension APIBench {
    /// A client of the service, perhaps with another bound on calls.
    func client(
        rates: CallRates? = nil, concurrencyMax: Int = 4096, log: LogLines? = nil
    ) -> APIClient<Backend> {
        var door = door
        door.rates = rates
        return APIClient(service(door), concurrencyMax: concurrencyMax, logger: log?.logger)
    }

    func headers(_ token: String?, _ type: String? = nil) -> HTTPFields {
        var fields = versionHeaders
        if let token { fields[HTTPField.Name("X-Auth-Token")!] = token }
        if let type { fields[.contentType] = type }
        return fields
    }

    /// What a POST with these bytes is answered.
    func post(_ text: String, _ type: String? = "application/json") async throws -> SeenAnswer {
        try await client().send(
            .post, collection, RequestBody(buffer: ByteBuffer(string: text)), headers(admin, type))
    }

    /// How many there are in the collection.
    func count() async throws -> Int {
        let list = try await client().send(.get, collection, headers(admin))
        let name = String(collection.split(separator: "/").last ?? "")
        return try need(list.json[name]?.array, "a list: \(list.text)").count
    }
}

extension APIClient {
    func send(_ method: HTTPRequest.Method, _ path: String, _ headers: HTTPFields) async throws -> SeenAnswer {
        try await send(method, path, RequestBody(buffer: ByteBuffer()), headers)
    }
}

func expect(_ condition: Bool, _ what: @autoclosure () -> String) throws {
    if !condition { throw ServiceFault(what()) }
}

func expect<Value: Equatable>(_ value: Value, is wanted: Value, _ what: @autoclosure () -> String) throws {
    try expect(value == wanted, "\(what()): \(value), not \(wanted)")
}

func need<Value>(_ value: Value?, _ what: @autoclosure () -> String) throws -> Value {
    guard let value else { throw ServiceFault("missing: \(what())") }
    return value
}
