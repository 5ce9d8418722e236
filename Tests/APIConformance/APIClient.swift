import APISupport
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOEmbedded
import Primitives
import Synchronization

/// Calls a service without a network, and holds every answer that tells of success to what its route declares.
public struct APIClient<Backend: APIBackend>: Sendable {
    /// What is called.
    public let service: APIService<Backend>
    private let responder: any HTTPResponder<FleetRequestContext> & Sendable
    private let logger: Logger

    /// A client of `service`, which works on `concurrencyMax` calls at once.
    public init(_ service: APIService<Backend>, concurrencyMax: Int = 4096, logger: Logger? = nil) {
        self.service = service
        self.logger = logger ?? Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let router = Router(context: FleetRequestContext.self)
        router.add(middleware: RequestLogMiddleware(answers: [{ service.answer(beforeRoutes: $0, $1, $2) }]))
        router.add(middleware: LimitMiddleware(limit: concurrencyMax))
        service.addRoutes(to: router)
        responder = router.buildResponder()
    }

    /// Sends any bytes to a path below the service's, from an address such as `192.0.2.7`.
    ///
    /// Throws `ServiceFault` for an answer that is not as its route declares.
    public func send(
        _ method: HTTPRequest.Method, _ path: String, _ body: RequestBody = RequestBody(buffer: ByteBuffer()),
        _ headers: HTTPFields = [:], from address: String? = nil
    ) async throws -> SeenAnswer {
        let request = Request(
            head: HTTPRequest(
                method: method, scheme: "https", authority: "cloud.example:9443", path: service.path + path,
                headerFields: headers), body: body)
        let channel = EmbeddedChannel()
        if let address { channel.remoteAddress = try SocketAddress(ipAddress: address, port: 40_000) }
        let context = FleetRequestContext(
            source: ApplicationRequestContextSource(channel: channel, logger: logger))
        let response = try await responder.respond(to: request, context: context)
        let collector = Collector()
        try await response.body.write(collector)
        let answer = SeenAnswer(
            status: response.status.code, bytes: collector.bytes.withLock { $0 }, headers: response.headers)
        if let fault = service.fault(in: answer, to: method, String(path.prefix { $0 != "?" })) {
            throw ServiceFault("\(method) \(path): \(fault)")
        }
        return answer
    }
}

/// An answer of an API.
public struct SeenAnswer: Sendable {
    public let status: Int
    public let bytes: [UInt8]
    public let headers: HTTPFields

    /// The body.
    public var text: String { String(decoding: bytes, as: UTF8.self) }
    /// The body; null where it is no JSON.
    public var json: JSONValue { (try? JSONDecoder().decode(JSONValue.self, from: Data(bytes))) ?? .null }

    /// The member at a path of names and numbers, for example `limits/0/id`.
    public subscript(path: String) -> JSONValue {
        path.split(separator: "/").reduce(json) { value, part in
            if let index = Int(part), let array = value.array { return index < array.count ? array[index] : .null }
            return value[String(part)] ?? .null
        }
    }
}

/// A service does not do what the kit promises.
public struct ServiceFault: Error, CustomStringConvertible {
    /// What was expected and what happened.
    public let description: String

    init(_ description: String) { self.description = description }
}

extension APIService {
    /// What of an answer is not as the route declares; nil: nothing, or it tells of no success.
    func fault(in answer: SeenAnswer, to method: HTTPRequest.Method, _ path: String) -> String? {
        guard (200...299).contains(answer.status), path != "/openapi.json" else { return nil }
        guard let route = route(of: method, path) else { return "\(answer.status) of no route" }
        let isJSON = answer.headers[.contentType]?.hasPrefix("application/json") == true
        guard [route.status.code, route.otherStatus?.code].contains(answer.status) else {
            return "the status \(answer.status)"
        }
        guard method != .head else { return answer.bytes.isEmpty ? nil : "a body of a HEAD" }
        guard let schema = route.response else {
            return answer.bytes.isEmpty || !isJSON ? nil : "a body that is not declared: \(answer.text)"
        }
        guard isJSON else { return "the content type \(answer.headers[.contentType] ?? "(none)")" }
        return schema.fault(in: answer.json).map { "\($0.message) in \(answer.text)" }
    }

    /// The route that a call comes to: of several that fit, the one with the fewest parameters.
    private func route(of method: HTTPRequest.Method, _ path: String) -> APIRoute<Backend>? {
        let parts = path.split(separator: "/")
        func found(_ method: HTTPRequest.Method) -> APIRoute<Backend>? {
            routes.filter { route in
                let places = route.path.split(separator: "/")
                return route.method == method && places.count == parts.count
                    && zip(places, parts).allSatisfy { $0 == $1 || $0.first == "{" }
            }.min { $0.parameters.count < $1.parameters.count }
        }
        return found(method) ?? (method == .head ? found(.get) : nil)
    }
}

private final class Collector: ResponseBodyWriter, Sendable {
    let bytes = Mutex<[UInt8]>([])

    func write(_ buffer: ByteBuffer) async throws { bytes.withLock { $0 += Array(buffer.readableBytesView) } }
    func finish(_ trailingHeaders: HTTPFields?) async throws {}
}
