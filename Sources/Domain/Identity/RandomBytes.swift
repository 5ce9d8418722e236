/// A source of random bytes for keys and tokens; injected so that a simulation can repeat itself.
public struct RandomBytes: Sendable {
    private let make: @Sendable (Int) -> [UInt8]

    /// A source that calls `make` with the number of bytes wanted.
    public init(_ make: @escaping @Sendable (Int) -> [UInt8]) { self.make = make }

    /// The system's cryptographic generator (getrandom(2)).
    public static let system = RandomBytes { count in
        var generator = SystemRandomNumberGenerator()
        return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }

    /// `count` bytes.
    public func callAsFunction(_ count: Int) -> [UInt8] {
        let bytes = make(count)
        precondition(bytes.count == count, "the source must give as many bytes as it is asked for")
        return bytes
    }
}
