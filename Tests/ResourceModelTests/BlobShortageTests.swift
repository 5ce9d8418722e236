import BlobStore
import Primitives
import Testing

@Suite struct BlobShortageTests {
    @Test("Each blob gets as many controllers as it lacks, those first that the placement wants")
    func shortages() {
        let digests = (0..<60).map { Digest(bytes: [UInt8](repeating: UInt8($0), count: 32)) }
        let held = ["a": Set(digests[0..<30]), "b": Set(digests[20..<40]), "c": Set<Digest>()]
        var shortage = BlobShortage(digests, held: held)
        #expect(Set(shortage.targets.keys) == Set(digests).subtracting(digests[20..<30]))
        let placement = BlobPlacement(["a", "b", "c"])
        for (digest, targets) in shortage.targets {
            #expect(targets.allSatisfy { held[$0]?.contains(digest) == false })
            let isAnywhere = digests[0..<40].contains(digest)
            #expect(targets.count == (isAnywhere ? 1 : 2))
            let wanted = placement.ranking(of: digest).filter { held[$0]?.contains(digest) == false }
            #expect(targets == Array(wanted.prefix(targets.count)))
        }
        #expect(shortage.byTarget.values.allSatisfy { $0 == $0.sorted() })
        let copies = shortage.byTarget.values.map(\.count).reduce(0, +)
        #expect(copies == 70)
        shortage.leaveOut(Set(digests[40...]))
        #expect(shortage.targets.count == 30)
        #expect(BlobShortage(digests, held: ["a": Set(digests)]).targets.isEmpty, "the only one is enough")
    }
}
