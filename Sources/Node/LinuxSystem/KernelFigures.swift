import Glibc
import Primitives

/// What the kernel counts about the machine; counters rise from boot on.
public struct KernelFigures: Hashable, Sendable {
    /// Seconds of all processors by what they did: `user`, `nice`, `system`, `idle`, `iowait`, `irq`, `softirq`, `steal`.
    public var cpuSeconds: [String: Double] = [:]
    /// Bytes by the names of /proc/meminfo, for example `MemAvailable`.
    public var memory: [String: UInt64] = [:]
    /// The load over 1, 5 and 15 minutes.
    public var load: [Double] = []
    /// By disk name; no partitions, loop or memory devices.
    public var disks: [String: Disk] = [:]
    /// By interface name, without loopback.
    public var interfaces: [String: Interface] = [:]
    /// Seconds since boot.
    public var uptime: Double = 0

    /// Counters of a disk (Documentation/admin-guide/iostats.rst).
    public struct Disk: Hashable, Sendable {
        /// Reads completed.
        public var reads: UInt64
        /// Bytes read.
        public var bytesRead: UInt64
        /// Writes completed.
        public var writes: UInt64
        /// Bytes written.
        public var bytesWritten: UInt64
        /// Milliseconds in which it had something to do.
        public var busyMilliseconds: UInt64
    }

    /// Counters of a network interface.
    public struct Interface: Hashable, Sendable {
        /// Bytes received.
        public var bytesReceived: UInt64
        /// Packets received.
        public var packetsReceived: UInt64
        /// Packets that could not be received.
        public var receiveErrors: UInt64
        /// Packets received and dropped.
        public var receiveDrops: UInt64
        /// Bytes sent.
        public var bytesSent: UInt64
        /// Packets sent.
        public var packetsSent: UInt64
        /// Packets that could not be sent.
        public var sendErrors: UInt64
        /// Packets dropped instead of sent.
        public var sendDrops: UInt64
    }

    /// No figures.
    public init() {}

    /// Reads the figures from procfs; what cannot be read is absent.
    public static func read() -> KernelFigures {
        func text(_ path: String) -> String { SystemFile.text(path, limit: 1 << 20) ?? "" }
        var figures = KernelFigures()
        figures.cpuSeconds = cpu(text("/proc/stat"), ticksPerSecond: Double(sysconf(Int32(_SC_CLK_TCK))))
        figures.memory = memory(text("/proc/meminfo"))
        figures.load = text("/proc/loadavg").split(separator: " ").prefix(3).compactMap { Double($0) }
        figures.disks = disks(text("/proc/diskstats"))
        figures.interfaces = interfaces(text("/proc/net/dev"))
        figures.uptime = text("/proc/uptime").split(separator: " ").first.flatMap { Double($0) } ?? 0
        return figures
    }

    static func cpu(_ stat: String, ticksPerSecond: Double) -> [String: Double] {
        let names = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"]
        guard let line = stat.split(separator: "\n").first(where: { $0.hasPrefix("cpu ") }) else { return [:] }
        let values = line.split(separator: " ").dropFirst().compactMap { Double($0) }
        return Dictionary(uniqueKeysWithValues: zip(names, values.map { $0 / ticksPerSecond }))
    }

    static func memory(_ meminfo: String) -> [String: UInt64] {
        var result: [String: UInt64] = [:]
        for line in meminfo.split(separator: "\n").prefix(128) {
            let parts = line.split { $0 == ":" || $0 == " " }
            guard parts.count == 3, parts[2] == "kB", let number = UInt64(parts[1]), number < 1 << 50 else { continue }
            result[String(parts[0])] = number << 10
        }
        return result
    }

    static func disks(_ diskstats: String) -> [String: Disk] {
        var result: [String: Disk] = [:]
        for line in diskstats.split(separator: "\n") {
            let parts = line.split(separator: " ")
            guard parts.count >= 14, result.count < 256, isWholeDisk(parts[2]) else { continue }
            let numbers = parts[3...].prefix(11).map { UInt64($0) ?? 0 }
            result[String(parts[2])] = Disk(
                reads: numbers[0], bytesRead: numbers[2] &* 512, writes: numbers[4], bytesWritten: numbers[6] &* 512,
                busyMilliseconds: numbers[9])
        }
        return result
    }

    /// `sda`, `vda`, `xvda`, `nvme0n1`, `mmcblk0`; not their partitions.
    private static func isWholeDisk(_ name: Substring) -> Bool {
        if name.hasPrefix("nvme") || name.hasPrefix("mmcblk") { return !name.dropFirst(4).contains("p") }
        let isDisk = ["sd", "vd", "xvd", "hd"].contains { name.hasPrefix($0) }
        return isDisk && !(name.last?.isNumber ?? true)
    }

    static func interfaces(_ dev: String) -> [String: Interface] {
        var result: [String: Interface] = [:]
        for line in dev.split(separator: "\n") {
            guard let colon = line.lastIndex(of: ":") else { continue }
            let name = line[..<colon].split(separator: " ").joined()
            let numbers = line[line.index(after: colon)...].split(separator: " ").compactMap { UInt64($0) }
            guard numbers.count == 16, name != "lo", result.count < 1024 else { continue }
            result[name] = Interface(
                bytesReceived: numbers[0], packetsReceived: numbers[1], receiveErrors: numbers[2],
                receiveDrops: numbers[3], bytesSent: numbers[8], packetsSent: numbers[9], sendErrors: numbers[10],
                sendDrops: numbers[11])
        }
        return result
    }
}

/// What the kernel counts about this process.
public struct ProcessFigures: Hashable, Sendable {
    /// Bytes of memory in use, file pages included.
    public var residentBytes: UInt64
    /// Bytes of it that belong to this process alone and to no file.
    public var anonymousBytes: UInt64
    /// Seconds of processor time.
    public var cpuSeconds: Double

    /// Reads the figures from procfs; zero when it cannot be read.
    public static func read() -> ProcessFigures {
        let page = UInt64(clamping: sysconf(Int32(_SC_PAGESIZE)))
        let numbers = (SystemFile.text("/proc/self/statm", limit: 4096) ?? "").split(separator: " ").compactMap {
            UInt64($0)
        }
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        let cpuSeconds = Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
        guard numbers.count >= 3 else {
            return ProcessFigures(residentBytes: 0, anonymousBytes: 0, cpuSeconds: cpuSeconds)
        }
        return ProcessFigures(
            residentBytes: numbers[1] * page, anonymousBytes: (numbers[1] - min(numbers[1], numbers[2])) * page,
            cpuSeconds: cpuSeconds)
    }
}
