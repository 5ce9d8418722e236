import CatalogIdentity
import HTTPTypes
import Hummingbird
import Identity
import Logging
import Primitives
import ResourceModel

/// Through it goes every call: it asks the authorizer, and leaves one audit event of each call that changes something.
public struct Gate: Sendable {
    private let authorizer: Authorizer
    private let audit: AuditLog

    /// A gate that asks `authorizer` and writes to `audit`.
    public init(authorizer: Authorizer = Authorizer(), audit: AuditLog) {
        self.authorizer = authorizer
        self.audit = audit
    }

    /// Returns when the caller may read `resource` (the name `*` for a list); throws `Denied`.
    public func reading(_ context: FleetRequestContext, _ resource: ResourceKey) throws(Denied) {
        try authorizer.authorize(context.principal, .read, resource)
    }

    /// Returns when the caller may do `action` to `resource`, without an event; throws `Denied`.
    public func allowing(
        _ context: FleetRequestContext, _ action: Action, _ resource: ResourceKey
    ) throws(Denied) {
        try authorizer.authorize(context.principal, action, resource)
    }

    /// Runs `change` if the caller may do `action` to `resource`, and records who, from where, what and the outcome.
    ///
    /// `change` may note the documents before and after. Rethrows its error; throws `Denied` when it may not run (that
    /// is recorded too, unless the caller is anonymous), and `APIError` 500 `not_audited` when the change was made but
    /// the event could not be written. A caller who goes away does not prevent the event.
    public func mutating<Result: Sendable>(
        _ context: FleetRequestContext, _ action: Action, _ resource: ResourceKey,
        _ change: (inout AuditNote) async throws -> Result
    ) async throws -> Result {
        do {
            try authorizer.authorize(context.principal, action, resource)
        } catch {
            if context.principal != .anonymous {
                try await record(context, action, resource, .denied, AuditNote())
            }
            throw error
        }
        var note = AuditNote()
        let result: Result
        do {
            result = try await change(&note)
        } catch {
            let answer = APIError(error, requestID: context.requestID)
            try await record(context, action, resource, .failed(message: answer.message), note)
            throw error
        }
        try await record(context, action, resource, .ok, note)
        return result
    }

    private func record(
        _ context: FleetRequestContext, _ action: Action, _ resource: ResourceKey, _ outcome: AuditOutcome,
        _ note: AuditNote
    ) async throws {
        let isNoted = note.before != nil || note.after != nil
        let spec = AuditEventSpec(
            who: context.principal.description, from: context.remoteAddress, requestID: context.requestID,
            verb: action.rawValue, resource: note.resource ?? resource, outcome: outcome,
            before: note.before.map(AuditLog.digest), after: note.after.map(AuditLog.digest),
            summary: note.summary ?? (isNoted ? AuditSummary.changes(from: note.before, to: note.after) : nil))
        let audit = audit
        let written = await Task { () async -> (any UserFacingError)? in
            do throws(StoreError) {
                try await audit.record(spec)
                return nil
            } catch {
                return error
            }
        }.value
        guard let written else { return }
        context.logger.error("audit event lost", metadata: ["cause": .string(written.diagnostic)])
        if case .ok = outcome {
            throw APIError(
                .internalServerError, "not_audited",
                "The change was made, but its audit event could not be written: \(written.publicMessage)")
        }
    }
}

/// What a change tells of itself for its audit event.
public struct AuditNote: Sendable {
    /// The document before; nil: there was none.
    public var before: [UInt8]?
    /// The document afterwards; nil: there is none.
    public var after: [UInt8]?
    /// Words in the place of the difference of the documents; no secrets.
    public var summary: String?
    /// The resource that was really changed, when its name came up only while changing (for example a new one).
    public var resource: ResourceKey?

    /// Nothing to tell.
    public init() {}
}
