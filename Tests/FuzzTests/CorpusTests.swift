import Foundation
import FuzzTargets
import Testing

@Suite struct CorpusTests {
    private static let corpora = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fuzz/Corpora")

    /// Good inputs, and what fuzzing has found.
    @Test(arguments: FuzzTarget.all) func `every input that was kept is handled`(_ target: FuzzTarget) async throws {
        let folder = Self.corpora.appending(path: target.name).path
        let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        #expect(names.count >= 3, "\(target) has too few inputs")
        for name in names {
            let bytes = [UInt8](try #require(FileManager.default.contents(atPath: "\(folder)/\(name)")))
            #expect(bytes.count <= target.sizeMax, "\(target)/\(name) is longer than the target takes")
            do { try await target.run(bytes) } catch { Issue.record("\(target)/\(name): expected \(error)") }
        }
    }

    @Test func `every corpus has its target`() throws {
        let folders = try FileManager.default.contentsOfDirectory(atPath: Self.corpora.path)
        #expect(Set(folders) == Set(FuzzTarget.all.map(\.name)))
    }
}
