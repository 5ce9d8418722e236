import APISupport
import CatalogIdentity
import FleetContract
import Hummingbird
import Identity
import Primitives
import ResourceModel

/// Operators' tokens: each is in one answer, the one to who asked for it.
extension FleetCall {
    func listTokens() async throws -> Response {
        .json(RecordList(items: try await services.operators.list().map(TokenRecord.init)))
    }

    func createToken(_ note: inout AuditNote) async throws -> Response {
        let request = try await body(CreateTokenRequest.self)
        let name = try parameter("operator")
        if let life = request.lifeSeconds, !(1...CreateTokenRequest.lifeSecondsMax).contains(life) {
            throw InvalidValue(
                "lifeSeconds", String(life), expected: "1 to \(CreateTokenRequest.lifeSecondsMax)")
        }
        let expires = request.lifeSeconds.map { services.clock.now.advanced(by: .seconds($0)) }
        note.summary = "role \(request.role.rawValue)" + (expires.map { ", until \($0)" } ?? "")
        let token = try await services.operators.make(name: name, role: request.role, expires: expires)
        return .json(TokenReply(operatorName: name, token: token.revealed))
    }

    /// Replaces an operator's token; the one before ends at once, or after the grace that was asked for.
    func rotateToken(_ note: inout AuditNote) async throws -> Response {
        let request = try await body(RotateTokenRequest.self)
        let name = try parameter("operator")
        let most = Int(OperatorTokens.graceMax.milliseconds / 1000)
        guard (0...most).contains(request.graceSeconds ?? 0) else {
            throw InvalidValue("graceSeconds", String(request.graceSeconds ?? 0), expected: "0 to \(most)")
        }
        let grace = Duration.seconds(request.graceSeconds ?? 0)
        let ends = grace > .zero ? services.clock.now.advanced(by: grace) : nil
        note.summary = "the one before ends \(ends.map { "\($0)" } ?? "at once")"
        let token = try await services.operators.rotate(name, grace: grace)
        return .json(TokenReply(operatorName: name, token: token.revealed, previousEnds: ends))
    }

    /// Makes an operator's token void; nobody can lock themselves out so.
    func revokeToken(_ note: inout AuditNote) async throws -> Response {
        let name = try parameter("operator")
        if let caller = context.caller, caller.token == nil, caller.name == name {
            throw APIError.conflict(
                "Your own token is revoked by another administrator; 'muster token rotate' replaces it.")
        }
        try await services.operators.revoke(name)
        return .json(RemovalReply(name: name, message: "The token of '\(name)' is void."))
    }
}
