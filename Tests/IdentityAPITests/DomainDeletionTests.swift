import CatalogIdentity
import HTTPTypes
import Identity
import Primitives
import ResourceModel
import StoreMemory
import Testing

@testable import IdentityAPI

/// A domain that is deleted while others write into it.
@Suite struct DomainDeletionTests {
    /// Makes things in a domain until it is gone; their identifiers.
    private static func fill(
        _ domain: String, _ collection: String, _ member: String, _ cloud: CloudScene
    ) async throws -> [String] {
        var ids: [String] = []
        for number in 0..<40 {
            let answer = try await cloud.call(
                .post, "/\(collection)",
                [member: ["name": .string("n\(number)"), "domain_id": .string(domain)]])
            guard let id = answer["\(member)/id"].string else { break }
            ids.append(id)
        }
        return ids
    }

    @Test func `nothing is left of a domain, whoever was writing into it`() async throws {
        try await withCloud { cloud in
            let outside = try await cloud.make("/projects", "project", ["name": "outside"])
            let group = try await cloud.make("/groups", "group", ["name": "outside"])
            let reader = try await cloud.roleID("reader")
            for round in 0..<6 {
                let domain = try await cloud.make("/domains", "domain", ["name": .string("d\(round)")])
                let user = try await cloud.make("/users", "user", ["name": "first", "domain_id": .string(domain)])
                let project = try await cloud.make(
                    "/projects", "project", ["name": "first", "domain_id": .string(domain)])
                let made = try await withThrowingTaskGroup(of: [String].self) { tasks in
                    for (collection, member) in [
                        ("users", "user"), ("groups", "group"), ("projects", "project"), ("roles", "role"),
                    ] {
                        tasks.addTask { try await Self.fill(domain, collection, member, cloud) }
                    }
                    for link in [
                        "/projects/\(outside)/users/\(user)/roles/\(reader)", "/groups/\(group)/users/\(user)",
                        "/domains/\(domain)/users/\(user)/roles/\(reader)",
                        "/projects/\(project)/users/\(user)/roles/\(reader)",
                    ] {
                        tasks.addTask {
                            for _ in 0..<40 {
                                for method in [HTTPRequest.Method.put, .delete, .put] {
                                    _ = try await cloud.call(method, link)
                                }
                            }
                            return []
                        }
                    }
                    tasks.addTask {
                        for _ in 0..<round * 3 { _ = try await cloud.call(.get, "/domains/\(domain)") }
                        _ = try await cloud.call(.patch, "/domains/\(domain)", ["domain": ["enabled": false]])
                        let answer = try await cloud.call(.delete, "/domains/\(domain)")
                        #expect(answer.status == 204, "\(answer.text)")
                        return []
                    }
                    return try await tasks.reduce(into: []) { $0 += $1 }
                }
                try await IdentityUpkeep(backend: cloud.backend).sweep()
                let ids = made + [domain, user, project]
                let left = try await cloud.documents().filter { document in
                    guard !document.key.kind.contains("audit") else { return false }
                    let text = document.key.name + String(decoding: document.value, as: UTF8.self)
                    return ids.contains { text.contains($0) }
                }
                #expect(left.isEmpty, "round \(round): \(left.map(\.key))")
            }
        }
    }
}

extension CloudScene {
    /// All that is stored.
    fileprivate func documents() async throws -> [Document] {
        var all: [Document] = []
        var after: ResourceKey?
        repeat {
            let page = try await store.list(kind: nil, after: after, limit: 500)
            all += page.documents
            after = page.hasMore ? page.documents.last?.key : nil
        } while after != nil
        return all
    }
}
