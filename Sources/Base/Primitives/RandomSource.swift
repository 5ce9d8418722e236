import Synchronization

/// Randomness that is handed in: the system's in programs, a seeded one in tests. Copies draw from one sequence.
public struct RandomSource: RandomNumberGenerator, Sendable {
    private let draw: @Sendable () -> UInt64

    /// The system's generator.
    public static let system = RandomSource {
        var generator = SystemRandomNumberGenerator()
        return generator.next()
    }

    /// The same numbers for the same seed.
    public static func seeded(_ seed: UInt64) -> RandomSource {
        let state = SharedRandom(seed: seed)
        return RandomSource { state.next() }
    }

    private init(_ draw: @escaping @Sendable () -> UInt64) { self.draw = draw }

    public mutating func next() -> UInt64 { draw() }
}

private final class SharedRandom: Sendable {
    private let generator: Mutex<SeededRandom>

    init(seed: UInt64) { generator = Mutex(SeededRandom(seed: seed)) }

    func next() -> UInt64 { generator.withLock { $0.next() } }
}
