import Hummingbird
import Identity
import Logging
import NIOCore
import Primitives
import Synchronization

/// What is known of one request: who asks, from where, and the name it has in logs and audit events.
public struct FleetRequestContext: RequestContext {
    public var coreContext: CoreRequestContextStorage
    /// The caller's IP address.
    public let remoteAddress: String?
    /// The request's name: the caller's own `X-Request-ID` when it is a proper one, else a new one.
    public internal(set) var requestID: String
    private let identity = Identity()

    public init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        remoteAddress = source.channel.remoteAddress?.ipAddress
        requestID = source.logger[metadataKey: "hb.request.id"]?.description ?? "unknown"
    }

    /// Who asks, as rules see it; nil until a token was accepted.
    public var caller: Caller? {
        get { identity.caller.withLock { $0 } }
        nonmutating set { identity.caller.withLock { $0 = newValue } }
    }

    /// Who asks, as logs and audit events have it; anonymous until a token was accepted.
    public var principal: Principal { caller?.principal ?? .anonymous }

    public var maxUploadSize: Int { RequestLimits.bodySizeMax }

    /// Logs that the request failed inside the conductor, and the cause; quietly when its store was frozen on purpose, for
    /// then nothing is wrong.
    public func logFailure(_ error: any Error, _ what: Logger.Message = "request failed") {
        let isFrozen = APIError(error, requestID: requestID).code == APIError.frozenCode
        let cause = (error as? any UserFacingError)?.diagnostic ?? "\(error)"
        logger.log(
            level: isFrozen ? .debug : .error, what, metadata: ["cause": .string(cause.printable(limit: 2000))])
    }

    /// Shared by all copies of one request's context, so that the outermost log knows who it was.
    private final class Identity: Sendable {
        let caller = Mutex(Caller?.none)
    }
}

/// The limits of the operators' API.
public enum RequestLimits {
    /// Bytes of a body.
    public static let bodySizeMax = 1 << 20
    /// How long a body may take to come.
    public static let bodyTimeout: Duration = .seconds(30)
    /// Requests that are worked on at once.
    public static let concurrencyMax = 256
    /// Characters of a caller's own request name.
    public static let requestIDLengthMax = 64
}
