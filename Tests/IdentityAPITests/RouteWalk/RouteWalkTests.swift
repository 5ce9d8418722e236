import APIConformance
import APISupport
import FoundationEssentials
import HTTPTypes
import Hummingbird
import IdentityAPI
import NIOCore
import Primitives
import TestSupport
import Testing

/// Every route of the identity API × every sort of caller × what it is about, against the table
/// `Tests/Golden/routes/identity.txt`.
///
/// Each call goes through the router and its handler; only that what would be written is not, so that all calls meet the
/// same world. `MUSTER_REGENERATE_GOLDEN=1` writes the table.
@Suite struct RouteWalkTests {
    private static let head = """
        # Who is answered what by the identity API: one line for each route and object, one column for each caller.
        # A call that would be carried out has the status that it would have then; nothing is written.
        #
        # Callers: no-token, garbage, expired, revoked; unscoped; s-, d-, p- and a role: that role in the system, in domain-1,
        # in its project-1; pb-member: a member of project-1b in domain-1; d2-manager: the manager of domain-2.
        # Objects: own: the caller's own, and project-1, domain-1; domain: somebody else's of domain-1, and project-1b;
        # other: those of domain-2; missing: identifiers of nothing. What is the same for a route is left out.

        """

    @Test(.timeLimit(.minutes(2))) func `every route decides as the table says`() async throws {
        try await withCloud { cloud in
            let world = try await WalkedWorld(cloud)
            var backend = cloud.backend
            backend.store = RehearsedStore(real: cloud.store)
            let rehearsal = cloud.with(backend)
            let blocks = try await withThrowingTaskGroup(of: (Int, [String]).self) { group in
                for (index, route) in KeystoneAPI.routes.enumerated() {
                    group.addTask { (index, try await Self.lines(of: route, world, rehearsal)) }
                }
                return try await group.reduce(into: [Int: [String]]()) { $0[$1.0] = $1.1 }
            }
            let lines = blocks.sorted { $0.key < $1.key }.flatMap(\.value)
            let columns = world.callers.map(\.name).joined(separator: " ")
            try GoldenFile.compare(
                Self.head + "# Columns: \(columns)\n\n" + lines.joined(separator: "\n") + "\n",
                with: "routes/identity.txt")
        }
    }

    private static func lines(
        of route: APIRoute<IdentityBackend>, _ world: WalkedWorld, _ cloud: CloudScene
    ) async throws -> [String] {
        let calls = WalkedCalls(world: world)
        var lines: [String] = []
        for query in WalkedCalls.queries(of: route) {
            var walked: Set<[WalkedCall]> = []
            for object in WalkedCalls.objects(of: route) {
                let row = try world.callers.map { try calls.call(route, query, object, $0) }
                guard walked.insert(row).inserted else { continue }
                var statuses: [String] = []
                for (caller, call) in zip(world.callers, row) {
                    statuses.append(String(try await status(route, call, object, caller, cloud)))
                }
                lines.append(
                    "\(route.method) \(route.path)\(query) [\(object.label)] \(statuses.joined(separator: " "))")
            }
        }
        return lines
    }

    /// The status of a call; of one that came so far as to write something, the route's own.
    private static func status(
        _ route: APIRoute<IdentityBackend>, _ call: WalkedCall, _ object: WalkedObject, _ caller: WalkingCaller,
        _ cloud: CloudScene
    ) async throws -> Int {
        var headers = HTTPFields()
        if let token = caller.token { headers[HTTPField.Name("X-Auth-Token")!] = token }
        if let subject = call.subject { headers[HTTPField.Name("X-Subject-Token")!] = subject }
        if call.body != nil { headers[.contentType] = "application/json" }
        let answer: CloudScene.Answer
        do {
            answer = try await cloud.send(
                route.method, call.path, RequestBody(buffer: ByteBuffer(bytes: call.body?.text ?? [])), headers)
        } catch let fault as ServiceFault {
            Issue.record("\(fault)")
            return route.status.code
        }
        if answer.status == 410 { return route.status.code }
        // A body that the route does not take would hide what it decides.
        let mayBeBad = object.label == "missing" || object.label.hasSuffix("domain-role") || caller.name == "unscoped"
        let isBad = answer.status >= 500 || answer.status == 400 && !mayBeBad
        #expect(!isBad, "\(route.method) \(call.path) of \(caller.name): \(answer.status) \(answer.text)")
        return answer.status
    }
}
