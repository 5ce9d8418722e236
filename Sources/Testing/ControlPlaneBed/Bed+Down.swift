import FoundationEssentials
import Glibc
import Primitives
import VirtualRack

extension Bed {
    /// Ends every process of the bed in `directory` and removes its network, mounts and files, also of one whose maker was
    /// killed; does nothing when there is nothing. Throws `BedError.leftOver` when something could not be removed.
    public static func down(_ directory: String) async throws {
        guard geteuid() == 0 else { throw BedError.notRoot }
        let root = directory
        for anchor in anchors(of: root) {
            anchor.signal(SIGKILL)
            try await anchor.waitForEnd()
        }
        if FileManager.default.fileExists(atPath: root) {
            let files = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
            guard files.isEmpty || files.contains("bed.lock") || files.contains("bed.json") else {
                throw BedError.failed("\(root) is not the directory of a bed: nothing was removed.")
            }
            try FileManager.default.removeItem(atPath: root)
        }
        let left = anchors(of: root).map { "process \($0.pid)" }
        guard left.isEmpty else { throw BedError.leftOver(left) }
    }

    /// The anchors of a directory, recorded or not.
    static func anchors(of root: String) -> [RackProcess] {
        let numbers = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { Int32($0) }
        return numbers.compactMap { pid in
            guard let process = RackProcess(name: anchorName, running: pid) else { return nil }
            let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data()
            let words = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            guard words.count == 5, words[3] == anchorName, words[4] == root else { return nil }
            // The same path may be another directory to a process with other mounts.
            let theirs = FileIdentity("/proc/\(pid)/root\(root)")
            return theirs == nil || theirs == FileIdentity(root) ? process : nil
        }
    }
}
