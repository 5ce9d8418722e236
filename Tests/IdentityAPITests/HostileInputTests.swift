import CatalogIdentity
import HTTPTypes
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import Synchronization
import Testing

@testable import IdentityAPI
import TestSupport

/// What clients send that is wrong, large, strange or at the same moment.
@Suite struct HostileInputTests {
    @Test func `of a thousand who take one name at once, one gets it`() async throws {
        try await withCloud { cloud in
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<1000 {
                    group.addTask { try await cloud.call(.post, "/projects", ["project": ["name": "one"]]).status }
                }
                return try await group.reduce(into: [:]) { counts, status in counts[status, default: 0] += 1 }
            }
            #expect(statuses == [201: 1, 409: 999])
            let found = try await cloud.call(.get, "/projects?name=one")
            #expect(found["projects"].array?.count == 1)
        }
    }

    @Test func `names of all scripts and of the full length are kept, empty and longer ones refused`() async throws {
        try await withCloud { cloud in
            for name in ["Zoë 🦊 проект", String(repeating: "é", count: 255), "a\"b\\c\u{1}", "%2F"] {
                let id = try await cloud.make("/users", "user", ["name": .string(name)])
                #expect(try await cloud.call(.get, "/users/\(id)")["user/name"].string == name)
            }
            for name in ["", "   ", String(repeating: "x", count: 256)] {
                #expect(try await cloud.call(.post, "/users", ["user": ["name": .string(name)]]).status == 400)
            }
            #expect(try await cloud.call(.post, "/users", ["user": ["name": 7]]).status == 400)
            #expect(try await cloud.call(.post, "/users", ["user": [:]]).status == 400)
            #expect(try await cloud.call(.post, "/users", [:]).status == 400)
        }
    }

    @Test func `pages of a list are all of it, each once`() async throws {
        try await withCloud { cloud in
            for number in 0..<7 { _ = try await cloud.make("/groups", "group", ["name": .string("g\(number)")]) }
            var seen: [String] = []
            var next: String? = "/groups?limit=3"
            while let path = next {
                let page = try await cloud.call(.get, path)
                seen += (page["groups"].array ?? []).compactMap { $0["name"]?.string }
                next = page["links/next"].string.map { String($0.split(separator: "/v3", maxSplits: 1).last ?? "") }
            }
            #expect(seen.sorted() == (0..<7).map { "g\($0)" })
        }
    }

    @Test func `a domain goes with all that is in it, and a deletion that broke off is gone on with`() async throws {
        try await withCloud { cloud in
            let domain = try await cloud.make("/domains", "domain", ["name": "full"])
            for number in 0..<120 {
                _ = try await cloud.make(
                    "/users", "user", ["name": .string("u\(number)"), "domain_id": .string(domain)])
            }
            let parent = try await cloud.make("/projects", "project", ["name": "p", "domain_id": .string(domain)])
            _ = try await cloud.make(
                "/projects", "project", ["name": "q", "parent_id": .string(parent), "domain_id": .string(domain)])
            _ = try await cloud.user(role: "member", in: parent)
            #expect(try await cloud.call(.delete, "/domains/\(domain)").status == 403, "it is on")
            #expect(try await cloud.call(.patch, "/domains/\(domain)", ["domain": ["enabled": false]]).status == 200)

            // The conductor ends when the second part is to be written.
            var broken = cloud.backend
            broken.store = HookedStore(cloud.store, beforeCommit: 3) {
                throw StoreError.unavailable("the disk is gone")
            }
            #expect(try await cloud.with(broken).call(.delete, "/domains/\(domain)").status == 503)
            #expect(try await cloud.call(.get, "/domains/\(domain)").status == 404, "it is out of sight")
            #expect(try await cloud.call(.get, "/projects/\(parent)").status == 404)
            #expect(
                try await cloud.call(.post, "/domains", ["domain": ["name": "full"]]).status == 409,
                "it is not gone yet")

            try await IdentityUpkeep(backend: cloud.backend).sweep()
            let left = try await cloud.store.list(kind: nil, after: nil, limit: 500).documents
            #expect(
                !left.contains {
                    String(decoding: $0.value, as: UTF8.self).contains(domain) && !$0.key.kind.contains("audit")
                })
            #expect(try await cloud.call(.post, "/domains", ["domain": ["name": "full"]]).status == 201)
        }
    }

    @Test func `of two who take a tree away, the later one frees no name that was taken again`() async throws {
        try await withCloud { cloud in
            let domain = try await cloud.make("/domains", "domain", ["name": "full", "enabled": false])
            // The second one goes on with the deletion, and somebody takes the name, before the first one's commit.
            var late = cloud.backend
            let again = Mutex("")
            late.store = HookedStore(cloud.store, beforeCommit: 2) {
                try await DeletedTrees(backend: cloud.backend).finishAll()
                let id = try await cloud.make("/domains", "domain", ["name": "full"])
                again.withLock { $0 = id }
            }
            #expect(try await cloud.with(late).call(.delete, "/domains/\(domain)").status == 204)
            #expect(again.withLock { $0 } != "")
            #expect(try await cloud.call(.post, "/domains", ["domain": ["name": "full"]]).status == 409)
            #expect(try await cloud.call(.get, "/domains?name=full")["domains"].array?.count == 1)
        }
    }

    @Test func `nothing is put into a tree that is being taken away`() async throws {
        try await withCloud { cloud in
            let domain = try await cloud.make("/domains", "domain", ["name": "full", "enabled": false])
            let user = try await cloud.make("/users", "user", ["name": "u", "domain_id": .string(domain)])
            let group = try await cloud.make("/groups", "group", ["name": "g", "domain_id": .string(domain)])
            // The domain is marked as going away after the membership was planned, and before it is written.
            var late = cloud.backend
            late.store = HookedStore(cloud.store, beforeCommit: 1) {
                var stored = try await cloud.store.fetch(Project.self, domain)
                stored?.value.spec.deleting = cloud.clock.now
                if let stored {
                    let revision = try await cloud.store.commit(Transaction(operations: [try stored.put()]))
                    try await cloud.cache.wait(for: revision)
                }
            }
            #expect(try await cloud.with(late).call(.put, "/groups/\(group)/users/\(user)").status == 404)
            #expect(try await cloud.store.list(kind: Membership.kind, after: nil, limit: 9).documents.isEmpty)
        }
    }

    @Test func `roles that imply each other in a circle are refused`() async throws {
        try await withCloud { cloud in
            var ids: [String] = []
            for name in ["a", "b", "c"] { ids.append(try await cloud.make("/roles", "role", ["name": .string(name)])) }
            #expect(try await cloud.call(.put, "/roles/\(ids[0])/implies/\(ids[1])").status == 201)
            #expect(try await cloud.call(.put, "/roles/\(ids[1])/implies/\(ids[2])").status == 201)
            #expect(try await cloud.call(.put, "/roles/\(ids[2])/implies/\(ids[0])").status == 403)
            #expect(try await cloud.call(.put, "/roles/\(ids[0])/implies/\(ids[0])").status == 403)
        }
    }
}

/// A store in which something happens before one of its commits: it fails from then on, or somebody else is faster.
private final class HookedStore: ResourceStore {
    private let real: any ResourceStore
    private let left: Mutex<Int>
    private let hook: @Sendable () async throws -> Void

    /// Has `hook` run before the commit of this number, from 1; a `StoreError` of it is what that one and all later throw.
    init(_ real: any ResourceStore, beforeCommit number: Int, _ hook: @escaping @Sendable () async throws -> Void) {
        self.real = real
        left = Mutex(number)
        self.hook = hook
    }

    func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
        let isHooked = left.withLock { left in
            left -= 1
            return left == 0
        }
        if isHooked {
            do { try await hook() } catch {
                left.withLock { $0 = 1 }
                throw error as? StoreError ?? .unavailable("\(error)")
            }
        }
        return try await real.commit(transaction)
    }

    func currentRevision() async throws(StoreError) -> Revision { try await real.currentRevision() }
    func get(_ key: ResourceKey) async throws(StoreError) -> Document? { try await real.get(key) }
    func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
        try await real.list(kind: kind, after: after, limit: limit)
    }
    func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
        await real.watch(after: revision)
    }
    func compact(through revision: Revision) async throws(StoreError) { try await real.compact(through: revision) }
    func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID {
        try await real.grantLease(timeToLive: timeToLive)
    }
    func renewLease(_ lease: LeaseID) async throws(StoreError) { try await real.renewLease(lease) }
    func revokeLease(_ lease: LeaseID) async throws(StoreError) { try await real.revokeLease(lease) }
}
