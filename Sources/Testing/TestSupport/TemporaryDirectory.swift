import FoundationEssentials

/// A directory of a test's own that is removed, with all in it, when the last reference goes.
public final class TemporaryDirectory: Sendable {
    /// Its absolute path.
    public let path: String

    /// Makes a directory with a unique name below the system's directory for temporary files.
    public init(_ label: String = "test") throws {
        let name = "muster-\(label)-\(UUID().uuidString.lowercased())"
        path = FileManager.default.temporaryDirectory.appending(path: name).path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    /// The path of something in it.
    public func appending(_ name: String) -> String { "\(path)/\(name)" }

    /// Writes a file and returns its path.
    @discardableResult
    public func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        try Data(bytes).write(to: URL(filePath: appending(name)))
        return appending(name)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
