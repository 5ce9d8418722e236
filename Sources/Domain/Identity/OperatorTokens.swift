import CatalogIdentity
import Primitives
import ResourceModel
import Synchronization

/// Marks names of operators.
public enum OperatorMark {}

/// Makes and verifies operators' bearer tokens; verification asks memory only.
public final class OperatorTokens: Sendable {
    /// The most tokens at once.
    public static let countMax = 1000
    /// The operator whose token is made at first start.
    public static let firstOperator = "admin"

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
    /// When the file is there its token is (again) the first operator's; when it was deleted a new token replaces the
    /// old one. Throws `OperatorTokenError`.
    public func ensureFirstOperator(file path: String) async throws(OperatorTokenError) {
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
        let spec = OperatorTokenSpec(hash: TokenHash.of(text), role: .admin)
        let known = cache.withLock { $0[Self.firstOperator]?.value }
        if known?.spec == spec, known?.status.revoked == nil { return }
        try await write(Self.firstOperator, spec, mayReplace: true)
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

    /// Makes the token of an operator void at once.
    public func revoke(_ name: String) async throws(OperatorTokenError) {
        for _ in 0..<16 {
            do {
                guard var stored = try await store.fetch(OperatorToken.self, name) else {
                    throw OperatorTokenError.unknown(name)
                }
                stored.value.status.revoked = stored.value.status.revoked ?? clock.now
                if try await commit(stored) { return }
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

    /// The operator whose token this is; nil when there is none, or it was revoked or has ended.
    ///
    /// All digests are compared, each in constant time.
    public func verify(_ token: String) -> Principal? {
        guard token.utf8.count <= 256 else { return nil }
        let hash = TokenHash.of(token).bytes
        let now = clock.now
        return cache.withLock { cache in
            var found: OperatorToken?
            for stored in cache.values where ConstantTime.equal(stored.value.spec.hash.bytes, hash) {
                found = stored.value
            }
            guard let found, found.status.revoked == nil, found.spec.expires.map({ now < $0 }) ?? true else {
                return nil
            }
            return .operator(name: found.metadata.name, role: found.spec.role)
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
                let isVoid =
                    next.value.status.revoked != nil || next.value.spec.expires.map { $0 <= clock.now } ?? false
                guard mayReplace || isVoid else { throw OperatorTokenError.exists(name) }
                next.value.spec = spec
                next.value.status = OperatorTokenStatus()
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

/// Why an operator's token is not made or revoked.
public enum OperatorTokenError: UserFacingError, Hashable {
    /// There is no such operator.
    case unknown(String)
    /// The operator has a token that is in force.
    case exists(String)
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
        case .exists(let name): "The operator '\(name)' has a token already; revoke it first."
        case .tooMany: "There are \(OperatorTokens.countMax) tokens already; revoke those that nobody uses."
        case .invalid(let error): error.publicMessage
        case .file(let error): error.publicMessage
        case .store(let error): error.publicMessage
        }
    }
}
