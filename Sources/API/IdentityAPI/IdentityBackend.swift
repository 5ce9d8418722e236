import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Logging
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

/// All that the identity API works with; filled by whoever composes the conductor.
public struct IdentityBackend: Sendable {
    /// Where nouns are written.
    public var store: any ResourceStore
    /// Where nouns are read; it must hold all of `IdentityDirectory.kinds` and `.indexes`.
    public var cache: ResourceCache
    /// Opens and seals tokens.
    public var tokens: TokenDesk
    /// Gives tokens.
    public var authenticator: Authenticator
    /// Checks the tokens of identity providers; nil: the conductor knows none.
    public var openID: OpenIDVerifier?
    /// Hashes and checks passwords.
    public var passwords: PasswordDesk
    /// Seals blobs and secrets.
    public var vault: SecretVault
    /// Has one event of each change.
    public var audit: AuditLog
    /// The time.
    public var clock: any WallClock
    /// Identifiers and secrets.
    public var random: RandomBytes
    /// Where failures are written.
    public var logger: Logger
    /// What answers were made of lately.
    let encoded = EncodedAnswers()

    /// A backend.
    public init(
        store: any ResourceStore, cache: ResourceCache, tokens: TokenDesk, authenticator: Authenticator,
        passwords: PasswordDesk, vault: SecretVault, audit: AuditLog, clock: any WallClock,
        random: RandomBytes = .system, openID: OpenIDVerifier? = nil, logger: Logger
    ) {
        self.store = store
        self.cache = cache
        self.tokens = tokens
        self.authenticator = authenticator
        self.openID = openID
        self.passwords = passwords
        self.vault = vault
        self.audit = audit
        self.clock = clock
        self.random = random
        self.logger = logger
    }

    /// Everything as it is now.
    public var directory: IdentityDirectory { IdentityDirectory(cache.snapshot()) }

    /// Who callers of the cloud's services are by the tokens of this one, and what they may by `policy`.
    public func door(policy: PolicyTable) -> APIDoor {
        APIDoor(
            policy: policy, verify: { Caller(try tokens.verify($0)) }, barrier: { try await cache.barrier() },
            checkAccessRules: { caller, type, method, path in
                guard let token = caller.token else { return }
                // As with Keystone, access rules say which of the other services may be asked.
                if type != "identity" {
                    guard !token.mayRequest(method, path, ofService: type) else { return }
                    throw APIError.forbidden("The application credential's access rules do not allow this request.")
                }
                if token.payload.isOfEC2Credential {
                    throw APIError.forbidden("Tokens of EC2 credentials are for other services than this one.")
                }
            })
    }

    /// A new identifier: 32 hexadecimal digits.
    func newID() -> String { Hex.encode(random(16)) }
}

typealias IdentityCall = APICall<IdentityBackend>
typealias IdentityRoute = APIRoute<IdentityBackend>

extension APICall where Backend == IdentityBackend {
    /// Everything as it is now.
    var directory: IdentityDirectory { backend.directory }

    /// Plans a change on what is there now and commits it together with its audit event; plans anew when somebody was
    /// faster, and returns once reads show it.
    ///
    /// `plan` is given the directory and throws what refuses the change. Throws that, and the store's errors.
    @discardableResult
    func change<Result: Sendable>(
        _ verb: String, _ resource: ResourceKey, _ plan: (IdentityDirectory) throws -> (IdentityPlan, Result)
    ) async throws -> Result {
        for attempt in 0..<StoreContention.attemptCountMax {
            let (planned, result) = try plan(directory)
            guard !planned.operations.isEmpty else { return result }
            let event = AuditEventSpec(
                who: "user:\(caller.name)", from: remoteAddress, requestID: requestID, verb: verb, resource: resource,
                outcome: .ok, before: planned.before.map(AuditLog.digest), after: planned.after.map(AuditLog.digest),
                summary: planned.summary)
            let operations = planned.operations + [try backend.audit.operation(event)]
            do {
                let revision = try await backend.store.commit(
                    Transaction(conditions: planned.conditions, operations: operations))
                try await backend.cache.wait(for: revision)
                return result
            } catch let error as StoreError {
                guard case .conflict = error else { throw error }
            }
            try await backend.cache.barrier()
            await StoreContention.giveWay(after: attempt)
        }
        throw StoreError.conflict(resource)
    }
}

/// What a change writes, and what must still be so then.
struct IdentityPlan {
    var conditions: [Transaction.Condition] = []
    var operations: [Transaction.Operation] = []
    /// The document before and after, for the audit event.
    var before: [UInt8]?
    var after: [UInt8]?
    /// Words in the place of them.
    var summary: String?

    /// Writes a new entry.
    mutating func create<Spec: IdentitySpec>(_ entry: IdentityEntry<Spec>) throws {
        let stored = Stored(new: entry)
        conditions.append(stored.unchanged)
        operations.append(try stored.put())
        after = try stored.encoded()
    }

    /// Writes an entry that was read and changed.
    mutating func update<Spec: IdentitySpec>(_ stored: Stored<IdentityEntry<Spec>>) throws {
        var stored = stored
        stored.value.metadata.generation = stored.value.metadata.generation.next
        conditions.append(stored.unchanged)
        operations.append(try stored.put())
        after = try stored.encoded()
    }

    /// Deletes an entry.
    mutating func delete<Spec: IdentitySpec>(_ entry: IdentityEntry<Spec>) { operations.append(.delete(entry.key)) }

    /// Holds the plan to what was seen of an entry: somebody who changes or deletes it makes the plan be made anew.
    mutating func needs<Spec: IdentitySpec>(
        _ type: IdentityEntry<Spec>.Type, _ id: String, in directory: IdentityDirectory
    ) {
        guard let stored = directory.now.stored(type, CatalogName.of(id)) else { return }
        if !conditions.contains(stored.unchanged) { conditions.append(stored.unchanged) }
    }

    /// Takes a name for `id`, or gives it up.
    mutating func take(_ name: UniqueName, for id: String, at time: Timestamp) throws {
        let mark = NameMark(name: name.mark, created: time, spec: NameMarkSpec(id: id))
        conditions.append(.absent(mark.key))
        operations.append(try Stored(new: mark).put())
    }

    /// Gives a name up.
    mutating func free(_ name: UniqueName) { operations.append(.delete(NameMark.key(name.mark))) }
}
