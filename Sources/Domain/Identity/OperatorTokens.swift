import CatalogIdentity
import Primitives
import ResourceModel
import Synchronization

/// Marks names of operators.
public enum OperatorMark {}

/// The holder of an operator's token.
public struct KnownOperator: Sendable, Hashable {
    /// Whose token it is.
    public let name: String
    /// What it was made for.
    public let role: OperatorRole

    /// An operator.
    public init(name: String, role: OperatorRole) {
        self.name = name
        self.role = role
    }
}

/// Makes and verifies operators' bearer tokens; verification asks memory only.
public final class OperatorTokens: Sendable {
    /// The most tokens at once.
    public static let countMax = 1000
    /// The operator whose token is made at first start.
    public static let firstOperator = "admin"
    /// The longest that a token is taken after another has replaced it.
    public static let graceMax: Duration = .seconds(7 * 86_400)

    private let store: any ResourceStore
    private let clock: any WallClock
    private let random: RandomBytes
    private let cache = Mutex<[String: Stored<OperatorToken>]>([:])

    /// Tokens kept in `store`; call `load` before the first `verify`.
    public init(store: any ResourceStore, clock: any WallClock = SystemWallClock(), random: RandomBytes = .system) {
        self.store = store
        self.clock = clock
        self.random = random
    }

    /// Reads all tokens into memory.
    public func load() async throws(StoreError) {
        let tokens = try await store.fetchAll(OperatorToken.self)
        cache.withLock { cache in
            cache = [:]
            for token in tokens { cache[token.value.metadata.name] = token }
        }
    }

    /// Whether there is such an operator, with a token in force or not.
    public func isKnown(_ name: String) -> Bool { cache.withLock { $0[name] != nil } }

    /// Takes over what another conductor has changed.
    public func apply(_ batch: WatchBatch) throws(StoreError) {
        for change in batch.changes {
            switch change {
            case .put(let document) where document.key.kind == OperatorToken.kind:
                remember(try Stored<OperatorToken>(document))
            case .deleted(let key) where key.kind == OperatorToken.kind:
                _ = cache.withLock { $0.removeValue(forKey: key.name) }
            case .put, .deleted:
                break
            }
        }
    }

    /// Makes the first operator's token at first start: `path` (mode 0600) holds it and a newline.
    ///
    /// A token that somebody has put into the file is (again) the first operator's, but not one that was replaced or
    /// revoked; when the file was deleted, a new token replaces the old one. Gives whether the file's token is in force.
    /// Throws `OperatorTokenError`.
    @discardableResult
    public func ensureFirstOperator(file path: String) async throws(OperatorTokenError) -> Bool {
        let existing: [UInt8]?
        do { existing = try PrivateFile.read(path) } catch { throw .file(error) }
        let text: String
        if let existing {
            text = String(decoding: existing.filter { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
            guard text.utf8.count == 64, Hex.decode(text) != nil else {
                throw .file(.malformed(path, expected: "64 hexadecimal digits; or delete it to get a new token"))
            }
        } else {
            text = Hex.encode(random(32))
            do { try PrivateFile.create(path, Array((text + "\n").utf8)) } catch { throw .file(error) }
        }
        let hash = TokenHash.of(text)
        if let known = cache.withLock({ $0[Self.firstOperator]?.value }) {
            if known.spec.hash == hash { return known.status.revoked == nil }
            if known.status.replaced?.contains(hash) == true { return false }
        }
        try await write(Self.firstOperator, OperatorTokenSpec(hash: hash, role: .admin), mayReplace: true)
        return true
    }

    /// Makes a token for a new operator, or a new one for an operator whose token was revoked or has ended.
    public func make(
        name: String, role: OperatorRole, expires: Timestamp? = nil
    ) async throws(OperatorTokenError) -> SecretText {
        do { _ = try ID<OperatorMark>(name) } catch { throw .invalid(error) }
        let text = Hex.encode(random(32))
        try await write(
            name, OperatorTokenSpec(hash: TokenHash.of(text), role: role, expires: expires), mayReplace: false)
        return SecretText(text)
    }

    /// Gives an operator another token, with the same role and end; the one before is taken for `grace` more, at most
    /// `graceMax`, and one that was before that no longer.
    ///
    /// Throws `OperatorTokenError.void` when the operator's token was revoked or has ended.
    public func rotate(_ name: String, grace: Duration = .zero) async throws(OperatorTokenError) -> SecretText {
        guard grace >= .zero, grace <= Self.graceMax else {
            let days = Self.graceMax.milliseconds / 86_400_000
            throw .invalid(InvalidValue("grace", "\(grace.milliseconds / 1000) s", expected: "0 s to \(days) days"))
        }
        let text = Hex.encode(random(32))
        let now = clock.now
        try await change(name) { token throws(OperatorTokenError) in
            guard token.isInForce(at: now) else { throw .void(name) }
            let before = token.spec.hash
            token.spec.hash = TokenHash.of(text)
            token.spec.previous =
                grace > .zero ? OperatorTokenSpec.Previous(hash: before, ends: now.advanced(by: grace)) : nil
            token.status.rotated = now
            token.status.replaced = ((token.status.replaced ?? []) + [before])
                .suffix(OperatorTokenStatus.replacedCountMax)
            token.metadata.generation = token.metadata.generation.next
        }
        return SecretText(text)
    }

    /// Makes the token of an operator void at once, and the one before it.
    public func revoke(_ name: String) async throws(OperatorTokenError) {
        let now = clock.now
        try await change(name) { token throws(OperatorTokenError) in
            token.status.revoked = token.status.revoked ?? now
            token.spec.previous = nil
        }
    }

    /// All operators by name, as the store has them; what is kept of their tokens is no secret.
    public func list() async throws(StoreError) -> [OperatorToken] {
        try await store.fetchAll(OperatorToken.self).map(\.value).sorted { $0.metadata.name < $1.metadata.name }
    }

    private func change(
        _ name: String, _ change: (inout OperatorToken) throws(OperatorTokenError) -> Void
    ) async throws(OperatorTokenError) {
        for attempt in 0..<StoreContention.attemptCountMax {
            let found: Stored<OperatorToken>?
            do { found = try await store.fetch(OperatorToken.self, name) } catch { throw .store(error) }
            guard var stored = found else { throw .unknown(name) }
            try change(&stored.value)
            do { if try await commit(stored) { return } } catch { throw .store(error) }
            await StoreContention.giveWay(after: attempt)
        }
        throw .store(.conflict(OperatorToken.key(name)))
    }

    /// The operator whose token this is; nil when there is none, or it was revoked or has ended.
    ///
    /// All digests are compared, each in constant time.
    public func verify(_ token: String) -> KnownOperator? {
        guard token.utf8.count <= 256 else { return nil }
        let hash = TokenHash.of(token).bytes
        let now = clock.now
        return cache.withLock { cache in
            var found: OperatorToken?
            for stored in cache.values {
                let spec = stored.value.spec
                let isNow = ConstantTime.equal(spec.hash.bytes, hash)
                let wasBefore = ConstantTime.equal((spec.previous?.hash ?? spec.hash).bytes, hash)
                if isNow || (wasBefore && spec.previous.map { now < $0.ends } ?? false) { found = stored.value }
            }
            guard let found, found.isInForce(at: now) else { return nil }
            return KnownOperator(name: found.metadata.name, role: found.spec.role)
        }
    }

    private func write(
        _ name: String, _ spec: OperatorTokenSpec, mayReplace: Bool
    ) async throws(OperatorTokenError) {
        for _ in 0..<16 {
            do {
                guard var next = try await store.fetch(OperatorToken.self, name) else {
                    guard cache.withLock({ $0.count }) < Self.countMax else { throw OperatorTokenError.tooMany }
                    if try await commit(Stored(new: OperatorToken(name: name, created: clock.now, spec: spec))) {
                        return
                    }
                    continue
                }
                guard mayReplace || !next.value.isInForce(at: clock.now) else { throw OperatorTokenError.exists(name) }
                let replaced = ((next.value.status.replaced ?? []) + [next.value.spec.hash])
                    .suffix(OperatorTokenStatus.replacedCountMax)
                next.value.spec = spec
                next.value.status = OperatorTokenStatus()
                next.value.status.replaced = Array(replaced)
                next.value.metadata.generation = next.value.metadata.generation.next
                if try await commit(next) { return }
            } catch let error as OperatorTokenError {
                throw error
            } catch let error as StoreError {
                throw .store(error)
            } catch {
                throw .unknown(name)
            }
        }
        throw .store(.conflict(OperatorToken.key(name)))
    }

    /// Whether the token was written; false when somebody else was faster.
    private func commit(_ token: Stored<OperatorToken>) async throws(StoreError) -> Bool {
        let bytes = try token.encoded()
        do {
            let revision = try await store.commit(
                Transaction(conditions: [token.unchanged], operations: [.put(token.value.key, bytes)]))
            remember(try Stored<OperatorToken>(Document(key: token.value.key, revision: revision, value: bytes)))
            return true
        } catch {
            guard case .conflict = error else { throw error }
            return false
        }
    }

    private func remember(_ token: Stored<OperatorToken>) {
        cache.withLock { cache in
            let known = cache[token.value.metadata.name]?.revision ?? .zero
            if known < token.revision ?? .zero { cache[token.value.metadata.name] = token }
        }
    }
}

extension OperatorToken {
    /// Whether it is taken.
    public func isInForce(at now: Timestamp) -> Bool {
        status.revoked == nil && spec.expires.map { now < $0 } ?? true
    }
}

/// Why an operator's token is not made or revoked.
public enum OperatorTokenError: UserFacingError, Hashable {
    /// There is no such operator.
    case unknown(String)
    /// The operator has a token that is in force.
    case exists(String)
    /// The operator's token was revoked or has ended.
    case void(String)
    /// There are `OperatorTokens.countMax` tokens.
    case tooMany
    /// The name cannot be one.
    case invalid(InvalidValue)
    /// The token file cannot be used.
    case file(PrivateFileError)
    /// The store failed.
    case store(StoreError)

    public var publicMessage: String {
        switch self {
        case .unknown(let name): "There is no operator '\(name.printable(limit: 80))'."
        case .exists(let name):
            "The operator '\(name)' has a token already; replace it with 'muster token rotate \(name)', or revoke it first."
        case .void(let name):
            "The token of the operator '\(name)' was revoked or has ended; make one with 'muster token create \(name)'."
        case .tooMany: "There are \(OperatorTokens.countMax) tokens already; revoke those that nobody uses."
        case .invalid(let error): error.publicMessage
        case .file(let error): error.publicMessage
        case .store(let error): error.publicMessage
        }
    }
}
