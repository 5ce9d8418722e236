import BlobStore
import FoundationEssentials
import Primitives
import TestSupport
import Testing

@Suite struct BlobStoreTests {
    private let directory: TemporaryDirectory
    private let clock = ManualWallClock()
    private var path: String { directory.appending("blobs") }

    init() throws { directory = try TemporaryDirectory("blobs") }

    private func open() throws -> FileBlobStore { try FileBlobStore(directory: path, clock: clock) }

    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    /// Where the file of a blob is.
    private func file(_ digest: Digest) -> String { "\(path)/blobs/\(digest.hex.prefix(2))/\(digest.hex)" }

    private func damage(_ digest: Digest) throws {
        var content = try #require(FileManager.default.contents(atPath: file(digest)))
        content[content.count / 2] ^= 1
        try content.write(to: URL(filePath: file(digest)))
    }

    private func names(_ folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "\(path)/\(folder)")
    }

    @Test func blobsAreNamedByTheirDigest() throws {
        let store = try open()
        // FIPS 180-4, the example of one block.
        let digest = try store.put(bytes("abc"))
        #expect(digest.hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(try store.get(digest) == bytes("abc"))
        #expect(try store.size(of: digest) == 3)
        let empty = try store.put([])
        #expect(empty.hex == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(try store.get(empty).isEmpty)
        #expect(try names("incoming").isEmpty)
    }

    @Test func blobsOutliveTheStore() throws {
        let digest = try open().put(bytes("kept"))
        #expect(try open().get(digest) == bytes("kept"))
    }

    @Test func whatIsNotStoredIsMissing() throws {
        let store = try open()
        let stored = try store.put(bytes("a"))
        let absent = Digest(bytes: [UInt8](repeating: 7, count: 32))
        #expect(!store.contains(absent) && store.contains(stored))
        #expect(store.missing(from: [absent, stored, absent]) == [absent, absent])
        #expect(throws: BlobError.missing(absent)) { try store.get(absent) }
        #expect(throws: BlobError.missing(absent)) { try store.open(absent) }
        #expect(try store.size(of: absent) == nil)
    }

    @Test func batchesComeBackInOrder() throws {
        let store = try open()
        let blobs = (0..<300).map { bytes("blob \($0 % 200)") }
        let digests = try store.putBatch(blobs)
        #expect(Set(digests).count == 200)
        for (digest, blob) in zip(digests, blobs) { #expect(try store.get(digest) == blob) }
        #expect(try store.putBatch([]).isEmpty)
        #expect(try names("incoming").isEmpty)
    }

    @Test func batchesHaveLimits() throws {
        let store = try open()
        let large = [UInt8](repeating: 1, count: Int(BlobLimits.batchSizeMax.bytes) + 1)
        for batch in [[large], [[UInt8]](repeating: [], count: BlobLimits.batchCountMax + 1)] {
            #expect { try store.putBatch(batch) } throws: { error in
                if case BlobError.limitExceeded = error { true } else { false }
            }
        }
    }

    @Test func partsMakeABlob() throws {
        let store = try open()
        var writer = try store.writer()
        for number in 0..<100 { try writer.append(bytes("part \(number) ")) }
        #expect(writer.size == 790)
        let digest = try writer.finish()
        let expected = bytes((0..<100).map { "part \($0) " }.joined())
        #expect(try store.get(digest) == expected)

        let opened = try store.open(digest)
        #expect(opened.size == 790)
        #expect(try opened.read(at: 5, count: 10) == Array(expected[5..<15]))
        #expect(try opened.read(at: 780, count: 100) == Array(expected[780...]))
        #expect(try opened.read(at: 790, count: 1).isEmpty)
        #expect(try opened.read(at: .max, count: 1).isEmpty)
        #expect(try store.read(digest, at: 0, count: 4) == bytes("part"))
    }

    @Test func whatHasAnotherDigestIsNotStored() throws {
        let store = try open()
        let expected = Digest(bytes: [UInt8](repeating: 1, count: 32))
        func write() throws {
            var writer = try store.writer()
            try writer.append(bytes("changed on the way"))
            try writer.finish(expecting: expected)
        }
        #expect {
            try write()
        } throws: { error in
            if case BlobError.mismatch(expected, _) = error { true } else { false }
        }
        #expect(!store.contains(expected))
        #expect(try names("incoming").isEmpty)
    }

    @Test func aBlobThatGrowsTooLargeIsRefused() throws {
        let store = try open()
        func write(_ count: Int) throws {
            var writer = try store.writer(sizeMax: ByteCount(bytes: 10))
            for _ in 0..<count { try writer.append([0]) }
            try writer.finish()
        }
        try write(10)
        #expect(throws: BlobError.limitExceeded("this blob may have at most 10 B")) { try write(11) }
        #expect(try names("incoming").isEmpty)
    }

    @Test func leftoversOfACrashAreRemoved() throws {
        _ = try open()
        try directory.write("blobs/incoming/17", bytes("half of a bl"))
        let store = try open()
        #expect(try names("incoming").isEmpty)
        #expect(try store.get(store.put(bytes("x"))) == bytes("x"))
    }

    @Test func damageAtRestIsFoundAndMended() throws {
        let store = try open()
        let digest = try store.put(bytes("precious data"))
        try damage(digest)
        #expect(throws: BlobError.corrupt(digest)) { try store.get(digest) }
        #expect(!store.contains(digest))
        #expect(throws: BlobError.missing(digest)) { try store.get(digest) }
        #expect(try names("corrupt").count == 1)
        try store.put(bytes("precious data"))
        #expect(try store.get(digest) == bytes("precious data"))
    }

    @Test func damageIsFoundByTheFirstOpenOfAProcess() throws {
        let digest = try open().put(bytes("precious data"))
        try damage(digest)
        let store = try open()
        #expect(throws: BlobError.corrupt(digest)) { try store.open(digest) }
        let verified = try store.put(bytes("other"))
        try store.verify(verified)
        #expect(throws: BlobError.missing(digest)) { try store.verify(digest) }
    }

    /// Address zero of a process reads as a bad sector does: with EIO.
    @Test func whatTheDiskCannotReadIsDamage() throws {
        let digest = try open().put(bytes("precious data"))
        try FileManager.default.removeItem(atPath: file(digest))
        try FileManager.default.createSymbolicLink(atPath: file(digest), withDestinationPath: "/proc/self/mem")
        let store = try open()
        #expect(throws: BlobError.corrupt(digest)) { try store.open(digest) }
        #expect(store.missing(from: [digest]) == [digest])
        #expect(try names("corrupt").count == 1)
        try store.put(bytes("precious data"))
        #expect(try store.get(digest) == bytes("precious data"))
    }

    @Test func aPutMendsADamagedFile() throws {
        let digest = try open().put(bytes("precious data"))
        try damage(digest)
        let store = try open()
        try store.put(bytes("precious data"))
        #expect(try store.get(digest) == bytes("precious data"))
        #expect(try names("corrupt").count == 1)
    }

    @Test func sweepsDeleteOnlyWhatIsOldAndUnnamed() throws {
        let store = try open()
        let kept = try store.put(bytes("kept"))
        let old = try store.put(bytes("old"))
        let used = try store.put(bytes("used"))
        clock.advance(by: .seconds(3600))
        let young = try store.put(bytes("young"))
        #expect(store.missing(from: [used]).isEmpty)
        #expect(try store.sweep(keeping: [kept], olderThan: .seconds(600), now: clock.now) == 1)
        #expect(!store.contains(old))
        for digest in [kept, used, young] { #expect(store.contains(digest)) }
        clock.advance(by: .seconds(600))
        #expect(try store.sweep(keeping: [], olderThan: .seconds(600), now: clock.now) == 3)
    }

    @Test func puttingAnOldBlobAgainSparesItFromTheSweep() throws {
        let store = try open()
        let digest = try store.put(bytes("a"))
        clock.advance(by: .seconds(3600))
        try store.put(bytes("a"))
        #expect(try store.sweep(keeping: [], olderThan: .seconds(600), now: clock.now) == 0)
        #expect(store.contains(digest))
    }

    @Test func damagedFilesAreKeptForAMonth() throws {
        let store = try open()
        let digest = try store.put(bytes("precious data"))
        try damage(digest)
        #expect(throws: BlobError.corrupt(digest)) { try store.get(digest) }
        clock.advance(by: .seconds(29 * 86_400))
        _ = try store.sweep(keeping: [], olderThan: .seconds(600), now: clock.now)
        #expect(try names("corrupt").count == 1)
        clock.advance(by: .seconds(2 * 86_400))
        _ = try store.sweep(keeping: [], olderThan: .seconds(600), now: clock.now)
        #expect(try names("corrupt").isEmpty)
    }

    @Test func concurrentPutsOfTheSameBlobsAgree() async throws {
        let store = try open()
        let blobs = (0..<20).map { bytes("blob \($0)") }
        try await withThrowingTaskGroup(of: [Digest].self) { group in
            for _ in 0..<8 {
                group.addTask { try await store.offPool { (store) throws(BlobError) in try store.putBatch(blobs) } }
            }
            var all: Set<[Digest]> = []
            for try await digests in group { all.insert(digests) }
            #expect(all.count == 1)
        }
        for blob in blobs { #expect(try store.get(store.put(blob)) == blob) }
        #expect(try names("incoming").isEmpty)
    }

    /// A manifest is written after its blobs were put or found; no sweep in between may take them.
    @Test func sweepsBesidePutsTakeNothingThatWasJustAcknowledged() async throws {
        let store = try open()
        let blobs = (0..<10).map { bytes("blob \($0)") }
        let clock = clock
        try await withThrowingTaskGroup { group in
            group.addTask {
                for _ in 0..<40 {
                    clock.advance(by: .seconds(700))
                    _ = try await store.offPool { (store) throws(BlobError) in
                        try store.sweep(keeping: [], olderThan: .seconds(600), now: clock.now)
                    }
                }
            }
            for _ in 0..<2 {
                group.addTask {
                    for blob in blobs + blobs {
                        let before = clock.now
                        let digest = try store.put(blob)
                        let isStored = store.contains(digest)
                        // Only when no grace time has passed since.
                        if clock.now.since(before) < .seconds(600) { #expect(isStored) }
                        await Task.yield()
                    }
                }
            }
            try await group.waitForAll()
        }
        for blob in blobs { #expect(try store.get(store.put(blob)) == blob) }
    }

    @Test func aDirectoryThatCannotBeUsedIsAnErrorThatSaysWhich() throws {
        try directory.write("file", bytes("x"))
        #expect {
            try FileBlobStore(directory: directory.appending("file/blobs"))
        } throws: { error in
            (error as? BlobError)?.publicMessage.contains("file/blobs") == true
        }
    }
}
