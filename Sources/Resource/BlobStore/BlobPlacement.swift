import Primitives

/// Says which conductors hold which blob: for each, those with the highest scores (rendezvous hashing, Thaler and
/// Ravishankar 1998), so that a conductor that comes or goes moves no blob between the others.
public struct BlobPlacement: Sendable, Hashable {
    /// How many conductors hold a blob.
    public static let copiesDefault = 2

    /// The conductors that are there, in the order of their names.
    public let names: [String]
    /// How many of them hold a blob; all, when there are fewer.
    public let copies: Int
    private let seeds: [UInt64]

    /// A placement over the conductors with these names, `copies` (1 at least) of each blob.
    public init(_ names: some Sequence<String>, copies: Int = BlobPlacement.copiesDefault) {
        self.names = Set(names).sorted()
        self.copies = max(1, copies)
        seeds = self.names.map { name in
            BlobHasher.digestBytes(of: Array(name.utf8)).prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        }
    }

    /// All conductors, those first that shall hold the blob.
    public func ranking(of digest: Digest) -> [String] {
        let word = UInt64(digest.hex.prefix(16), radix: 16) ?? 0
        return zip(names, seeds).map { (name: $0, score: Self.mixed($1 ^ word)) }
            .sorted { $0.score != $1.score ? $0.score > $1.score : $0.name < $1.name }.map(\.name)
    }

    /// The conductors that shall hold the blob.
    public func holders(of digest: Digest) -> [String] { Array(ranking(of: digest).prefix(copies)) }

    /// Whether the conductor `name` shall hold the blob.
    public func isHolder(_ name: String, of digest: Digest) -> Bool { holders(of: digest).contains(name) }

    /// SplitMix64's last step: each bit of the result depends on all of `word`.
    private static func mixed(_ word: UInt64) -> UInt64 {
        var mixed = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
