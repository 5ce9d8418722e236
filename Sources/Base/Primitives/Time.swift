#if canImport(Glibc)
    import Glibc
#endif

/// Tells wall-clock time; injected so that tests and the simulator can set it.
public protocol WallClock: Sendable {
    /// The time now.
    var now: Timestamp { get }
}

/// The machine's own clock (CLOCK_REALTIME).
public struct SystemWallClock: WallClock {
    /// The machine's clock.
    public init() {}

    public var now: Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(millisecondsSinceEpoch: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }
}
