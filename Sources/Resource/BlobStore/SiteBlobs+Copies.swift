import Primitives

extension SiteBlobs {
    /// Digests of one question to a peer.
    static let questionCount = 64
    /// How often a peer may answer without having fetched anything.
    static let idleAnswersMax = 3

    /// Those of `digests` that no conductor has which answers, in their order; counts as a use of the others.
    public func missing(from digests: [Digest]) async -> [Digest] {
        var missing = (try? await local.offPool { $0.missing(from: digests) }) ?? digests
        for peer in peers {
            for part in missing.parts(of: WantedBlobs.countMax) {
                // Who does not answer is taken to have nothing: it is only sent again then.
                guard let answer = try? await access?.ask(peer, WantedBlobs(digests: part)) else { break }
                let held = Set(answer.held)
                missing.removeAll { held.contains($0) }
            }
        }
        return missing
    }

    /// Returns once each of `digests` is here and on as many conductors as there are to be copies, and how many that is: 1
    /// when this conductor is the only one. What names the blobs is written after that, within the grace of a sweep.
    ///
    /// `subject` is what will name them. Throws `.missing`, and `.unreachable` when the other conductors do not take them.
    public func secure(_ digests: some Sequence<Digest>, for subject: String?) async throws(BlobError) -> Int {
        let digests = Set(digests)
        try await ensureAll(digests)
        let placement = placement
        let needed = min(copies, placement.names.count)
        guard needed > 1, let access else { return 1 }
        var plan = CopyPlan(digests, held: name, placement: placement, needed: needed)
        let known = Dictionary(peers.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        var progress: [String: (bytes: UInt64, idle: Int)] = [:]
        while !plan.isDone {
            let questions = plan.questions(of: Self.questionCount)
            guard !questions.isEmpty else { throw plan.failure }
            for (holder, answer) in await Self.ask(questions, known, access, from: name, subject) {
                switch answer {
                case .failure(let error): plan.fail(holder, error.why)
                case .success(let answer):
                    let isNew = plan.note(answer.held, on: holder) || progress[holder]?.bytes != answer.pulledBytes
                    let idle = isNew ? 0 : (progress[holder]?.idle ?? 0) + 1
                    progress[holder] = (answer.pulledBytes, idle)
                    if idle >= Self.idleAnswersMax { plan.fail(holder, "it does not get them from \(name)") }
                }
            }
        }
        return needed
    }

    private struct Silence: Error {
        var why: String
    }

    /// Asks each conductor one question, all at once.
    private static func ask(
        _ questions: [String: [Digest]], _ known: [String: BlobPeer], _ access: any BlobPeerAccess, from name: String,
        _ subject: String?
    ) async -> [String: Result<HeldBlobs, Silence>] {
        await withTaskGroup(of: (String, Result<HeldBlobs, Silence>).self) { group in
            for (holder, digests) in questions {
                group.addTask {
                    guard let peer = known[holder] else { return (holder, .failure(Silence(why: "it is gone"))) }
                    do {
                        let question = WantedBlobs(digests: digests, from: name, subject: subject)
                        return (holder, .success(try await access.ask(peer, question)))
                    } catch {
                        let why = (error as? any UserFacingError)?.publicMessage ?? "\(error)"
                        return (holder, .failure(Silence(why: why.printable(limit: 200))))
                    }
                }
            }
            return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
    }

    /// Fetches all of `digests` that are not here.
    private func ensureAll(_ digests: Set<Digest>) async throws(BlobError) {
        let lacking = try await local.offPool { $0.missing(from: digests) }
        let failure = await withTaskGroup(of: BlobError?.self) { group in
            var rest = lacking[...]
            var failure: BlobError?
            func addNext() {
                guard failure == nil, let digest = rest.popFirst() else { return }
                group.addTask {
                    do throws(BlobError) {
                        try await self.ensure(digest)
                        return nil
                    } catch {
                        return error
                    }
                }
            }
            for _ in 0..<16 { addNext() }
            while let error = await group.next() {
                if let error { failure = error }
                addNext()
            }
            return failure
        }
        if let failure { throw failure }
    }

    /// Answers a peer: fetches from it what it has and this conductor lacks, for `wait` at most, and tells what is here then.
    ///
    /// What is still on its way goes on. A conductor that is not known here is not fetched from.
    public func answer(_ question: WantedBlobs, wait: Duration = .seconds(20)) async throws(BlobError) -> HeldBlobs {
        guard question.digests.count <= WantedBlobs.countMax else {
            throw .limitExceeded("\(question.digests.count) digests; ask for at most \(WantedBlobs.countMax) at once")
        }
        var lacking = try await local.offPool { $0.missing(from: question.digests) }
        if let source = question.from, peers.contains(where: { $0.name == source }), !lacking.isEmpty {
            begin(lacking, from: source)
            let end = ContinuousClock.now + wait
            var pause = Duration.milliseconds(2)
            while !lacking.isEmpty, isFetching(anyOf: lacking), ContinuousClock.now < end {
                do { try await Task.sleep(for: pause) } catch { break }
                pause = min(pause * 2, .milliseconds(100))
                lacking = try await local.offPool { [lacking] in $0.missing(from: lacking) }
            }
            lacking = try await local.offPool { [lacking] in $0.missing(from: lacking) }
        }
        let gone = Set(lacking)
        return HeldBlobs(held: question.digests.filter { !gone.contains($0) }, pulledBytes: pulled.bytes)
    }
}

/// Who is asked next to take copies of which blobs, until each is on enough conductors.
struct CopyPlan {
    private let placement: BlobPlacement
    private let needed: Int
    private var holders: [Digest: Set<String>]
    private var failures: [String: String] = [:]

    /// Blobs that the conductor `held` has, each of which is to be on `needed` conductors.
    init(_ digests: Set<Digest>, held: String, placement: BlobPlacement, needed: Int) {
        self.placement = placement
        self.needed = needed
        holders = Dictionary(uniqueKeysWithValues: digests.map { ($0, [held]) })
    }

    /// Whether each blob is on enough conductors.
    var isDone: Bool { holders.isEmpty }

    /// Why it cannot be done.
    var failure: BlobError {
        let words = failures.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: "; ")
        return .unreachable(holders.keys.min() ?? Digest(bytes: [UInt8](repeating: 0, count: 32)), why: words)
    }

    /// At most `count` digests for each conductor that shall take them next; none when one blob has nobody left.
    func questions(of count: Int) -> [String: [Digest]] {
        var questions: [String: [Digest]] = [:]
        for (digest, held) in holders {
            let next = placement.ranking(of: digest).first { !held.contains($0) && failures[$0] == nil }
            guard let next else { return [:] }
            if questions[next, default: []].count < count { questions[next, default: []].append(digest) }
        }
        return questions
    }

    /// Notes what a conductor has now; whether anything of it is news.
    mutating func note(_ held: [Digest], on holder: String) -> Bool {
        var isNews = false
        for digest in held {
            guard holders[digest]?.insert(holder).inserted == true else { continue }
            isNews = true
            if let count = holders[digest]?.count, count >= needed { holders[digest] = nil }
        }
        return isNews
    }

    /// A conductor does not take copies.
    mutating func fail(_ holder: String, _ why: String) { failures[holder] = why }
}

extension Array {
    /// The elements in parts of `count` at most.
    func parts(of count: Int) -> [[Element]] {
        stride(from: 0, to: self.count, by: count).map { Array(self[$0..<Swift.min($0 + count, self.count)]) }
    }
}
