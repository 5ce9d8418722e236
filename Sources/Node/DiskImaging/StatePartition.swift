import AgentProtocol
import Glibc
import LinuxSystem
import Primitives

/// The partition that holds all that makes one node different from another.
public enum StatePartition {
    /// Its name in the partition table.
    public static let name = "state"

    /// Mounts the ext4 file system on `device` in a directory of its own, writes `files`, syncs, and unmounts, also
    /// after an error. Throws `DiskError`.
    public static func write(_ files: [StateFile], device: String) throws(DiskError) {
        for file in files where !isBelow(file.path) { throw .filePath(file.path) }
        var template = Array("/run/muster-state-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw .failed(action: "make", path: "/run", errno: errno) }
        let directory = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        defer { rmdir(directory) }
        try mountState(device, at: directory)
        var failure: DiskError?
        do throws(DiskError) {
            for file in files { try write(file, below: directory) }
        } catch {
            failure = error
        }
        if umount2(directory, 0) != 0, failure == nil {
            failure = .failed(action: "unmount", path: device, errno: errno)
        }
        if let failure { throw failure }
    }

    /// Mounts `device`; tries again for 5 s while it comes into being or the system's prober holds it.
    private static func mountState(_ device: String, at directory: String) throws(DiskError) {
        let flags = UInt(MS_NOSUID | MS_NODEV | MS_NOEXEC)
        for attempt in 0... {
            if mount(device, directory, "ext4", flags, nil) == 0 { return }
            let code = errno
            guard [ENOENT, ENXIO, EBUSY].contains(code), attempt < 50 else {
                throw .failed(action: "mount", path: device, errno: code)
            }
            usleep(100_000)
        }
    }

    /// Writes `file` below `directory`, replacing what is there; the content is on the disk when this returns.
    static func write(_ file: StateFile, below directory: String) throws(DiskError) {
        let parts = file.path.split(separator: "/")
        var parent = directory
        for part in parts.dropLast() {
            parent += "/\(part)"
            guard mkdir(parent, 0o755) == 0 || errno == EEXIST else {
                throw .failed(action: "make the directory", path: parent, errno: errno)
            }
        }
        let path = "\(parent)/\(parts.last ?? "")"
        do throws(SystemError) {
            try SystemFile.replace(path, content: Array(file.content.utf8), mode: file.mode & 0o777)
        } catch {
            throw .failed(action: "write", path: path, errno: error.errno)
        }
    }

    /// Whether `path` is relative, of plain components, and leads nowhere but down.
    static func isBelow(_ path: String) -> Bool {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        return (1...8).contains(parts.count) && path.utf8.count <= 512 && path.hasOnlyPrintableScalars
            && parts.allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." }
    }
}
