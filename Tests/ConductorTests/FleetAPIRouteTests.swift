import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import FleetAPI
import HTTPTypes
import Identity
import Primitives
import Synchronization
import Testing

@Suite struct FleetAPIRouteTests {
    /// Who may call what; a new route must be put here with those who may.
    private static let table: [String: [OperatorRole]] = {
        let everybody: [OperatorRole] = [.admin, .member, .reader]
        let workers: [OperatorRole] = [.admin, .member]
        var table: [String: [OperatorRole]] = [:]
        let read = [
            "nodes", "nodes/{node}", "nodes/{node}/inventory", "nodes/{node}/why", "nodes/{node}/explain",
            "nodes/{node}/events", "nodes/{node}/logs", "top", "watch", "events", "bmcs", "bmcs/{bmc}", "segments",
            "segments/{segment}/events", "leases", "rules", "conflicts", "images", "authority", "conductors",
            "controllers",
            "controllers/plan",
        ]
        for path in read { table["GET /fleet/v1/\(path)"] = everybody }
        for path in ["/metrics", "/metrics/nodes/{node}", "/metrics/http_sd"] { table["GET \(path)"] = everybody }
        for path in ["validate", "explain"] { table["POST /fleet/v1/site/\(path)"] = everybody }
        table["POST /fleet/v1/blobs/missing"] = everybody
        table["GET /fleet/v1/nodes/{node}/console"] = workers
        for verb in ["approve", "console", "deploy", "clean", "rescue", "unrescue", "power"] {
            table["POST /fleet/v1/nodes/{node}/\(verb)"] = workers
        }
        table["PATCH /fleet/v1/nodes/{node}"] = workers
        for path in ["nodes/{node}", "conflicts/{conflict}"] { table["DELETE /fleet/v1/\(path)"] = workers }
        let administration = [
            "DELETE /fleet/v1/conductors/{conductor}", "GET /fleet/v1/tokens", "POST /fleet/v1/tokens/{operator}",
            "POST /fleet/v1/tokens/{operator}/rotate",
            "POST /fleet/v1/tokens/{operator}/revoke", "GET /fleet/v1/audit", "POST /fleet/v1/authority/rotate",
            "GET /fleet/v1/policy/rules", "GET /fleet/v1/policy/explain",
            "POST /fleet/v1/nodes/{node}/revoke-certificate", "POST /fleet/v1/site/check",
            "POST /fleet/v1/bmcs/{bmc}/power",
            "POST /fleet/v1/bmcs/{bmc}/approve", "POST /fleet/v1/bmcs/{bmc}/rotate-password", "PUT /fleet/v1/site",
            "PUT /fleet/v1/controllers", "POST /fleet/v1/controllers/pivot", "DELETE /fleet/v1/controllers/pivot",
            "POST /fleet/v1/blobs",
            "PUT /fleet/v1/images/{image}", "PUT /fleet/v1/ramdisks/{ramdisk}", "PUT /fleet/v1/blobs/{digest}",
        ]
        for route in administration { table[route] = [.admin] }
        return table
    }()

    private static func concrete(_ path: String) -> String {
        path.split(separator: "/").map { part in
            switch part {
            case "{node}": "n1"
            case "{segment}", "{bmc}", "{image}", "{ramdisk}", "{conflict}", "{conductor}", "{operator}": "x1"
            case "{digest}": String(repeating: "0", count: 64)
            default: String(part)
            }
        }.reduce("") { $0 + "/" + $1 }
    }

    @Test func aConductorWithoutItsStoreSaysSoAtOnceAndTheVersionWaitsForNoBarrier() async throws {
        let isThere = Flag()
        try await withFleet(reachesStore: { isThere.value }) { fleet in
            let token = fleet.tokens[.admin]
            #expect(try await fleet.raw("GET", "/fleet/v1", token: nil).status == 200)
            #expect(try await fleet.raw("GET", "/fleet/v1/nodes", token: token).status == 200)
            isThere.value = false
            let version = try await fleet.raw("GET", "/fleet/v1", token: nil)
            #expect(version.status == 503 && version.body.contains("store_unreachable"), "\(version.body)")
            #expect(try await fleet.raw("GET", "/fleet/v1/nodes", token: token).status == 503)
        }
    }

    private final class Flag: Sendable {
        private let state = Mutex(true)
        var value: Bool {
            get { state.withLock { $0 } }
            set { state.withLock { $0 = newValue } }
        }
    }

    @Test func everyRouteAsksWhoIsThere() async throws {
        let routes = Set(OperatorAPI.routes.map { "\($0.method.rawValue) \($0.path)" })
        #expect(routes == Set(Self.table.keys).union(["GET /fleet/v1", "GET /fleet/v1/ready"]))
        try await withFleet { fleet in
            try await fleet.addNode("n1", number: 1)
            for route in OperatorAPI.routes where route.access != .open {
                let name = "\(route.method.rawValue) \(route.path)"
                let path = Self.concrete(route.path)
                let method = route.method.rawValue
                let body = method == "GET" ? nil : "{}"
                for token in [nil, "wrong", String(repeating: "0", count: 64)] {
                    let answer = try await fleet.raw(method, path, token: token, body: body)
                    #expect(answer.status == 401, "\(name) with \(token ?? "no token")")
                    #expect(answer.body.contains(#""code":"unauthorized""#), "\(name)")
                }
                for role in OperatorRole.allCases {
                    let status = try await fleet.raw(method, path, token: fleet.tokens[role], body: body).status
                    let may = Self.table[name]?.contains(role) ?? false
                    #expect((status != 401 && status != 403) == may, "\(name) as \(role): \(status)")
                    #expect(status < 500, "\(name) as \(role): \(status)")
                }
            }
        }
    }

    @Test func theVersionDocumentIsOpen() async throws {
        try await withFleet { fleet in
            let answer = try await fleet.raw("GET", "/fleet/v1", token: nil)
            #expect(answer.status == 200)
            #expect(answer.body == #"{"api":"/fleet/v1","product":"muster","revision":1,"version":"1.2.3"}"#)
            #expect(try await fleet.raw("GET", "/fleet/v1", token: "wrong").status == 401)
            #expect(try await fleet.raw("GET", "/fleet/v2", token: fleet.tokens[.admin]).status == 404)
            #expect(try await fleet.raw("DELETE", "/fleet/v1/nodes", token: fleet.tokens[.admin]).status >= 404)
        }
    }

    @Test func aRefusalIsAudited() async throws {
        try await withFleet { fleet in
            try await fleet.addNode("n1", number: 1)
            let reader = fleet.tokens[.reader]
            _ = try await fleet.raw("POST", "/fleet/v1/nodes/n1/approve", token: reader, body: #"{"role":"network"}"#)
            let events = try await fleet.audit.events().events
            #expect(events.map(\.spec.outcome) == [.denied])
            #expect(events.map(\.spec.who) == ["operator:test-reader"])
            #expect(events.map(\.spec.verb) == ["approve"])
        }
    }

    static let badRequests: [(method: String, path: String, body: String, status: Int)] = [
        ("POST", "nodes/n1/approve", "", 400),
        ("POST", "nodes/n1/approve", "[", 400),
        ("POST", "nodes/n1/approve", "[]", 400),
        ("POST", "nodes/n1/approve", #"{"role":"router"}"#, 400),
        ("POST", "nodes/n1/approve", #"{"role":"network","name":"a\nb"}"#, 400),
        ("POST", "nodes/n1/approve", #"{"role":"network","image":"none"}"#, 409),
        ("POST", "nodes/n1/approve", "{}", 422),
        ("POST", "nodes/none/approve", "{}", 404),
        ("POST", "nodes/n1/deploy", "{}", 422),
        ("POST", "nodes/n1/clean", "{}", 400),
        ("POST", "nodes/n1/power", "{}", 400),
        ("POST", "nodes/n1/power", #"{"action":"explode"}"#, 400),
        ("POST", "nodes/n1/power", #"{"action":"on"}"#, 409),
        ("PATCH", "nodes/n1", "{}", 400),
        ("PATCH", "nodes/n1", #"{"bmc":"none"}"#, 422),
        ("PATCH", "nodes/n1", #"{"name":"n2"}"#, 409),
        ("PATCH", "nodes/n1", #"{"rootDisk":{"serial":"a\nb"}}"#, 400),
        ("PATCH", "nodes/n1", #"{"dataDisks":{"pool":"data","all":true,"matches":[{"serial":"S"}]}}"#, 400),
        ("POST", "bmcs/none/power", #"{"action":"on"}"#, 404),
        ("POST", "bmcs/none/rotate-password", "{}", 404),
        ("POST", "tokens/somebody", #"{"role":"root"}"#, 400),
        ("POST", "tokens/somebody", #"{"role":"reader","lifeSeconds":0}"#, 400),
        ("POST", "tokens/a%0Ab", #"{"role":"reader"}"#, 400),
        ("POST", "tokens/nobody/rotate", "{}", 404),
        ("POST", "tokens/test-reader/rotate", #"{"graceSeconds":604801}"#, 400),
        ("POST", "tokens/test-reader/rotate", #"{"graceSeconds":-1}"#, 400),
        ("POST", "tokens/nobody/revoke", "{}", 404),
        ("POST", "tokens/test-admin/revoke", "{}", 409),
        ("PUT", "controllers", "{}", 400),
        ("PUT", "controllers", #"{"controllers":["c1"]}"#, 409),
        ("GET", "controllers/plan?controllers=c1", "", 409),
        ("PUT", "site", "{}", 400),
        ("PUT", "site?dryRun=maybe", "{}", 400),
        ("PUT", "images/Bad", #"{"role":"network","manifest":"00"}"#, 400),
        ("PUT", "blobs/xyz", "abc", 400),
        ("GET", "nodes?limit=0", "", 400),
        ("GET", "nodes?state=happy", "", 400),
        ("GET", "nodes?role=router", "", 400),
        ("GET", "nodes?marker=x", "", 400),
        ("GET", "nodes/n1/inventory", "", 404),
        ("GET", "nodes/n1/console", "", 404),
        ("GET", "nodes/n1/console?since=yesterday", "", 400),
        ("GET", "nodes/n1/logs?boot=disk", "", 400),
        ("GET", "nodes/n1/logs?after=a:b:c", "", 400),
        ("GET", "nodes/n1/logs?since=-1", "", 400),
        ("GET", "top?limit=0", "", 400),
        ("GET", "nodes/n1/logs?source=kernel", "", 400),
        ("GET", "nodes/a%0Ab", "", 404),
        ("GET", "watch?since=x", "", 400),
        ("GET", "watch?since=999999", "", 400),
    ]

    @Test func badRequestsAreAnsweredClearly() async throws {
        try await withFleet { fleet in
            try await fleet.addNode("n1", number: 1)
            try await fleet.addNode("n2", number: 2)
            for (method, path, body, status) in Self.badRequests {
                let answer = try await fleet.raw(
                    method, "/fleet/v1/\(path)", token: fleet.tokens[.admin], body: method == "GET" ? nil : body)
                #expect(answer.status == status, "\(method) \(path) \(body): \(answer.body)")
                #expect(answer.body.contains(#""message":""#), "\(method) \(path)")
            }
        }
    }

    @Test func bodiesHaveATypeAndALimit() async throws {
        try await withFleet { fleet in
            try await fleet.addNode("n1", number: 1)
            let admin = fleet.tokens[.admin]
            let path = "/fleet/v1/nodes/n1/approve"
            let text = try await fleet.raw("POST", path, token: admin, body: "{}", contentType: "text/plain")
            #expect(text.status == 415)
            let long = #"{"name":""# + String(repeating: "a", count: 1 << 20) + #""}"#
            #expect(try await fleet.raw("POST", path, token: admin, body: long).status == 413)
        }
    }
}
