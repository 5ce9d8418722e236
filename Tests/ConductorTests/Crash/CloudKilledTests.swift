import CatalogBareMetal
import CatalogIdentity
import Foundation
import Identity
import Primitives
import ResourceModel
import StoreSQLite
import Synchronization
import Testing

/// The real conductor, killed with -9 at seeded random moments while clients write every noun of the cloud's APIs.
///
/// `MUSTER_CRASH_SEED=7,8 swift test --filter CloudKilledTests` takes other seeds.
@Suite(.serialized) struct CloudKilledTests {
    static let seeds =
        ProcessInfo.processInfo.environment["MUSTER_CRASH_SEED"].map {
            $0.split(separator: ",").compactMap { UInt64($0) }
        } ?? [20261, 20262]
    private static let writerCount = 4
    private static let killCount = 3

    @Test(.timeLimit(.minutes(3)), arguments: seeds)
    func `what was answered holds, and what was not is whole or absent`(seed: UInt64) async throws {
        try await CloudBed.with("cloud-killed-\(seed)") { bed in
            let nouns = CloudNoun.all(try await Self.base(bed))
            var random = SeededRandom(seed: seed)
            let writers = (0..<Self.writerCount).map { number in
                Task {
                    var writer = CloudWriter(bed, nouns, number: number, seed: seed)
                    try await writer.write()
                    return writer.things
                }
            }
            let domains = Task { try await Self.fillAndDeleteDomains(bed) }
            for _ in 0..<Self.killCount {
                try await Task.sleep(for: .milliseconds(Int.random(in: 200...1200, using: &random)))
                await bed.kill()
                try await bed.start()
            }
            try await Task.sleep(for: .milliseconds(300))
            bed.isOver.store(true, ordering: .relaxed)
            var things: [CloudWriter.Thing] = []
            for writer in writers { things += try await writer.value }
            let deleted = try await domains.value

            let unanswered = things.count(where: \.fate.isOpen)
            things = try await Self.settled(things, bed)
            try await Self.waitForDeletions(of: deleted, bed)
            await bed.kill()
            try await Self.check(bed, things)
            print(
                "seed \(seed): \(things.count) things, \(unanswered) without an answer, \(deleted.count) domains deleted"
            )
            #expect(unanswered > 0, "nothing was under way when it was killed")
            #expect(Set(things.map(\.noun.name)) == Set(nouns.map(\.name)), "every noun was written")
        }
    }

    /// What the writers' things hang on.
    private static func base(_ bed: CloudBed) async throws -> CloudBase {
        func make(_ path: String, _ member: String, _ body: JSONValue) async throws -> String {
            let answer = try await bed.insist("POST", "/identity/v3/\(path)", .object([member: body]))
            return try #require(answer.body[member]?["id"]?.string, "\(answer)")
        }
        var base = CloudBase()
        base.service = try await make("services", "service", ["type": "compute", "name": "base"])
        base.group = try await make("groups", "group", ["name": "base"])
        base.project = try await make("projects", "project", ["name": "base"])
        base.role = try await make("roles", "role", ["name": "base"])
        let node = try await bed.insist(
            "POST", "/baremetal/v1/nodes", ["driver": "fake-hardware", "name": "base"])
        base.node = try #require(node.body["uuid"]?.string, "\(node)")
        base.users = try await withThrowingTaskGroup(of: String.self) { group in
            for number in 0..<64 {
                group.addTask { try await make("users", "user", ["name": .string("base-\(number)")]) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        base.user = try #require(base.users.first)
        base.writerCount = writerCount
        return base
    }

    // MARK: Domains

    /// Fills domains with more than one commit can delete, and deletes them; the names of those whose deletion was begun.
    private static func fillAndDeleteDomains(_ bed: CloudBed) async throws -> [String] {
        var begun: [String] = []
        for number in 0... {
            guard !bed.isOver.load(ordering: .relaxed) else { break }
            let name = "full-\(number)"
            let made = try await bed.insist("POST", "/identity/v3/domains", ["domain": ["name": .string(name)]])
            // One that was made without an answer is not filled.
            guard let id = made.body["domain"]?["id"]?.string else { continue }
            for user in 0..<60 where !bed.isOver.load(ordering: .relaxed) {
                _ = await bed.call(
                    "POST", "/identity/v3/users",
                    ["user": ["name": .string("u\(user)"), "domain_id": .string(id)]])
            }
            let off = try await bed.insist("PATCH", "/identity/v3/domains/\(id)", ["domain": ["enabled": false]])
            #expect(off.status == 200, "\(off)")
            begun.append(id)
            _ = await bed.call("DELETE", "/identity/v3/domains/\(id)")
        }
        return begun
    }

    /// A deletion whose answer did not come was begun or not; what was begun comes to its end by itself.
    private static func waitForDeletions(of domains: [String], _ bed: CloudBed) async throws {
        for id in domains {
            let answer = try await bed.insist("DELETE", "/identity/v3/domains/\(id)")
            #expect([204, 404].contains(answer.status), "\(answer)")
        }
        for _ in 0..<200 {
            let users = try await bed.insist("GET", "/identity/v3/users?name=u0")
            if users.body["users"]?.array?.isEmpty == true { return }
            try await Task.sleep(for: .milliseconds(25))
        }
    }

    // MARK: Things

    /// Things with what has really become of them; several are looked at at once.
    private static func settled(_ things: [CloudWriter.Thing], _ bed: CloudBed) async throws -> [CloudWriter.Thing] {
        try await withThrowingTaskGroup(of: [CloudWriter.Thing].self) { group in
            for part in 0..<8 {
                group.addTask {
                    var own: [CloudWriter.Thing] = []
                    for index in stride(from: part, to: things.count, by: 8) {
                        var thing = things[index]
                        thing.fate = try await settled(thing, bed)
                        own.append(thing)
                    }
                    return own
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
    }

    /// What has really become of a thing, and that it is one of what may have.
    private static func settled(_ thing: CloudWriter.Thing, _ bed: CloudBed) async throws -> CloudWriter.Fate {
        let noun = thing.noun
        switch thing.fate {
        case .there(let id, let text):
            #expect(try await shown(noun, id, bed) == .some(text), "\(noun.name) \(thing.name) holds")
            return thing.fate
        case .gone(let id):
            #expect(try await shown(noun, id, bed) == nil, "\(noun.name) \(thing.name) is gone")
            return thing.fate
        case .perhapsChanged(let id, let from, let to):
            let text = try await shown(noun, id, bed)
            #expect(text == from || text == to, "\(noun.name) \(thing.name) has \(text ?? "nothing")")
            return .there(id: id, text: text ?? "")
        case .perhapsGone(let id, let text):
            guard let found = try await shown(noun, id, bed) else { return .gone(id: id) }
            #expect(found == text, "\(noun.name) \(thing.name) is whole")
            return .there(id: id, text: text)
        case .perhapsMade(let text):
            guard let id = try await identifier(of: thing, bed), let found = try await shown(noun, id, bed) else {
                // Nothing of it is there, its name neither.
                let request = try #require(noun.create(thing.name, text))
                let again = try await bed.insist(request.method, request.path, request.body)
                #expect([200, 201, 204].contains(again.status), "\(noun.name) \(thing.name): \(again)")
                return .there(id: noun.identifier?(again.body) ?? thing.name, text: text)
            }
            #expect(found == text, "\(noun.name) \(thing.name) is whole")
            return .there(id: id, text: text)
        }
    }

    /// The text of what is shown; nil: it is not there.
    private static func shown(_ noun: CloudNoun, _ id: String, _ bed: CloudBed) async throws -> String? {
        let answer = try await bed.insist("GET", noun.path(id))
        if answer.status == 404 { return nil }
        #expect((200..<300).contains(answer.status), "\(noun.name) \(id): \(answer)")
        return noun.text.map { $0(answer.body) ?? "" } ?? ""
    }

    /// The identifier of a thing whose making was not answered; nil: it is in no list.
    private static func identifier(of thing: CloudWriter.Thing, _ bed: CloudBed) async throws -> String? {
        guard let list = thing.noun.list else { return thing.name }
        let answer = try await bed.insist("GET", list.path)
        let name = thing.noun.listed(thing.name)
        let found = (answer.body[list.member]?.array ?? []).filter { $0[list.naming]?.string == name }
        #expect(found.count <= 1, "\(thing.noun.name) \(thing.name) is there \(found.count) times")
        return found.first.flatMap { $0["id"]?.string ?? $0["uuid"]?.string }
    }

    // MARK: The store

    /// The store of a conductor that was killed: names and marks belong together, each change has its audit event, and
    /// nothing is left of what was deleted.
    private static func check(_ bed: CloudBed, _ things: [CloudWriter.Thing]) async throws {
        let store = try await SQLiteStore.open(path: "\(bed.state)/store.sqlite")
        let users = try await store.fetchAll(User.self).map(\.value)
        let groups = try await store.fetchAll(Group.self).map(\.value)
        let projects = try await store.fetchAll(Project.self).map(\.value)
        let roles = try await store.fetchAll(UserRole.self).map(\.value)
        let limits = try await store.fetchAll(RegisteredLimit.self).map(\.value)
        var names: [String: String] = [:]
        for user in users { names[UniqueName.user(user.spec.name, domain: user.spec.domainID).mark] = user.id }
        for group in groups { names[UniqueName.group(group.spec.name, domain: group.spec.domainID).mark] = group.id }
        for role in roles { names[UniqueName.role(role.spec.name, domain: role.spec.domainID).mark] = role.id }
        for limit in limits { names[limit.spec.uniqueName.mark] = limit.id }
        for project in projects {
            let name: UniqueName =
                project.spec.domainID.map { .project(project.spec.name, domain: $0) } ?? .domain(project.spec.name)
            names[name.mark] = project.id
        }
        let marks = try await store.fetchAll(NameMark.self).map(\.value)
        #expect(names.count == users.count + groups.count + projects.count + roles.count + limits.count)
        #expect(Dictionary(marks.map { ($0.metadata.name, $0.spec.id) }) { $1 } == names, "a name without its thing")

        let nodes = Set(try await store.fetchAll(FakeNode.self).map(\.value.metadata.name))
        let ports = Set(try await store.fetchAll(NodePort.self).map(\.value.metadata.name))
        let taken = try await store.fetchAll(TakenMark.self).map(\.value)
        #expect(taken.count == nodes.count + ports.count, "a name or an address each")
        #expect(taken.allSatisfy { nodes.contains($0.spec.by) || ports.contains($0.spec.by) })

        #expect(projects.allSatisfy { $0.spec.deleting == nil }, "a deletion that did not come to its end")
        let domains = Set(projects.filter(\.spec.isDomain).map(\.id))
        #expect(users.allSatisfy { domains.contains($0.spec.domainID) }, "users of a domain that is gone")

        let events = try await store.fetchAll(AuditEvent.self).map(\.value.spec)
        var told: [ResourceKey: [String]] = [:]
        for event in events where event.outcome == .ok { told[event.resource, default: []].append(event.verb) }
        let kinds = ["users": User.kind, "groups": Group.kind, "roles": UserRole.kind, "projects": Project.kind]
        for thing in things {
            guard let kind = kinds[thing.noun.name] else { continue }
            let (id, isGone): (String, Bool)
            switch thing.fate {
            case .there(let known, _): (id, isGone) = (known, false)
            case .gone(let known): (id, isGone) = (known, true)
            default: continue
            }
            let verbs = told[ResourceKey(kind: kind, name: id)] ?? []
            #expect(verbs.count { $0.contains("create") } == 1, "\(thing.noun.name) \(thing.name): \(verbs)")
            #expect(verbs.count { $0.contains("update") } >= thing.changeCount, "\(thing.noun.name) \(thing.name)")
            #expect(verbs.contains { $0.contains("delete") } == isGone, "\(thing.noun.name) \(thing.name): \(verbs)")
        }
        try await store.close()
    }
}
