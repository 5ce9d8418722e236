import AgentProtocol
import Glibc
import Identity
import Primitives
import Synchronization

/// A clock that the test sets.
final class ManualWallClock: WallClock {
    private let time: Mutex<Timestamp>

    init(_ milliseconds: Int64 = 1_800_000_000_000) {
        time = Mutex(Timestamp(millisecondsSinceEpoch: milliseconds))
    }

    var now: Timestamp { time.withLock { $0 } }

    func advance(by duration: Duration) { time.withLock { $0 = $0.advanced(by: duration) } }
}

/// Makes an empty directory, calls `body` with its path and removes it.
func withDirectory<Result>(_ body: (String) async throws -> Result) async throws -> Result {
    var template = Array("/tmp/identity-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw FixtureError(code: errno) }
    let path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    defer {
        for name in entries(of: path) { unlink("\(path)/\(name)") }
        rmdir(path)
    }
    return try await body(path)
}

/// The names in a directory.
func entries(of path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
}

/// A file's permission bits.
func mode(of path: String) -> UInt32 {
    var status = stat()
    return stat(path, &status) == 0 ? status.st_mode & 0o7777 : 0
}

/// Everything that printing, dumping and mirroring show of a value.
func shown(_ value: Any) -> String {
    var text = "\(value) \(String(describing: value)) \(String(reflecting: value))"
    dump(value, to: &text)
    return text
}

struct FixtureError: Error { let code: Int32 }

let nodeA = try! NodeID("0a000000-0000-4000-8000-000000000001")
let nodeB = try! NodeID("0b000000-0000-4000-8000-000000000002")

/// Random bytes that are the same for the same seed.
func seededBytes(_ seed: UInt64) -> RandomBytes {
    let source = RandomSource.seeded(seed)
    return RandomBytes { count in
        var source = source
        return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &source) }
    }
}
