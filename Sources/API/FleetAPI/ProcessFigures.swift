import AgentProtocol
import Glibc

/// What the kernel tells of this process (proc(5)), under the names of Prometheus' client libraries.
enum ProcessFigures {
    /// Resident memory, processor time, open files and threads as far as the kernel tells them.
    static func now() -> [MetricsReport.Sample] {
        var samples: [MetricsReport.Sample] = []
        // The fields after the command's name, which may hold blanks and parentheses itself.
        if let stat = read("/proc/self/stat"), let end = stat.lastIndex(of: ")") {
            let fields = stat[stat.index(after: end)...].split(separator: " ")
            if fields.count > 21, let user = Double(fields[11]), let system = Double(fields[12]) {
                let seconds = (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
                samples.append(.init(name: "process_cpu_seconds_total", value: seconds, isCounter: true))
            }
            if fields.count > 21, let threads = Double(fields[17]), let pages = Double(fields[21]) {
                samples.append(.init(name: "process_threads", value: threads))
                let bytes = pages * Double(sysconf(Int32(_SC_PAGESIZE)))
                samples.append(.init(name: "process_resident_memory_bytes", value: bytes))
            }
        }
        if let directory = opendir("/proc/self/fd") {
            defer { closedir(directory) }
            var count = -3.0
            while readdir(directory) != nil { count += 1 }
            samples.append(.init(name: "process_open_fds", value: count))
        }
        return samples
    }

    private static func read(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = Glibc.read(file, &bytes, bytes.count)
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }
}
