import FoundationEssentials

/// Text that must stay as it is in a file under `Tests/Golden`.
public enum GoldenFile {
    /// The two differ.
    public struct Mismatch: Error, CustomStringConvertible {
        /// What differs first and how to accept it.
        public let description: String
    }

    /// Compares `actual` with `Tests/Golden/<name>`; throws `Mismatch` with the first line that differs.
    ///
    /// With `MUSTER_REGENERATE_GOLDEN=1` in the environment the file is written instead: look at the change before
    /// committing it. The tests' folder is found from `caller`.
    public static func compare(_ actual: String, with name: String, caller: String = #filePath) throws {
        let url = try directory(of: caller).appending(path: name)
        if ProcessInfo.processInfo.environment["MUSTER_REGENERATE_GOLDEN"] == "1" {
            return try replace(name, Array(actual.utf8), caller: caller)
        }
        guard let data = FileManager.default.contents(atPath: url.path) else {
            throw Mismatch(description: "Tests/Golden/\(name) is missing; run with MUSTER_REGENERATE_GOLDEN=1")
        }
        let expected = String(decoding: data, as: UTF8.self)
        guard expected != actual else { return }
        throw Mismatch(description: "Tests/Golden/\(name), \(firstDifference(expected, actual))")
    }

    /// The bytes of `Tests/Golden/<name>`.
    public static func contents(of name: String, caller: String = #filePath) throws -> [UInt8] {
        let url = try directory(of: caller).appending(path: name)
        guard let data = FileManager.default.contents(atPath: url.path) else {
            throw Mismatch(description: "Tests/Golden/\(name) is missing")
        }
        return Array(data)
    }

    /// Writes `Tests/Golden/<name>`.
    public static func replace(_ name: String, _ bytes: [UInt8], caller: String = #filePath) throws {
        let url = try directory(of: caller).appending(path: name)
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: url)
    }

    private static func directory(of caller: String) throws -> URL {
        var url = URL(filePath: caller)
        while url.path.count > 1 {
            url = url.deletingLastPathComponent()
            if url.lastPathComponent == "Tests" { return url.appending(path: "Golden") }
        }
        throw Mismatch(description: "\(caller) is not in a folder named Tests")
    }

    private static func firstDifference(_ expected: String, _ actual: String) -> String {
        let old = expected.split(separator: "\n", omittingEmptySubsequences: false)
        let new = actual.split(separator: "\n", omittingEmptySubsequences: false)
        let same = zip(old, new).prefix { $0 == $1 }.count
        func line(_ lines: [Substring]) -> String { same < lines.count ? "'\(lines[same])'" : "the end" }
        return "line \(same + 1): expected \(line(old)), got \(line(new)); "
            + "MUSTER_REGENERATE_GOLDEN=1 accepts the new text"
    }
}
