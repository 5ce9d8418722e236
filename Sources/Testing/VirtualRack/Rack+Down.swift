import FoundationEssentials
import Glibc
import Primitives

extension Rack {
    /// Takes the rack down, whole or half-made, and removes its state directory.
    ///
    /// Does nothing when there is nothing. Throws `RackError.leftOver` when something could not be removed.
    public func down() async throws {
        try await Self.down(stateDirectory: stateDirectory, name: file.name)
    }

    /// Takes down the rack of a state directory; `name` is used when the directory has no record of it.
    public static func down(stateDirectory: String, name: String?) async throws {
        let layout = RackLayout(root: try checked(stateDirectory))
        guard geteuid() == 0 else { throw RackError.notRoot }
        let recorded = RackRecord.load(layout)?.name ?? name
        guard FileManager.default.fileExists(atPath: layout.root) else {
            try await takeDown(layout, name: recorded, removeFiles: false)
            return
        }
        guard looksLikeRack(layout) else {
            throw RackError.failed("\(layout.root) is not the state of a rack: nothing was removed.")
        }
        try await locked(layout) { try await takeDown(layout, name: recorded, removeFiles: true) }
    }

    private static func looksLikeRack(_ layout: RackLayout) -> Bool {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: layout.root)) ?? []
        return files.isEmpty || files.contains("lock") || files.contains("rack.json")
    }

    /// Ends the rack's processes, removes the namespace's name and, if wanted, the files; then looks for left-overs.
    static func takeDown(_ layout: RackLayout, name: String?, removeFiles: Bool) async throws {
        for anchor in anchors(layout) {
            let files = ["/proc/\(anchor.pid)/ns/net", "/proc/\(anchor.pid)/ns/pid"]
            let namespaces = Set(files.compactMap(inode))
            // Outsiders first: while the anchor lives, the numbers of its namespaces belong to this rack.
            for outsider in members(of: namespaces) where outsider.pid != anchor.pid { outsider.signal(SIGKILL) }
            anchor.signal(SIGKILL)
            try await anchor.waitForEnd()
        }
        if let name, FileManager.default.fileExists(atPath: namespaceFile("muster-\(name)")) {
            try await Commands.run(["ip", "netns", "delete", "muster-\(name)"])
        }
        if removeFiles, FileManager.default.fileExists(atPath: layout.root) {
            try FileManager.default.removeItem(atPath: layout.root)
        }
        let left = leftOvers(layout, name: name, expectFiles: !removeFiles)
        guard left.isEmpty else { throw RackError.leftOver(left) }
    }

    /// Every anchor whose command line says that it belongs to this state directory, recorded or not.
    private static func anchors(_ layout: RackLayout) -> [RackProcess] {
        allPIDs().compactMap { pid in
            guard let start = RackProcess.startTime(ofRunning: pid) else { return nil }
            let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data()
            let arguments = data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            guard arguments.count == 6, arguments[3] == anchorName, arguments[5] == layout.root else { return nil }
            return RackProcess(name: anchorName, pid: pid, logFile: layout.log(anchorName), startTime: start)
        }
    }

    /// Processes that are in one of the network or PID namespaces with these inode numbers.
    private static func members(of namespaces: Set<UInt64>) -> [RackProcess] {
        allPIDs().compactMap { pid in
            guard let start = RackProcess.startTime(ofRunning: pid) else { return nil }
            let own = [inode("/proc/\(pid)/ns/net"), inode("/proc/\(pid)/ns/pid")].compactMap(\.self)
            guard !namespaces.isDisjoint(with: own) else { return nil }
            return RackProcess(name: "process \(pid)", pid: pid, logFile: "", startTime: start)
        }
    }

    private static func leftOvers(_ layout: RackLayout, name: String?, expectFiles: Bool) -> [String] {
        var left = anchors(layout).map { "process \($0.pid)" }
        if let name, FileManager.default.fileExists(atPath: namespaceFile("muster-\(name)")) {
            left.append("network namespace muster-\(name)")
        }
        let mounts = FileManager.default.contents(atPath: "/proc/self/mountinfo") ?? Data()
        let lines = String(decoding: mounts, as: UTF8.self).split(separator: "\n")
        for line in lines where line.contains("\(layout.root)/") {
            left.append("mount \(line.split(separator: " ").dropFirst(4).first ?? "")")
        }
        if !expectFiles, FileManager.default.fileExists(atPath: layout.root) { left.append("files in \(layout.root)") }
        return left
    }

    private static func allPIDs() -> [Int32] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { Int32($0) }
    }

    static func namespaceFile(_ name: String) -> String { "/run/netns/\(name)" }

    /// The inode number of what `path` leads to, nil when it cannot be read.
    static func inode(_ path: String) -> UInt64? {
        var found = stat()
        return stat(path, &found) == 0 ? UInt64(found.st_ino) : nil
    }
}
