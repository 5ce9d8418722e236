import CatalogIdentity
import Hummingbird
import Identity
import Logging
import Primitives
import ResourceModel

/// Refusals and failures that are recorded as one.
struct RefusedCall: Hashable, Sendable {
    let caller: String
    let verb: String
    let isDenied: Bool
}

extension APIService {
    /// Leaves an event of a change that the policy has refused or that has failed: one a minute of each caller and rule.
    ///
    /// A caller who goes away does not prevent it. Strangers leave none, nor does who only reads.
    func record(
        _ error: any Error, of call: APICall<Backend>, _ route: APIRoute<Backend>, _ request: Request,
        _ context: FleetRequestContext
    ) async {
        guard route.isChange, case .rule(let rule) = route.access, let token = call.caller.token else { return }
        let known = APIError(error, requestID: call.requestID)
        let isDenied = known.code == APIError.notAllowedCode
        let sort = RefusedCall(caller: token.user.id, verb: rule, isDenied: isDenied)
        guard refusals.mayRecord(sort, at: backend.clock.now) else { return }
        let event = AuditEventSpec(
            who: call.caller.principal.description, from: call.remoteAddress, requestID: call.requestID, verb: rule,
            resource: ResourceKey(
                kind: "\(type).call", name: String(pathBelow(request).dropFirst()).printable(limit: 200)),
            outcome: isDenied ? .denied : .failed(message: known.message))
        let audit = backend.audit
        let lost = await Task { () async -> StoreError? in
            do throws(StoreError) {
                try await audit.record(event)
                return nil
            } catch {
                return error
            }
        }.value
        guard let lost else { return }
        context.logger.log(
            level: isDenied ? .error : lost.logLevel(.error), "audit event lost",
            metadata: ["cause": .string(lost.diagnostic)])
    }
}
