import Primitives

/// How long a BMC is waited for, and how often it is asked.
public struct BMCLimits: Sendable, Hashable {
    /// Until the connection is made.
    public var connect: Duration
    /// Until one request is answered in full.
    public var request: Duration
    /// Until the whole call is done, with all its requests and repetitions.
    public var call: Duration
    /// Until work that a service does after its answer has ended.
    public var task: Duration
    /// How often a read is tried.
    public var attemptCountMax: Int
    /// The pause before the first repetition; doubled for each further one.
    public var backoff: Duration

    /// The product's limits unless given.
    public init(
        connect: Duration = .seconds(5), request: Duration = .seconds(10), call: Duration = .seconds(30),
        task: Duration = .seconds(60), attemptCountMax: Int = 3, backoff: Duration = .milliseconds(250)
    ) {
        self.connect = connect
        self.request = request
        self.call = call
        self.task = task
        self.attemptCountMax = attemptCountMax
        self.backoff = backoff
    }
}

/// Which certificate of a BMC is believed.
public enum BMCTrust: Sendable, Hashable {
    /// One that the system's trust store vouches for, for the address's host.
    case systemStore
    /// Exactly the one whose DER form has this SHA-256 digest; its names and dates do not matter.
    case certificate(Digest)
}
