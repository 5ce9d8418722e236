import CatalogIdentity
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Identity
import NIOCore
import Primitives
import ResourceModel

/// An error as the API answers it: `{"error":{"code":"…","message":"…"}}`.
public struct APIError: UserFacingError {
    /// The HTTP status.
    public let status: HTTPResponse.Status
    /// For programs: lower case words parted by `_`, for example `not_found`.
    public let code: String
    /// For people: what is wrong and what to do.
    public let message: String
    /// More headers of the answer.
    public let headers: HTTPFields

    /// An error with the given status, code and message.
    public init(_ status: HTTPResponse.Status, _ code: String, _ message: String, headers: HTTPFields = [:]) {
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
    }

    public var publicMessage: String { message }

    /// There is no such thing.
    public static func notFound(_ message: String) -> APIError { APIError(.notFound, "not_found", message) }
    /// The request cannot be right.
    public static func badRequest(_ message: String) -> APIError { APIError(.badRequest, "bad_request", message) }
    /// The request does not fit what there is.
    public static func conflict(_ message: String) -> APIError { APIError(.conflict, "conflict", message) }

    /// The conductor's disk is full (RFC 4918 section 11.5).
    public static func diskFull(_ message: String) -> APIError {
        APIError(
            HTTPResponse.Status(code: 507, reasonPhrase: "Insufficient Storage"), "disk_full", message,
            headers: [.retryAfter: "30"])
    }

    /// The code of what a store refuses that is frozen on purpose.
    static let frozenCode = "store_frozen"

    /// A token is missing or wrong (RFC 6750 section 3).
    static let unauthorized = APIError(
        .unauthorized, "unauthorized",
        "A valid operator token is needed: send it as 'Authorization: Bearer TOKEN'. "
            + "The conductor's first one is in the file operator.token of its state directory.",
        headers: [.wwwAuthenticate: "Bearer realm=\"muster\""])

    /// The answer with the error's body.
    public var response: Response {
        var response = Response.json(APIErrorBody(error: .init(code: code, message: message)), status: status)
        for field in headers { response.headers[field.name] = field.value }
        return response
    }
}

/// The body of an error's answer.
public struct APIErrorBody: Codable, Sendable, Hashable {
    /// The error.
    public var error: Content

    /// Code and message.
    public struct Content: Codable, Sendable, Hashable {
        /// For programs.
        public var code: String
        /// For people.
        public var message: String

        /// An error.
        public init(code: String, message: String) {
            self.code = code
            self.message = message
        }
    }
}

/// An error of a domain that knows how the API answers it.
public protocol APIErrorConvertible: Error {
    /// The error as answered.
    var apiError: APIError { get }
}

extension Denied: APIErrorConvertible {
    public var apiError: APIError {
        if case .anonymous = principal { return .unauthorized }
        return APIError(.forbidden, "forbidden", publicMessage)
    }
}

extension InvalidValue: APIErrorConvertible {
    public var apiError: APIError { APIError(.badRequest, "invalid_value", publicMessage) }
}

extension StoreError: APIErrorConvertible {
    public var apiError: APIError {
        switch self {
        case .conflict, .notLeader: APIError(.conflict, "conflict", publicMessage)
        case .compacted, .watchOverflow: APIError(.gone, "history_gone", publicMessage)
        case .limitExceeded: APIError(.contentTooLarge, "too_large", publicMessage)
        case .invalid: APIError(.badRequest, "bad_request", publicMessage)
        case .leaseEnded: APIError(.conflict, "lease_ended", publicMessage)
        case .unavailable, .inUse:
            APIError(.serviceUnavailable, "store_unavailable", publicMessage, headers: [.retryAfter: "5"])
        case .frozen: APIError(.serviceUnavailable, APIError.frozenCode, publicMessage, headers: [.retryAfter: "5"])
        case .diskFull, .quotaExceeded: .diskFull(publicMessage)
        case .undecodable, .tooNew: APIError(.internalServerError, "store_unreadable", publicMessage)
        }
    }
}

extension VaultError: APIErrorConvertible {
    public var apiError: APIError {
        switch self {
        case .unknown: APIError(.notFound, "not_found", publicMessage)
        case .tooLarge: APIError(.contentTooLarge, "too_large", publicMessage)
        case .store(let error): error.apiError
        case .damaged, .keyFileMissing, .wrongKey, .file:
            APIError(.internalServerError, "secret_unreadable", publicMessage)
        }
    }
}

extension OperatorTokenError: APIErrorConvertible {
    public var apiError: APIError {
        switch self {
        case .unknown: APIError(.notFound, "not_found", publicMessage)
        case .exists, .void, .tooMany: APIError(.conflict, "conflict", publicMessage)
        case .invalid(let error): error.apiError
        case .store(let error): error.apiError
        case .file: APIError(.internalServerError, "token_file", publicMessage)
        }
    }
}

extension EnrolmentError: APIErrorConvertible {
    public var apiError: APIError {
        switch self {
        case .unknown: APIError(.forbidden, "token_unknown", publicMessage)
        case .expired: APIError(.forbidden, "token_expired", publicMessage)
        case .alreadyUsed: APIError(.forbidden, "token_used", publicMessage)
        case .wrongNode: APIError(.forbidden, "token_of_another_node", publicMessage)
        case .store(let error): error.apiError
        }
    }
}

extension APIError {
    /// How any error is answered; what is not made for callers is told as an internal error under the request's name.
    public init(_ error: any Error, requestID: String) {
        switch error {
        case let error as APIError: self = error
        case let error as any APIErrorConvertible: self = error.apiError
        case let error as any UserFacingError:
            self = APIError(.internalServerError, "failed", error.publicMessage)
        case let error as DecodingError: self = APIError(error)
        case let error as HTTPError where error.status == .notFound:
            self = APIError(.notFound, "no_such_path", error.body ?? "There is no such path or method.")
        case let error as HTTPError:
            let code = error.status.reasonPhrase.lowercased().split(separator: " ").joined(separator: "_")
            self = APIError(error.status, code, error.body ?? error.status.reasonPhrase, headers: error.headers)
        case is NIOTooManyBytesError: self = .bodyTooLarge(limit: RequestLimits.bodySizeMax)
        default:
            self = APIError(
                .internalServerError, "internal",
                "Something failed inside the conductor; its log has the cause under request \(requestID).")
        }
    }

    static func bodyTooLarge(limit: Int) -> APIError {
        APIError(.contentTooLarge, "too_large", "The body is larger than \(ByteCount(bytes: UInt64(limit))).")
    }
}
