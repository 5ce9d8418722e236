import APISupport
import CatalogIdentity
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Identity
import Logging
import NIOCore
import NIOEmbedded
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import Synchronization
import TestSupport
import Testing

/// An API of a few routes over a memory store.
private struct TestAPI {
    let store = GatedStore(MemoryStore(), why: "the site moves")
    let audit: AuditLog
    let log = LogLines()
    let barrierCount = Counter()
    private let responder: any HTTPResponder<FleetRequestContext>

    struct Input: Codable, Sendable {
        var name: String
        var disks: [Disk]

        struct Disk: Codable, Sendable { var size: UInt64 }
    }

    final class Counter: Sendable {
        let value = Mutex(0)
    }

    init(concurrencyMax: Int = 4, hold: @escaping @Sendable () async -> Void = {}) throws {
        let policy = try PolicyTable(FleetPolicy.defaults)
        let store = store
        let audit = AuditLog(store: store)
        self.audit = audit
        let gate = Gate(policy: policy, audit: audit) { nil }
        let key = ResourceKey(kind: "baremetal.node", name: "n1")
        let router = Router(context: FleetRequestContext.self)
        let barrierCount = barrierCount
        router.addFleetMiddleware(openPaths: ["/health"], concurrencyMax: concurrencyMax) { token in
            switch token {
            case "admin-token": Caller(KnownOperator(name: "ann", role: .admin))
            case "reader-token": Caller(KnownOperator(name: "rob", role: .reader))
            default: nil
            }
        } barrier: {
            barrierCount.value.withLock { $0 += 1 }
        }
        router.get("health") { _, _ in Response.json(["ok": true]) }
        router.get("hold") { _, _ in
            await hold()
            return Response.json(["ok": true])
        }
        router.get("secret-failure") { _, _ -> Response in throw Internal() }
        router.get("conflict") { _, _ -> Response in throw StoreError.conflict(key) }
        router.post("echo") { request, _ in
            Response.json(try await request.decode(Input.self, limit: 1000))
        }
        router.post("approve") { _, context in
            try await gate.mutating(context, .approve, key) { note in
                note.before = Array(#"{"spec":{"role":null,"password":"old"}}"#.utf8)
                note.after = Array(#"{"spec":{"role":"network","password":"new"}}"#.utf8)
                return Response.json(["ok": true])
            }
        }
        router.post("write") { _, context in
            try await gate.mutating(context, .power, key) { _ in
                _ = try await store.commit(Transaction(operations: [.delete(key)]))
                return Response.json(["ok": true])
            }
        }
        router.post("seal") { _, _ -> Response in throw VaultError.store(.frozen("the site moves")) }
        router.post("fail") { _, context in
            try await gate.mutating(context, .power, key) { _ -> Response in
                throw APIError.conflict("It is in maintenance.")
            }
        }
        responder = router.buildResponder()
    }

    struct Internal: Error { var password = "hunter2" }

    func call(
        _ method: HTTPRequest.Method, _ path: String, token: String? = "admin-token", body: String = "",
        headers: HTTPFields = [:]
    ) async throws -> (status: Int, text: String, headers: HTTPFields) {
        var headers = headers
        if let token { headers[.authorization] = "Bearer \(token)" }
        let request = Request(
            head: HTTPRequest(
                method: method, scheme: "http", authority: "localhost", path: path, headerFields: headers),
            body: RequestBody(buffer: ByteBuffer(string: body)))
        let context = FleetRequestContext(
            source: ApplicationRequestContextSource(
                channel: EmbeddedChannel(), logger: log.logger))
        let response = try await responder.respond(to: request, context: context)
        let collector = Collector()
        try await response.body.write(collector)
        return (response.status.code, collector.text.withLock { $0 }, response.headers)
    }
}

private final class Collector: ResponseBodyWriter, Sendable {
    let text = Mutex("")

    func write(_ buffer: ByteBuffer) async throws { text.withLock { $0 += String(buffer: buffer) } }
    func finish(_ trailingHeaders: HTTPFields?) async throws {}
}

private func code(_ text: String) -> String? {
    (try? JSONDecoder().decode(APIErrorBody.self, from: Data(text.utf8)))?.error.code
}

@Suite struct APISupportTests {
    @Test func callsWithoutAValidTokenAreRefused() async throws {
        let api = try TestAPI()
        for path in ["/hold", "/approve", "/nowhere"] {
            for token in [nil, "", "wrong", "admin-token2", "Admin-token"] as [String?] {
                let answer = try await api.call(.get, path, token: token)
                #expect(answer.status == 401)
                #expect(answer.headers[.wwwAuthenticate] == "Bearer realm=\"muster\"")
                #expect(code(answer.text) == "unauthorized")
            }
        }
        for header in ["Basic YTpi", "Bearer", "Bearer admin-token x", "admin-token"] {
            let answer = try await api.call(.get, "/hold", token: nil, headers: [.authorization: header])
            #expect(answer.status == 401)
        }
        #expect(try await api.store.currentRevision() == .zero, "nobody's calls leave nothing behind")
        #expect(try await api.call(.get, "/health", token: nil).status == 200)
        #expect(try await api.call(.get, "/health", token: "wrong").status == 401)
    }

    @Test func unknownPathsAreJSONErrors() async throws {
        let answer = try await TestAPI().call(.get, "/nowhere")
        #expect(answer.status == 404)
        #expect(code(answer.text) == "no_such_path")
    }

    @Test func bodiesAreDecodedOrTheFieldIsNamed() async throws {
        let api = try TestAPI()
        let good = try await api.call(.post, "/echo", body: #"{"name":"a","disks":[{"size":1}],"new":true}"#)
        #expect(good.status == 200)
        #expect(good.text == #"{"disks":[{"size":1}],"name":"a"}"#)
        let wrong = [
            (#"{"disks":[]}"#, "The field 'name' is missing."),
            (#"{"name":7,"disks":[]}"#, "The field 'name' must be a text."),
            (#"{"name":"a","disks":[{"size":1},{"size":"x"}]}"#, "The field 'disks[1].size' must be a whole number."),
            (#"{"name":null,"disks":[]}"#, "The field 'name' is null and must be a text."),
            (#"{"name":"#, "The body is not valid JSON."), ("", "The body is not valid JSON."),
        ]
        for (body, message) in wrong {
            let answer = try await api.call(.post, "/echo", body: body)
            #expect(answer.status == 400)
            let decoded = try JSONDecoder().decode(APIErrorBody.self, from: Data(answer.text.utf8))
            #expect(decoded.error == .init(code: "invalid_body", message: message))
        }
    }

    @Test func largeAndForeignBodiesAreRefused() async throws {
        let api = try TestAPI()
        let large = try await api.call(.post, "/echo", body: String(repeating: " ", count: 1001))
        #expect(large.status == 413)
        let announced = try await api.call(.post, "/echo", headers: [.contentLength: "99999999"])
        #expect(announced.status == 413)
        #expect(code(announced.text) == "too_large")
        let form = try await api.call(.post, "/echo", body: "a=b", headers: [.contentType: "text/plain"])
        #expect(form.status == 415)
        let json = try await api.call(
            .post, "/echo", body: #"{"name":"a","disks":[]}"#,
            headers: [.contentType: "application/json; charset=utf-8"])
        #expect(json.status == 200)
    }

    @Test func internalErrorsTellNothingButTheRequest() async throws {
        let answer = try await TestAPI().call(.get, "/secret-failure", headers: [.requestID: "abc-1"])
        #expect(answer.status == 500)
        #expect(!answer.text.contains("hunter2"))
        #expect(answer.text.contains("under request abc-1"))
        #expect(answer.headers[.requestID] == "abc-1")
        let conflict = try await TestAPI().call(.get, "/conflict", headers: [.requestID: "bad id\u{7f}"])
        #expect(conflict.status == 409)
        #expect(conflict.headers[.requestID] != "bad id\u{7f}")
    }

    @Test func `what a frozen store refuses is answered, and said quietly`() async throws {
        let api = try TestAPI()
        await api.store.move(to: .readOnly)
        for path in ["/write", "/seal"] {
            let answer = try await api.call(.post, path)
            #expect(answer.status == 503 && code(answer.text) == "store_frozen")
            #expect(answer.headers[.retryAfter] == "5")
        }
        let lines = api.log.all
        #expect(lines.count { $0.hasPrefix("debug request failed cause=the site moves") } == 2, "\(lines)")
        #expect(lines.contains { $0.hasPrefix("debug audit event lost") }, "\(lines)")
        #expect(!lines.contains { $0.hasPrefix("warning") || $0.hasPrefix("error") }, "\(lines)")
        // Whom the policy has refused is told of wherever it can be.
        #expect(try await api.call(.post, "/approve", token: "reader-token").status == 403)
        #expect(api.log.all.contains { $0.hasPrefix("error audit event lost") })
        #expect(try await api.call(.get, "/secret-failure").status == 500)
        #expect(api.log.all.contains { $0.hasPrefix("error request failed") })
    }

    @Test func readsAndOrdersWaitForTheBarrier() async throws {
        let api = try TestAPI()
        _ = try await api.call(.get, "/hold")
        #expect(api.barrierCount.value.withLock { $0 } == 1)
        _ = try await api.call(.post, "/approve")
        #expect(api.barrierCount.value.withLock { $0 } == 2)
    }

    @Test func tooManyAtOnceAreSentAway() async throws {
        let (entered, enter) = AsyncStream.makeStream(of: Void.self)
        let (released, release) = AsyncStream.makeStream(of: Void.self)
        let api = try TestAPI(concurrencyMax: 1) {
            enter.yield()
            for await _ in released { return }
        }
        try await withThrowingTaskGroup(of: Int.self) { group in
            group.addTask { try await api.call(.get, "/hold").status }
            for await _ in entered { break }
            let second = try await api.call(.get, "/health", token: nil)
            #expect(second.status == 503)
            #expect(second.headers[.retryAfter] == "1")
            release.yield()
            #expect(try await group.next() == 200)
        }
        #expect(try await api.call(.get, "/health", token: nil).status == 200)
    }

    @Test func everyMutationLeavesOneEvent() async throws {
        let api = try TestAPI()
        #expect(try await api.call(.post, "/approve", headers: [.requestID: "r1"]).status == 200)
        #expect(try await api.call(.post, "/approve", token: "reader-token").status == 403)
        #expect(try await api.call(.post, "/fail").status == 409)
        let events = try await api.audit.events().events.map(\.spec)
        #expect(events.map(\.outcome) == [.ok, .denied, .failed(message: "It is in maintenance.")])
        #expect(events.map(\.who) == ["operator:ann", "operator:rob", "operator:ann"])
        #expect(events.map(\.verb) == ["approve", "approve", "power"])
        let first = try #require(events.first)
        #expect(first.requestID == "r1")
        #expect(first.resource == ResourceKey(kind: "baremetal.node", name: "n1"))
        #expect(first.before != nil && first.after != nil)
        #expect(first.summary == #"spec.password: ***, spec.role: null → "network""#)
    }
}
