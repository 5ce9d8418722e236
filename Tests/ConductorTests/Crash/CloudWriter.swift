import Primitives
import Synchronization
import Testing

/// Writes things of every noun one after the other, and remembers what it was answered.
struct CloudWriter: Sendable {
    /// What is known of a thing.
    enum Fate: Sendable, Hashable {
        /// It is there with this text.
        case there(id: String, text: String)
        case gone(id: String)
        /// The answer to its making did not come.
        case perhapsMade(text: String)
        /// The answer to a change did not come: it has one of these texts.
        case perhapsChanged(id: String, from: String, to: String)
        case perhapsGone(id: String, text: String)

        /// Whether the answer to what was done last did not come.
        var isOpen: Bool {
            switch self {
            case .there, .gone: false
            case .perhapsMade, .perhapsChanged, .perhapsGone: true
            }
        }
    }

    /// A thing of a noun.
    struct Thing: Sendable {
        let noun: CloudNoun
        let name: String
        var fate: Fate
        /// The changes that were answered.
        var changeCount = 0
    }

    let bed: CloudBed
    let nouns: [CloudNoun]
    /// Distinguishes its names from others'.
    let number: Int
    private(set) var things: [Thing] = []
    private var random: SeededRandom
    private var count: Int

    init(_ bed: CloudBed, _ nouns: [CloudNoun], number: Int, seed: UInt64) {
        self.bed = bed
        self.nouns = nouns
        self.number = number
        // Each begins elsewhere, so that together they soon have written every noun.
        count = number * nouns.count / 4
        random = SeededRandom(seed: seed &* 31 &+ UInt64(number))
    }

    /// Goes on until the bed says that it is over.
    mutating func write() async throws {
        while !bed.isOver.load(ordering: .relaxed) {
            // A noun after the other, so that each is reached; what is done with it is chance.
            let noun = nouns[count % nouns.count]
            count += 1
            let own = things.indices.filter { index in
                guard things[index].noun.name == noun.name, case .there = things[index].fate else { return false }
                return true
            }
            let isAnswered: Bool
            switch (own.randomElement(using: &random), Int.random(in: 0..<10, using: &random)) {
            case (let index?, 0..<3) where noun.update != nil: isAnswered = try await change(index)
            case (let index?, 3..<6): isAnswered = try await delete(index)
            default: isAnswered = try await make(noun)
            }
            // Whoever was not answered waits until there is somebody to ask.
            if !isAnswered { _ = try await bed.insist("GET", "/identity/v3") }
        }
    }

    private mutating func make(_ noun: CloudNoun) async throws -> Bool {
        let name = "w\(number)-\(count / nouns.count)"
        let text = noun.text == nil ? "" : "text \(count)"
        guard let request = noun.create(name, text) else { return true }
        var thing = Thing(noun: noun, name: name, fate: .perhapsMade(text: text))
        defer { things.append(thing) }
        guard let answer = await bed.call(request.method, request.path, request.body) else { return false }
        guard isExpected(answer, [200, 201, 204], request) else { return true }
        thing.fate = .there(id: noun.identifier?(answer.body) ?? name, text: text)
        return true
    }

    private mutating func change(_ index: Int) async throws -> Bool {
        guard case .there(let id, let old) = things[index].fate else { return true }
        let text = "text \(count)"
        guard let request = things[index].noun.update?(id, text) else { return true }
        things[index].fate = .perhapsChanged(id: id, from: old, to: text)
        guard let answer = await bed.call(request.method, request.path, request.body) else { return false }
        guard isExpected(answer, [200], request) else { return true }
        things[index].fate = .there(id: id, text: text)
        things[index].changeCount += 1
        return true
    }

    private mutating func delete(_ index: Int) async throws -> Bool {
        guard case .there(let id, let text) = things[index].fate else { return true }
        let request = CloudNoun.Request(method: "DELETE", path: things[index].noun.path(id), body: nil)
        things[index].fate = .perhapsGone(id: id, text: text)
        guard let answer = await bed.call(request.method, request.path) else { return false }
        guard isExpected(answer, [204], request) else { return true }
        things[index].fate = .gone(id: id)
        return true
    }

    private func isExpected(_ answer: CloudBed.Answer, _ statuses: Set<Int>, _ request: CloudNoun.Request) -> Bool {
        let isExpected = statuses.contains(answer.status)
        if !isExpected, answer.status != 503 {
            Issue.record("\(request): \(answer.status) \(String(decoding: answer.body.text, as: UTF8.self))")
        }
        return isExpected
    }
}
