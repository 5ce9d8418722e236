import FoundationEssentials
import Primitives
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@Suite struct StoredTests {
    private func document(_ json: JSONValue, _ name: String = "a") throws -> Document {
        Document(key: Thing.key(name), revision: Revision(3), value: Array(try JSONEncoder().encode(json)))
    }

    private func json(_ bytes: [UInt8]) throws -> JSONValue {
        try JSONDecoder().decode(JSONValue.self, from: Data(bytes))
    }

    private func json(of thing: Thing) throws -> JSONValue { try json(Array(JSONEncoder().encode(thing))) }

    /// Documents of a version from the future, changed by this one: what it does not know stays, what it knows is new.
    @Test(arguments: 0..<200) func unknownFieldsStayAtEveryDepth(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let before = Thing.random(using: &random)
        var marker = 0
        let future = try json(of: before).withUnknownMembers(&marker, using: &random)
        var stored = try Stored<Thing>(document(future))
        #expect(stored.value == before)
        stored.value.change(using: &random)

        let written = try json(stored.encoded())
        let known = try JSONDecoder().decode(Thing.self, from: Data(stored.encoded()))
        #expect(known == stored.value)
        for path in future.unknownPaths() where path.survives(in: try json(of: stored.value)) {
            #expect(written.value(at: path) == future.value(at: path), "seed \(seed): \(path)")
        }
        #expect(written.withoutUnknownMembers() == (try json(of: stored.value)))
    }

    @Test func unchangedDocumentsAreWrittenBackWithTheSameContent() throws {
        for seed in 0..<100 {
            var random = SeededRandom(seed: UInt64(seed))
            var marker = 0
            let future = try json(of: Thing.random(using: &random)).withUnknownMembers(&marker, using: &random)
            #expect(try json(Stored<Thing>(document(future)).encoded()) == future)
        }
    }

    @Test func clearedOptionalsAndRemovedEntriesAreGone() throws {
        var thing = Thing("a")
        thing.spec.label = "x"
        thing.spec.part = Thing.Part(id: "p", size: 1)
        thing.spec.labels = ["keep": "1", "drop": "2"]
        thing.status.seen = 4
        var stored = try Stored<Thing>(document(json(of: thing)))
        stored.value.spec.label = nil
        stored.value.spec.part = nil
        stored.value.spec.labels["drop"] = nil
        stored.value.status.seen = nil
        stored.value.status.state = .working(step: 2)
        #expect(try json(stored.encoded()) == json(of: stored.value))
    }

    @Test func explicitNullsAreReadAsNilAndCanBeSet() throws {
        guard case .object(var members) = try json(of: Thing("a")), case .object(var spec)? = members["spec"] else {
            Issue.record("no object")
            return
        }
        spec["label"] = .null
        members["spec"] = .object(spec)
        var stored = try Stored<Thing>(document(.object(members)))
        #expect(stored.value.spec.label == nil)
        stored.value.spec.label = "now"
        #expect(try json(stored.encoded())["spec"]?["label"] == .string("now"))
    }

    @Test func elementsWithoutNamesKeepTheirFieldsWhenOthersComeAndGo() throws {
        var thing = Thing("a")
        thing.spec.plain = [1, 2, 3].map { Thing.Plain(number: $0) }
        guard case .object(var members) = try json(of: thing), case .object(var spec)? = members["spec"] else { return }
        spec["plain"] = .array((1...3).map { .object(["number": .integer($0), "later": .string("of \($0)")]) })
        members["spec"] = .object(spec)
        var stored = try Stored<Thing>(document(.object(members)))
        stored.value.spec.plain = [Thing.Plain(number: 9), Thing.Plain(number: 3), Thing.Plain(number: 2)]
        let expected: [JSONValue] = [
            .object(["number": .integer(9)]), .object(["number": .integer(3), "later": .string("of 3")]),
            .object(["number": .integer(2), "later": .string("of 2")]),
        ]
        let written = try json(stored.encoded())["spec"]?["plain"]
        guard case .array(let elements)? = written else {
            Issue.record("no array")
            return
        }
        #expect(Array(elements.dropFirst()) == Array(expected.dropFirst()))
        #expect(elements.first?["number"] == .integer(9))
    }

    @Test func whatCannotBeReadIsAnErrorThatNamesTheDocument() throws {
        for text in ["", "{", "[]", "{\"metadata\": 1}", "nonsense"] {
            let document = Document(key: Thing.key("a"), revision: Revision(1), value: Array(text.utf8))
            do {
                _ = try Stored<Thing>(document)
                Issue.record("no error")
            } catch {
                guard case .undecodable(Thing.key("a"), _) = error else {
                    Issue.record("\(error)")
                    continue
                }
            }
        }
    }

    @Test func conditionsFollowFromHowItWasRead() async throws {
        let store = MemoryStore()
        let new = Stored(new: Thing("a"))
        #expect(new.unchanged == .absent(Thing.key("a")))
        let revision = try await store.commit(Transaction(conditions: [new.unchanged], operations: [new.put()]))
        let read = try #require(try await store.fetch(Thing.self, "a"))
        #expect(read.unchanged == .unchanged(Thing.key("a"), since: revision))
        #expect(read.value == new.value)
        #expect(try await store.fetch(Thing.self, "b") == nil)
    }

    /// Four writers of four updates each: none can lose more races than an update has tries.
    @Test func updateTriesAgainWhenSomebodyElseWasFaster() async throws {
        let store = MemoryStore()
        try await withThrowingTaskGroup { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<4 {
                        try await store.update(Thing.self, "a") { stored in
                            guard var stored else { return Stored(new: Thing("a", count: 1)) }
                            stored.value.spec.count += 1
                            return stored
                        }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await store.fetch(Thing.self, "a")?.value.spec.count == 16)
        #expect(try await store.update(Thing.self, "a") { _ in nil } == nil)
    }

    @Test func fetchAllReadsEveryPage() async throws {
        let store = MemoryStore()
        for part in 0..<12 {
            let things = try (0..<100).map { try Stored(new: Thing("n\(part)-\($0)")).put() }
            _ = try await store.commit(Transaction(operations: things))
        }
        #expect(try await store.fetchAll(Thing.self).count == 1200)
    }
}
