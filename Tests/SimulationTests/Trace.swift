/// What has happened: the last lines, and a digest of all.
struct Trace {
    /// The last lines.
    private(set) var tail: [String] = []
    /// FNV-1a (64 bits) over all lines.
    private(set) var digest: UInt64 = 0xCBF2_9CE4_8422_2325
    /// How many lines there were.
    private(set) var count = 0

    /// Begins lines about what comes again and again.
    static let routine = "~ "
    /// The lines kept; twice as many now and then.
    private static let tailCount = 400

    mutating func note(_ time: Int64, _ what: String) {
        var line = "\(time) \(what)"
        digest = line.withUTF8 { bytes in
            var digest = digest
            for byte in bytes { digest = (digest ^ UInt64(byte)) &* 0x100_0000_01B3 }
            return digest
        }
        count += 1
        // What comes again and again counts, and is not shown.
        guard !what.hasPrefix(Self.routine) else { return }
        tail.append(line)
        if tail.count >= 2 * Self.tailCount { tail.removeFirst(Self.tailCount) }
    }
}
