import Primitives

/// Why a call to a conductor failed.
public enum ClientError: UserFacingError, Hashable {
    /// The conductor cannot be reached; `why` is the cause, `next` what to do.
    case unreachable(api: String, why: String, next: String)
    /// There is no such thing (404).
    case notFound(String)
    /// The token is missing or wrong, or its holder may not do it (401, 403).
    case unauthorized(String)
    /// It was refused as it does not fit what there is (409, 422), or as the site is elsewhere (421).
    case refused(code: String, String)
    /// The request was wrong (400, 405, 413, 415).
    case badRequest(code: String, String)
    /// The history that was asked for is gone (410); begin anew.
    case gone(String)
    /// The conductor failed or is busy (5xx).
    case failed(status: UInt, String)
    /// The answer is none that this program understands.
    case unreadable(String)
    /// A file that the client needs cannot be used.
    case file(path: String, why: String)

    public var publicMessage: String {
        switch self {
        case .unreachable(let api, let why, let next): "The conductor at \(api) cannot be reached: \(why). \(next)"
        case .notFound(let message), .unauthorized(let message), .refused(_, let message), .badRequest(_, let message),
            .gone(let message), .failed(_, let message), .unreadable(let message):
            message
        case .file(let path, let why): "\(path.printable(limit: 300)) \(why)"
        }
    }

    /// The exit code of a program that ends with this error: 1 failed, 2 wrong usage, 3 not found, 4 refused or
    /// unauthorized, 5 unreachable.
    public var exitCode: Int32 {
        switch self {
        case .failed, .unreadable, .gone: 1
        case .badRequest, .file: 2
        case .notFound: 3
        case .unauthorized, .refused: 4
        case .unreachable: 5
        }
    }

    /// Whether waiting may help: nothing was answered, or the conductor has failed.
    public var mayPass: Bool {
        switch self {
        case .unreachable, .failed: true
        default: false
        }
    }

    /// Whether asking again may help: nothing was answered, or the conductor said it is busy.
    var isTransient: Bool {
        switch self {
        case .unreachable: true
        case .failed(let status, _): status == 503 || status == 502 || status == 504
        case .notFound, .unauthorized, .refused, .badRequest, .gone, .unreadable, .file: false
        }
    }
}
