import BlobStore
import Primitives
import Testing

@Suite struct BlobPlacementTests {
    private static func digests(_ count: Int, seed: UInt64) -> [Digest] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in
            Digest(bytes: (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &random) })
        }
    }

    private static func names(_ count: Int, seed: UInt64) -> [String] {
        (0..<count).map { "c\(seed)-\($0)" }
    }

    @Test func `each blob is on as many as it shall be, on all when there are fewer`() {
        for count in 1...7 {
            for copies in 1...4 {
                let names = Self.names(count, seed: UInt64(copies))
                let placement = BlobPlacement(names.shuffled(), copies: copies)
                for digest in Self.digests(50, seed: UInt64(count)) {
                    let holders = placement.holders(of: digest)
                    #expect(holders.count == min(copies, count))
                    #expect(Set(holders).count == holders.count && Set(holders).isSubset(of: names))
                    #expect(Set(placement.ranking(of: digest)) == Set(names))
                    // Whoever asks, and in whatever order the names come, it is the same.
                    #expect(BlobPlacement(names.reversed(), copies: copies).holders(of: digest) == holders)
                }
            }
        }
    }

    @Test(arguments: 1...5 as ClosedRange<UInt64>)
    func `a conductor that comes or goes moves only what it takes or had`(seed: UInt64) {
        let names = Self.names(5, seed: seed)
        let before = BlobPlacement(names)
        let without = BlobPlacement(names.dropLast())
        var moved = 0
        let digests = Self.digests(4000, seed: seed)
        for digest in digests {
            let (old, new) = (Set(before.holders(of: digest)), Set(without.holders(of: digest)))
            if old.contains(names[4]) {
                #expect(old.subtracting([names[4]]).isSubset(of: new))
                moved += 1
            } else {
                #expect(old == new)
            }
        }
        // Two of five hold each blob.
        #expect(abs(Double(moved) / Double(digests.count) - 0.4) < 0.03, "\(moved)")
    }

    @Test func `conductors hold equal shares`() {
        let placement = BlobPlacement((1...3).map { "controller-\($0)" })
        var shares: [String: Int] = [:]
        for digest in Self.digests(6000, seed: 9) {
            for holder in placement.holders(of: digest) { shares[holder, default: 0] += 1 }
        }
        for share in shares.values { #expect(abs(share - 4000) < 200, "\(shares)") }
    }
}
