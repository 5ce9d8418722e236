import Primitives
import Testing

/// A real conductor, and many who want the same at once.
@Suite struct CloudCrowdTests {
    private static let workerCount = 16
    private static let callCount = 1008

    /// What everybody wants, and where it can be seen.
    private struct Wanted: Sendable {
        var path: String
        var body: JSONValue
        var list: String
        var member: String
    }

    @Test(.timeLimit(.minutes(3)))
    func `of a thousand who take one name over many connections, one gets it`() async throws {
        let wanted = [
            Wanted(
                path: "/identity/v3/users", body: ["user": ["name": "one"]], list: "/identity/v3/users?name=one",
                member: "users"),
            Wanted(
                path: "/identity/v3/projects", body: ["project": ["name": "one"]],
                list: "/identity/v3/projects?name=one", member: "projects"),
            Wanted(
                path: "/baremetal/v1/nodes", body: ["driver": "fake-hardware", "name": "one"],
                list: "/baremetal/v1/nodes", member: "nodes"),
        ]
        try await CloudBed.with("cloud-crowd") { bed in
            for one in wanted { try await Self.rush(one, bed) }
        }
    }

    private static func rush(_ wanted: Wanted, _ bed: CloudBed) async throws {
        let statuses = try await withThrowingTaskGroup(of: [Int].self) { group in
            for _ in 0..<workerCount { group.addTask { try await take(wanted, bed) } }
            var all: [Int] = []
            for try await part in group { all += part }
            return all
        }
        let counts = Dictionary(grouping: statuses) { $0 }.mapValues(\.count)
        #expect(counts == [201: 1, 409: callCount - 1], "\(wanted.path)")
        let found = try await bed.insist("GET", wanted.list).body[wanted.member]?.array ?? []
        #expect(found.filter { $0["name"]?.string == "one" }.count == 1, "\(wanted.path)")
    }

    private static func take(_ wanted: Wanted, _ bed: CloudBed) async throws -> [Int] {
        var statuses: [Int] = []
        for _ in 0..<callCount / workerCount {
            statuses.append(try await bed.insist("POST", wanted.path, wanted.body).status)
        }
        return statuses
    }
}
