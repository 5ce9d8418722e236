import Glibc
import Testing

/// Runs Debian's own tools, to make disks and to judge what was made.
enum Shell {
    /// The output of `command`; records an issue when it fails.
    @discardableResult
    static func run(_ command: String, sourceLocation: SourceLocation = #_sourceLocation) -> String {
        guard let pipe = popen("PATH=/usr/sbin:/usr/bin:/sbin:/bin; { \(command)\n} 2>&1", "r") else {
            Issue.record("no shell", sourceLocation: sourceLocation)
            return ""
        }
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = fread(&buffer, 1, buffer.count, pipe)
            if count == 0 { break }
            output += buffer[0..<count]
        }
        let text = String(decoding: output, as: UTF8.self)
        let status = pclose(pipe)
        #expect(status == 0, "\(command)\n\(text)", sourceLocation: sourceLocation)
        return text
    }
}

/// A directory that goes with the test.
final class TemporaryDirectory {
    let path: String

    init() {
        var template = Array("/tmp/muster-node-XXXXXX".utf8CString)
        path = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
    }

    deinit { Shell.run("rm -rf \(path)") }

    /// The path of `name` in the directory.
    func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }
}

/// A loop device over a file, which goes with the test.
final class LoopDevice {
    let path: String

    init(file: String, sectorSize: Int = 512) {
        path = String(
            Shell.run("losetup --partscan --find --show --sector-size \(sectorSize) \(file)").prefix { $0 != "\n" })
    }

    deinit { Shell.run("losetup --detach \(path)") }
}
