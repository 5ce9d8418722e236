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

    /// Whether the directory is empty or was made by `up`: nothing else is written into or removed.
    static func looksLikeRack(_ layout: RackLayout) -> Bool {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: layout.root)) ?? []
        return files.isEmpty || files.contains("rack.lock") || files.contains("rack.json")
    }

    /// Ends the rack's processes, removes the namespace's name and, if wanted, the files; then looks for left-overs.
    static func takeDown(_ layout: RackLayout, name: String?, removeFiles: Bool) async throws {
        for anchor in anchors(of: layout) {
            // Outsiders first: while the anchor lives, the numbers of its namespaces belong to this rack.
            for outsider in members(of: namespaces(of: anchor.pid)) where outsider.pid != anchor.pid {
                outsider.signal(SIGKILL)
            }
            anchor.signal(SIGKILL)
            try await anchor.waitForEnd()
        }
        if let name, isNamespaceStale(name) { try await Commands.run(["ip", "netns", "delete", "muster-\(name)"]) }
        if removeFiles, FileManager.default.fileExists(atPath: layout.root) {
            try FileManager.default.removeItem(atPath: layout.root)
        }
        let left = leftOvers(layout, name: name, expectFiles: !removeFiles)
        guard left.isEmpty else { throw RackError.leftOver(left) }
    }

    /// Whether the namespace's name exists and no rack of that name, with whatever state directory, is up.
    static func isNamespaceStale(_ name: String) -> Bool {
        FileManager.default.fileExists(atPath: namespaceFile("muster-\(name)"))
            && !allAnchors().contains { $0.name == name }
    }

    /// The anchors of a state directory, recorded or not.
    ///
    /// The path may mean another directory to a process with other mounts, so the directory is compared as well.
    private static func anchors(of layout: RackLayout) -> [RackProcess] {
        allAnchors().filter { anchor in
            anchor.root == layout.root
                && FileIdentity("/proc/\(anchor.process.pid)/root\(layout.root)") == FileIdentity(layout.root)
        }.map(\.process)
    }

    private static func allAnchors() -> [(process: RackProcess, name: String, root: String)] {
        allPIDs().compactMap { pid in
            guard let start = RackProcess.startTime(ofRunning: pid) else { return nil }
            let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") ?? Data()
            let arguments = data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            guard arguments.count == 6, arguments[3] == anchorName else { return nil }
            let process = RackProcess(name: anchorName, pid: pid, logFile: "", startTime: start)
            return (process, arguments[4], arguments[5])
        }
    }

    /// Processes that are in one of these network or PID namespaces.
    private static func members(of wanted: Set<FileIdentity>) -> [RackProcess] {
        allPIDs().compactMap { pid in
            guard let start = RackProcess.startTime(ofRunning: pid) else { return nil }
            guard !wanted.isDisjoint(with: namespaces(of: pid)) else { return nil }
            return RackProcess(name: "process \(pid)", pid: pid, logFile: "", startTime: start)
        }
    }

    private static func namespaces(of pid: Int32) -> Set<FileIdentity> {
        Set(["net", "pid"].compactMap { FileIdentity("/proc/\(pid)/ns/\($0)") })
    }

    private static func leftOvers(_ layout: RackLayout, name: String?, expectFiles: Bool) -> [String] {
        var left = anchors(of: layout).map { "process \($0.pid)" }
        if let name, isNamespaceStale(name) { left.append("network namespace muster-\(name)") }
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
}

/// Which file, directory or namespace a path leads to, whatever its name.
package struct FileIdentity: Hashable {
    private let device: UInt64
    private let number: UInt64

    /// Nil when the path leads nowhere.
    package init?(_ path: String) {
        var found = stat()
        guard stat(path, &found) == 0 else { return nil }
        device = UInt64(found.st_dev)
        number = UInt64(found.st_ino)
    }
}
