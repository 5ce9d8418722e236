import Foundation
import Primitives
import TestSupport
import Testing

@testable import Identity

@Suite struct SealedFileTests {
    private static let chunk = 64
    private let directory: TemporaryDirectory
    private let key = SealedFileKey.passphrase(SecretText("correct horse battery"))
    private var path: String { directory.appending("sealed") }

    init() throws { directory = try TemporaryDirectory("sealed") }

    private func bytes(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    private func seal(_ bytes: [UInt8], _ key: SealedFileKey? = nil) throws {
        var writer = try SealedFileWriter(path, key: key ?? self.key, chunkSize: Self.chunk, cost: .trivial)
        var rest = bytes[...]
        while !rest.isEmpty {
            try writer.append(rest.prefix(37))
            rest = rest.dropFirst(37)
        }
        try writer.finish()
    }

    private func open(_ key: SealedFileKey? = nil) throws -> [UInt8] {
        var reader = try SealedFileReader(path, key: key ?? self.key)
        var bytes: [UInt8] = []
        var part = try reader.read(50)
        while !part.isEmpty {
            bytes += part
            part = try reader.read(50)
        }
        return bytes
    }

    private func content() throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }

    private func replace(_ content: [UInt8]) throws { try Data(content).write(to: URL(fileURLWithPath: path)) }

    @Test(arguments: [0, 1, 63, 64, 65, 128, 129, 1000])
    func `what was sealed is opened, whole chunks or not`(count: Int) throws {
        try seal(bytes(count))
        #expect(try open() == bytes(count))
        let rights = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(rights == 0o600)
        #expect(try content().count > count)
    }

    @Test func `a key file seals too, and the usual cost works`() throws {
        let file = SealedFileKey.file(bytes(32, seed: 2))
        try seal(bytes(100), file)
        #expect(try open(file) == bytes(100))
        var writer = try SealedFileWriter(path, key: key)
        try writer.append(bytes(3 << 20))
        try writer.finish()
        #expect(try open() == bytes(3 << 20))
    }

    @Test func `no other key opens it`() throws {
        try seal(bytes(100))
        #expect(throws: SealedFileError.wrongKey) { try open(.passphrase(SecretText("correct horse batterz"))) }
        #expect(throws: SealedFileError.wrongKind(wanted: "a passphrase")) { try open(.file(bytes(32))) }
        try seal(bytes(100), .file(bytes(32)))
        #expect(throws: SealedFileError.wrongKey) { try open(.file(bytes(32, seed: 3))) }
        #expect(throws: SealedFileError.wrongKind(wanted: "a key file")) { try open() }
    }

    @Test func `a file that is cut off anywhere is refused`() throws {
        try seal(bytes(200))
        let whole = try content()
        for count in whole.indices {
            try replace(Array(whole.prefix(count)))
            #expect(throws: SealedFileError.self, "\(count) bytes") { try open() }
        }
        try replace(whole + [0])
        #expect(throws: SealedFileError.self) { try open() }
    }

    @Test func `a file that is changed anywhere is refused`() throws {
        try seal(bytes(200))
        let whole = try content()
        for index in whole.indices {
            var changed = whole
            changed[index] ^= 4
            try replace(changed)
            #expect(throws: SealedFileError.self, "byte \(index)") { try open() }
        }
        try replace(whole)
        #expect(try open() == bytes(200))
    }

    @Test func `chunks that have changed places are refused, and those of another file`() throws {
        try seal(bytes(64 * 4))
        let whole = try content()
        let size = Self.chunk + SealedFileCipher.tagSize
        let start = whole.count - 4 * size
        var changed = Array(whole[..<start])
        for chunk in [0, 2, 1, 3] { changed += whole[(start + chunk * size)..<(start + (chunk + 1) * size)] }
        try replace(changed)
        #expect(throws: SealedFileError.changed(atByte: UInt64(start + size))) { try open() }
        try seal(bytes(64 * 4))
        let other = try content()
        try replace(Array(whole[..<(start + size)]) + other[(start + size)...])
        #expect(throws: SealedFileError.changed(atByte: UInt64(start + size))) { try open() }
    }

    @Test func `what is not finished leaves the older file and nothing else`() throws {
        try seal(bytes(10))
        do {
            var writer = try SealedFileWriter(path, key: key, chunkSize: Self.chunk, cost: .trivial)
            try writer.append(bytes(500))
        }
        #expect(try open() == bytes(10))
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["sealed"])
    }

    @Test func `passphrases and keys that are short or readable by others are refused`() throws {
        try directory.write("pass", Array("too short\n".utf8))
        chmod(directory.appending("pass"), 0o600)
        #expect(throws: SealedFileError.weak(directory.appending("pass"), sizeMin: 12)) {
            _ = try SealedFileKey.passphrase(inFile: directory.appending("pass"))
        }
        try directory.write("open", Array("a passphrase that is long\n".utf8))
        chmod(directory.appending("open"), 0o644)
        #expect(throws: PrivateFileError.self) { _ = try SealedFileKey.passphrase(inFile: directory.appending("open")) }
        #expect(throws: SealedFileError.noKey(directory.appending("none"))) {
            _ = try SealedFileKey.file(directory.appending("none"))
        }
    }
}
