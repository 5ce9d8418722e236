import APISupport
import HTTPTypes
import Identity
import Primitives

extension APIError {
    /// As Keystone's API says errors: `{"error":{"code":404,"message":"…","title":"Not Found"}}`.
    var keystoneBody: JSONValue {
        ["error": ["code": .integer(Int64(status.code)), "message": .string(message), "title": .string(title)]]
    }

    private var title: String { status.reasonPhrase.isEmpty ? "Error" : status.reasonPhrase }

    /// There is no such thing of a sort.
    static func missing(_ sort: String, _ id: String) -> APIError {
        .notFound("Could not find \(sort): \(id.printable(limit: 255)).")
    }

    /// The name is taken, or the like.
    static func duplicate(_ sort: String, _ why: String) -> APIError {
        .conflict("Conflict occurred attempting to store \(sort) - \(why).")
    }

    /// What cannot be changed.
    static func immutable(_ sort: String, _ id: String) -> APIError {
        .forbidden("Cannot change the immutable \(sort) \(id): set its option 'immutable' to false first.")
    }
}

extension AuthenticationError: APIErrorConvertible {
    public var apiError: APIError {
        switch self {
        case .refused: .authenticationRequired
        case .unknownAccessKey: .notFound(publicMessage)
        case .signature, .moreMethods: APIError(.unauthorized, "unauthorized", publicMessage)
        case .passwordExpired: APIError(.unauthorized, "password_expired", publicMessage)
        case .invalid: .badRequest(publicMessage)
        case .forbidden: .forbidden(publicMessage)
        case .desk(let error): error.apiError
        case .store(let error): error.apiError
        }
    }
}

extension PasswordRefusal: APIErrorConvertible {
    public var apiError: APIError {
        if case .notByUser = self { return .forbidden(publicMessage) }
        return .badRequest(publicMessage)
    }
}

extension PasswordDeskError: APIErrorConvertible {
    public var apiError: APIError {
        if case .hash = self { return APIError(.badRequest, "password", publicMessage) }
        return APIError(.serviceUnavailable, "busy", publicMessage, headers: [.retryAfter: "1"])
    }
}

extension HTTPField.Name {
    static let subjectToken = HTTPField.Name("X-Subject-Token")!
    static let authReceipt = HTTPField.Name("Openstack-Auth-Receipt")!
}
