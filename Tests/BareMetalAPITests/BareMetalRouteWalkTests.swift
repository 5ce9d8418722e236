import APIConformance
import APISupport
import BareMetalAPI
import HTTPTypes
import Primitives
import TestSupport
import Testing

/// Every route of the bare-metal API × every sort of caller × whose node it is about, against the table
/// `Tests/Golden/routes/baremetal.txt`.
///
/// Each call goes through the router and its handler; only that what would be written is not.
/// `MUSTER_REGENERATE_GOLDEN=1` writes the table.
@Suite struct BareMetalRouteWalkTests {
    private static let head = """
        # Who is answered what by the bare-metal API: one line for each route and node, one column for each caller.
        # A call that would be carried out has the status that it would have then; nothing is written.
        #
        # Callers: none, bad: without a token, with one that is not valid; s-ROLE: in the system; p-ROLE: in a project.
        # Nodes: own: that project's; lent: lent to it; other: another's; missing: none.

        """

    private static let roles = [
        ("reader", "reader"), ("member", "member,reader"), ("manager", "manager,member,reader"),
        ("admin", "admin,manager,member,reader"), ("service", "service"),
    ]

    private static var callers: [(name: String, token: String?)] {
        [("none", nil), ("bad", "nobody")]
            + [("s", "system"), ("p", World.project)].flatMap { place, scope in
                roles.map { ("\(place)-\($0.0)", "\($0.1)@\(scope)") }
            }
    }

    @Test(.timeLimit(.minutes(2))) func everyRouteDecidesAsTheTableSays() async throws {
        try await withBareMetal { fixture in
            let world = try await World(fixture)
            let rehearsal = try fixture.with(RehearsedStore(real: fixture.store))
            var lines: [String] = []
            for route in IronicAPI.routes where route.path.isEmpty || route.path.hasPrefix("/v1") {
                let isAboutNode = !route.parameters.isEmpty || route.method == .post && route.path == "/v1/ports"
                let sorts = isAboutNode ? World.sorts : ["-"]
                for sort in sorts {
                    var statuses: [String] = []
                    for caller in Self.callers {
                        statuses.append(
                            "\(try await status(route, world.call(route, about: sort), caller.token, rehearsal))")
                    }
                    lines.append("\(route.method) \(route.path) [\(sort)] \(statuses.joined(separator: " "))")
                }
            }
            let columns = Self.callers.map(\.name).joined(separator: " ")
            try GoldenFile.compare(
                Self.head + "# Columns: \(columns)\n\n" + lines.joined(separator: "\n") + "\n",
                with: "routes/baremetal.txt")
        }
    }

    /// The status of a call; of one that came so far as to write something, the route's own.
    private func status(
        _ route: APIRoute<BareMetalBackend>, _ call: (path: String, body: JSONValue?), _ token: String?,
        _ fixture: BareMetalFixture
    ) async throws -> Int {
        let answer = try await fixture.call(route.method, call.path, call.body, token: token)
        if answer.status == 410 { return route.status.code }
        // A body that the route does not take would hide what it decides; a node that nobody may see is a wrong one.
        let mayBeBad = route.method == .post && route.path == "/v1/ports"
        #expect(
            answer.status < 500 && (answer.status != 400 || mayBeBad), "\(route.method) \(call.path): \(answer.body)")
        return answer.status
    }
}

/// Nodes of several projects with a port each, and a chassis.
private struct World {
    static let project = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    private static let another = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
    static let sorts = ["own", "lent", "other", "missing"]
    private static let nothing = "00000000-0000-4000-8000-000000000000"

    private var nodes: [String: String] = [:]
    private var ports: [String: String] = [:]
    private let chassis: String

    init(_ fixture: BareMetalFixture) async throws {
        let members: [(String, [String: JSONValue])] = [
            ("own", ["owner": .string(Self.project)]),
            ("lent", ["owner": .string(Self.another), "lessee": .string(Self.project)]),
            ("other", ["owner": .string(Self.another)]),
        ]
        for (index, (sort, members)) in members.enumerated() {
            let node = try await fixture.makeNode(members)
            nodes[sort] = node
            let port = try await fixture.call(
                .post, "/v1/ports", ["node_uuid": .string(node), "address": .string("52:54:00:00:01:0\(index)")])
            ports[sort] = port.body["uuid"]?.string
            _ = try await fixture.call(.put, "/v1/nodes/\(node)/traits/CUSTOM_A")
        }
        try await fixture.addConductor("conductor-1")
        chassis = try await fixture.call(.post, "/v1/chassis", [:]).body["uuid"]?.string ?? ""
    }

    /// A call of a route about the things of one sort.
    func call(_ route: APIRoute<BareMetalBackend>, about sort: String) -> (path: String, body: JSONValue?) {
        let node = nodes[sort] ?? Self.nothing
        let path = route.path.replacing("{node_ident}", with: node)
            .replacing("{port_id}", with: ports[sort] ?? Self.nothing)
            .replacing("{chassis_uuid}", with: sort == "missing" ? Self.nothing : chassis)
            .replacing("{driver_name}", with: sort == "missing" ? "nothing" : "fake-hardware")
            .replacing("{hostname}", with: sort == "missing" ? "nothing" : "conductor-1")
            .replacing("{trait}", with: "CUSTOM_A")
        return (path, body(of: route, node))
    }

    private func body(of route: APIRoute<BareMetalBackend>, _ node: String) -> JSONValue? {
        switch (route.method, route.path) {
        case (.post, "/v1/nodes"): ["driver": "fake-hardware"]
        case (.post, "/v1/ports"): ["node_uuid": .string(node), "address": "52:54:00:00:02:00"]
        case (.post, "/v1/chassis"): [:]
        case (.patch, _): [["op": "add", "path": "/extra/a", "value": 1]]
        case (.put, let path) where path.hasSuffix("/power"): ["target": "power on"]
        case (.put, let path) where path.hasSuffix("/provision"): ["target": "manage"]
        case (.put, let path) where path.hasSuffix("/maintenance"): ["reason": "a disk"]
        case (.put, let path) where path.hasSuffix("/traits"): ["traits": ["CUSTOM_B"]]
        default: nil
        }
    }
}
