import CatalogIdentity
import HTTPTypes
import Hummingbird
import NIOCore
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import TestSupport
import Testing

/// What is encoded once is still what is there now.
@Suite struct EncodedAnswerTests {
    @Test func aListShowsEachChangeAtOnce() async throws {
        try await withCloud { cloud in
            let first = try await cloud.make("/users", "user", ["name": "first", "email": "a@example.org"])
            func emails() async throws -> [JSONValue] {
                try await cloud.call(.get, "/users?domain_id=default")["users"].array?.filter {
                    $0["name"] != "admin"
                }.map { $0["email"] ?? nil } ?? []
            }
            #expect(try await emails() == ["a@example.org"])
            _ = try await cloud.call(.patch, "/users/\(first)", ["user": ["email": "b@example.org"]])
            #expect(try await emails() == ["b@example.org"])
            _ = try await cloud.call(.delete, "/users/\(first)")
            #expect(try await emails() == [])
        }
    }

    @Test func aListsLinksAreOfTheAddressThatWasAsked() async throws {
        try await withCloud { cloud in
            for authority in ["cloud.example:9443", "10.0.0.1:9443", "cloud.example:9443"] {
                let answer = try await cloud.send(
                    .get, "/v3/roles", RequestBody(buffer: ByteBuffer()),
                    [HTTPField.Name("X-Auth-Token")!: cloud.admin], authority: authority)
                let links = try #require(answer["roles"].array).map { $0["links"]?["self"]?.string ?? "" }
                #expect(!links.isEmpty)
                #expect(links.allSatisfy { $0.hasPrefix("https://\(authority)/identity/v3/roles/") })
                #expect(answer["links/self"].string == "https://\(authority)/identity/v3/roles")
            }
        }
    }

    @Test func pagesOfAListAreTheWholeList() async throws {
        try await withCloud { cloud in
            let all = try await cloud.call(.get, "/roles")["roles"].array
            var (found, marker): ([JSONValue], String) = ([], "")
            for _ in 0..<20 {
                let page = try await cloud.call(.get, "/roles?limit=2\(marker.isEmpty ? "" : "&marker=\(marker)")")
                found += page["roles"].array ?? []
                guard page["links/next"].string != nil else { break }
                marker = found.last?["id"]?.string ?? ""
            }
            #expect(found == all)
            #expect(found.count > 4)
        }
    }

    @Test func aTokensAnswerLosesARoleAtOnce() async throws {
        try await withCloud { cloud in
            let project = try await cloud.make("/projects", "project", ["name": "home"])
            let (user, token) = try await cloud.user(role: "member", in: project)
            let reader = try await cloud.roleID("reader")
            let grant = "/projects/\(project)/users/\(user)/roles/\(reader)"
            let subject: HTTPFields = [HTTPField.Name("X-Subject-Token")!: token]
            func roles() async throws -> Set<String> {
                let answer = try await cloud.call(.get, "/auth/tokens", headers: subject)
                return Set(answer["token/roles"].array?.compactMap { $0["name"]?.string } ?? [])
            }
            // A member is a reader too.
            #expect(try await roles() == ["member", "reader"])
            #expect(try await roles() == ["member", "reader"])
            let manager = try await cloud.roleID("manager")
            _ = try await cloud.call(.put, "/projects/\(project)/users/\(user)/roles/\(manager)")
            #expect(try await roles() == ["manager", "member", "reader"])
            _ = try await cloud.call(.delete, "/projects/\(project)/users/\(user)/roles/\(manager)")
            #expect(try await roles() == ["member", "reader"])
            _ = try await cloud.call(.put, grant)
            let plain = try await cloud.call(.get, "/auth/tokens?nocatalog", headers: subject)
            #expect(plain["token/catalog"] == .null)
            #expect(try await cloud.call(.get, "/auth/tokens", headers: subject)["token/catalog"].array != nil)
        }
    }

    @Test func aTokensRolesEndWithTheMembershipThatTheyComeFrom() async throws {
        try await withCloud { cloud in
            let project = try await cloud.make("/projects", "project", ["name": "home"])
            let (user, token) = try await cloud.user(role: "reader", in: project)
            let group = try await cloud.make("/groups", "group", ["name": "guests"])
            let manager = try await cloud.roleID("manager")
            _ = try await cloud.call(.put, "/projects/\(project)/groups/\(group)/roles/\(manager)")
            var spec = MembershipSpec(groupID: group, userID: user)
            spec.expires = cloud.clock.now.advanced(by: .seconds(600))
            let made = Stored(new: Membership(name: spec.name, created: cloud.clock.now, spec: spec))
            _ = try await cloud.store.commit(Transaction(operations: [try made.put()]))
            try await cloud.cache.barrier()
            func roles() async throws -> Set<String> {
                let answer = try await cloud.call(
                    .get, "/auth/tokens", headers: [HTTPField.Name("X-Subject-Token")!: token])
                return Set(answer["token/roles"].array?.compactMap { $0["name"]?.string } ?? [])
            }
            #expect(try await roles() == ["manager", "member", "reader"])
            cloud.clock.advance(by: .seconds(599))
            #expect(try await roles() == ["manager", "member", "reader"])
            cloud.clock.advance(by: .seconds(1))
            #expect(try await roles() == ["reader"], "nothing was written meanwhile")
        }
    }
}
