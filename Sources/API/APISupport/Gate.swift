import CatalogIdentity
import HTTPTypes
import Hummingbird
import Identity
import Logging
import Policy
import Primitives
import ResourceModel

/// Through it goes every call of the operators' API: it asks the policy's `fleet:` rules, and leaves one audit event of each
/// call that changes something.
public struct Gate: Sendable {
    private let policy: PolicyTable
    private let audit: AuditLog
    private let administrators: @Sendable () -> String?

    /// A gate that asks `policy` and writes to `audit`; `administrators` is the identifier of the administrators' project,
    /// nil when there is none.
    public init(policy: PolicyTable, audit: AuditLog, administrators: @escaping @Sendable () -> String?) {
        self.policy = policy
        self.audit = audit
        self.administrators = administrators
    }

    /// The rule that says who may do `action` to resources of `kind`, for example `fleet:node:approve`.
    public static func rule(for action: Action, kind: String) -> String {
        "fleet:\(kind.split(separator: ".").last ?? "*"):\(action.rawValue)"
    }

    /// What the rules see of the fleet.
    public var target: PolicyTarget {
        PolicyTarget(administrators().map { ["fleet": ["project_id": .string($0)]] } ?? [:])
    }

    /// Whether somebody is an operator at all: may see nodes.
    public func isOperator(_ caller: Caller) -> Bool {
        policy.isAllowed(FleetPolicy.reading, caller.credentials, target)
    }

    /// Returns when the caller may read `resource` (the name `*` for a list); throws `Denied` or `APIError` 403.
    public func reading(_ context: FleetRequestContext, _ resource: ResourceKey) throws {
        try allowing(context, .read, resource)
    }

    /// Returns when the caller may do `action` to `resource`, without an event; throws `Denied` or `APIError` 403.
    public func allowing(_ context: FleetRequestContext, _ action: Action, _ resource: ResourceKey) throws {
        guard let caller = context.caller else {
            return try Authorizer().authorize(context.principal, action, resource)
        }
        let rule = Self.rule(for: action, kind: resource.kind)
        guard policy.isAllowed(rule, caller.credentials, target) else {
            throw APIError.forbidden(
                "\(caller.standing) may not \(action.rawValue) \(resource.kind): the rule '\(rule)' does not allow it. Ask "
                    + "an administrator, who sees why with 'muster policy explain'.")
        }
    }

    /// Runs `change` if the caller may do `action` to `resource`, and records who, from where, what and the outcome.
    ///
    /// `change` may note the documents before and after. Rethrows its error; throws what `allowing` does when it may not
    /// run (that is recorded too, unless the caller is no operator), and `APIError` 500 `not_audited` when the change was made but
    /// the event could not be written. A caller who goes away does not prevent the event.
    public func mutating<Result: Sendable>(
        _ context: FleetRequestContext, _ action: Action, _ resource: ResourceKey,
        _ change: (inout AuditNote) async throws -> Result
    ) async throws -> Result {
        do {
            try allowing(context, action, resource)
        } catch {
            if let caller = context.caller, isOperator(caller) {
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
        let lost = await Task { () async -> StoreError? in
            do throws(StoreError) {
                try await audit.record(spec)
                return nil
            } catch {
                return error
            }
        }.value
        guard let lost else { return }
        // A frozen store refuses first the change and then the event that tells of it.
        let level = if case .failed = outcome { lost.logLevel(.error) } else { Logger.Level.error }
        context.logger.log(level: level, "audit event lost", metadata: ["cause": .string(lost.diagnostic)])
        if case .ok = outcome {
            throw APIError(
                .internalServerError, "not_audited",
                "The change was made, but its audit event could not be written: \(lost.publicMessage)")
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
