/// How long to wait before the next try: doubling (or so) up to a most, with jitter, so that many do not try at once.
public struct Backoff: Sendable, Hashable {
    /// The wait after the first failure, before jitter.
    public let first: Duration
    /// By how much each wait is longer than the one before; at least 1.
    public let factor: Double
    /// The longest wait.
    public let most: Duration
    /// The part of a wait that is random, 0 to 1; 0.5 makes a wait of 10 s one of 5 to 10 s.
    public let jitter: Double
    /// How many failures there were since the last success.
    public private(set) var failures = 0

    /// A backoff without failures.
    public init(
        first: Duration = .seconds(1), factor: Double = 2, most: Duration = .seconds(60), jitter: Double = 0.5
    ) {
        precondition(first > .zero && most >= first && factor >= 1 && (0...1).contains(jitter), "no valid backoff")
        self.first = first
        self.factor = factor
        self.most = most
        self.jitter = jitter
    }

    /// Counts a failure and returns how long to wait, never more than `most`.
    public mutating func next(using random: inout some RandomNumberGenerator) -> Duration {
        let most = most / .seconds(1)
        var wait = first / .seconds(1)
        for _ in 0..<failures {
            if wait >= most { break }
            wait *= factor
        }
        if failures < Int.max { failures += 1 }
        return .seconds(min(wait, most) * (1 - jitter * Double.random(in: 0..<1, using: &random)))
    }

    /// Counts a success.
    public mutating func reset() { failures = 0 }
}
