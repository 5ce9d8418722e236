import GRPCCore
import Primitives
import ResourceModel

/// What a failed call to a member means for whoever made it.
enum EtcdFailure: Error {
    /// etcd has decided: the same everywhere, nothing was changed.
    case refused(EtcdRefusal)
    /// This member did nothing; another one, or this one later, may.
    case notDone(String)
    /// Nobody knows whether it was done.
    case unknown(String)

    /// What etcd refuses for a reason that the caller can tell apart.
    enum EtcdRefusal: Equatable {
        case leaseNotFound
        case leaseExists
        case compacted
        case futureRevision
        case other(StoreError)
    }

    /// The cause, for a sentence.
    var words: String {
        switch self {
        case .refused(.leaseNotFound): "the lease has ended"
        case .refused(.leaseExists): "there is such a lease already"
        case .refused(.compacted): "the history is gone"
        case .refused(.futureRevision): "the revision has not been committed yet"
        case .refused(.other(let error)): error.publicMessage
        case .notDone(let why), .unknown(let why): why
        }
    }

    /// Sorts an error of a call; what is not known is of unknown outcome.
    init(_ error: any Error, member: EtcdAddress) {
        if let failure = error as? EtcdFailure {
            self = failure
            return
        }
        guard let error = error as? RPCError else {
            // A stopped client takes no calls; everything else may have come after the request was sent.
            let isStopped = (error as? RuntimeError)?.code == .clientIsStopped
            let words = "\(member): \(String(describing: error).printable(limit: 200))"
            self = isStopped ? .notDone(words) : .unknown(words)
            return
        }
        let words = "\(member): \(Self.chain(error))"
        if let told = Self.told(error.message, member: member) {
            self = told
        } else if Self.unsent.contains(where: error.message.hasPrefix) {
            self = .notDone(words)
        } else if error.code == .unauthenticated || error.code == .permissionDenied {
            self = .refused(
                .other(.unavailable("etcd refuses this conductor (\(words)); check its certificate and user")))
        } else if Self.refusing.contains(error.code) {
            self = .refused(.other(.invalid("etcd refuses: \(words)")))
        } else {
            self = .unknown(words)
        }
    }

    /// Codes with which etcd says that the request cannot be right, or not now: it has done nothing.
    private static let refusing: Set<RPCError.Code> = [
        .invalidArgument, .failedPrecondition, .notFound, .alreadyExists, .outOfRange, .unimplemented,
    ]

    /// What gRPC says when there was no connection to send the request on.
    private static let unsent = [
        "Channel is in a transient failure state", "Channel isn't ready", "Channel is shutting down",
        "channel is shutdown", "subchannel isn't ready", "subchannel is unavailable",
    ]

    /// What etcd's own words mean (api/v3rpc/rpctypes/error.go); nil: they say nothing of whether it was done.
    private static func told(_ message: String, member: EtcdAddress) -> EtcdFailure? {
        guard message.hasPrefix("etcdserver: ") else {
            return message == "raft proposal dropped" ? .notDone("\(member): \(message)") : nil
        }
        switch message.dropFirst("etcdserver: ".count) {
        case "requested lease not found": return .refused(.leaseNotFound)
        case "lease already exists": return .refused(.leaseExists)
        case "mvcc: required revision has been compacted": return .refused(.compacted)
        case "mvcc: required revision is a future revision": return .refused(.futureRevision)
        case "mvcc: database space exceeded":
            // The change that goes over the quota is made, and answered with this all the same (etcdserver/apply.go).
            return .refused(.other(.quotaExceeded))
        case "request is too large": return .refused(.other(.limitExceeded("etcd takes no request of this size")))
        case "too many operations in txn request":
            return .refused(.other(.limitExceeded("etcd takes no more operations; check its --max-txn-ops")))
        case "permission denied", "user name is empty", "authentication failed, invalid user ID or password":
            return .refused(
                .other(.unavailable("etcd refuses this conductor (\(message)); grant its user the store's prefix")))
        case "corrupt cluster":
            return .refused(
                .other(.unavailable("etcd has found that its members differ (alarm CORRUPT); replace the wrong one")))
        case "no leader", "rpc not supported for learner", "too many requests", "not capable",
            "unhealthy cluster":
            return .notDone("\(member): \(message)")
        default: return nil
        }
    }

    private static func chain(_ error: RPCError) -> String {
        var words = error.message
        var cause = error.cause
        while let next = cause {
            if let error = next as? RPCError {
                words += ": \(error.message)"
                cause = error.cause
            } else {
                words += ": \(next)"
                cause = nil
            }
        }
        return words.printable(limit: 400)
    }
}
