/// A source of random bytes for keys and tokens; injected so that a simulation can repeat itself.
public struct RandomBytes: Sendable {
    private let make: @Sendable (Int) -> [UInt8]

    /// A source that calls `make` with the number of bytes wanted.
    public init(_ make: @escaping @Sendable (Int) -> [UInt8]) { self.make = make }

    /// The system's cryptographic generator (getrandom(2)).
    public static let system = RandomBytes { count in
        // Eight bytes a call: each is a call of the kernel.
        var generator = SystemRandomNumberGenerator()
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 7)
        while bytes.count < count {
            withUnsafeBytes(of: generator.next()) { bytes.append(contentsOf: $0) }
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    /// `count` bytes.
    public func callAsFunction(_ count: Int) -> [UInt8] {
        let bytes = make(count)
        precondition(bytes.count == count, "the source must give as many bytes as it is asked for")
        return bytes
    }
}
