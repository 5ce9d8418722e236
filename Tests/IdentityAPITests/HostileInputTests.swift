import HTTPTypes
import Hummingbird
import NIOCore
import Primitives
import ResourceModel
import StoreMemory
import Synchronization
import Testing

@testable import IdentityAPI
import TestSupport

/// What clients send that is wrong, large, strange or at the same moment.
@Suite struct HostileInputTests {
    private static func headers(_ cloud: CloudScene, _ type: String = "application/json") -> HTTPFields {
        var fields = HTTPFields()
        fields[HTTPField.Name("X-Auth-Token")!] = cloud.admin
        fields[.contentType] = type
        return fields
    }

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

    @Test func `bodies that are no JSON, too deep, too large or of another type are refused by what they are`()
        async throws
    {
        try await withCloud { cloud in
            func status(_ text: String, _ type: String = "application/json") async throws -> Int {
                try await cloud.send(
                    .post, "/v3/users", RequestBody(buffer: ByteBuffer(string: text)), Self.headers(cloud, type)
                ).status
            }
            #expect(try await status("{") == 400)
            #expect(try await status("") == 400)
            #expect(try await status("[]") == 400)
            #expect(try await status("\u{FEFF}nonsense") == 400)
            let deep = String(repeating: "[", count: 600) + String(repeating: "]", count: 600)
            #expect(try await status("{\"user\":{\"name\":\"x\",\"deep\":\(deep)}}") == 400)
            #expect(try await status("{\"user\":{\"name\":\"x\"}}", "text/xml") == 415)
            let large = String(repeating: "x", count: 200_000)
            #expect(try await status("{\"user\":{\"name\":\"x\",\"description\":\"\(large)\"}}") == 413)
            let chunks = RequestBody(asyncSequence: Chunks(count: 200))
            let endless = try await cloud.send(.post, "/v3/users", chunks, Self.headers(cloud))
            #expect(endless.status == 413)
            #expect(try await cloud.call(.get, "/users?name=x")["users"].array?.isEmpty == true)
        }
    }

    @Test func `queries that say a thing twice, wrongly or too often are answered, not obeyed`() async throws {
        try await withCloud { cloud in
            let twice = try await cloud.call(.get, "/users?name=admin&name=other")
            #expect(twice["users"].array?.isEmpty == true)
            #expect(try await cloud.call(.get, "/users?name=%zz").status == 400)
            #expect(try await cloud.call(.get, "/users?name=%ff").status == 400)
            #expect(try await cloud.call(.get, "/users?limit=0").status == 400)
            #expect(try await cloud.call(.get, "/users?limit=x").status == 400)
            #expect(try await cloud.call(.get, "/users?marker=none").status == 400)
            let many = (0..<100).map { "a\($0)=1" }.joined(separator: "&")
            #expect(try await cloud.call(.get, "/users?\(many)").status == 400)
            #expect(try await cloud.call(.get, "/nothing").status == 404)
            #expect(try await cloud.call(.put, "/users").status == 405)
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
            broken.store = FailingStore(cloud.store, after: 2)
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

/// A body without a stated length.
private struct Chunks: AsyncSequence, Sendable {
    let count: Int

    struct Iterator: AsyncIteratorProtocol {
        var left: Int
        mutating func next() async throws -> ByteBuffer? {
            guard left > 0 else { return nil }
            left -= 1
            return ByteBuffer(string: String(repeating: " ", count: 1024))
        }
    }

    func makeAsyncIterator() -> Iterator { Iterator(left: count) }
}

/// A store that takes some commits and then none, as when its disk is gone.
private final class FailingStore: ResourceStore {
    private let real: any ResourceStore
    private let left: Mutex<Int>

    init(_ real: any ResourceStore, after count: Int) {
        self.real = real
        left = Mutex(count)
    }

    func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
        let isTaken = left.withLock { left in
            left -= 1
            return left >= 0
        }
        guard isTaken else { throw .unavailable("the disk is gone") }
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
