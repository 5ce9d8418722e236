import CLinux
import Glibc
import Primitives

/// The running machine as a whole.
public enum Machine {
    /// The kernel's release, for example `6.1.0-32-amd64`.
    public static var kernelVersion: String { field(\.release) }
    /// The instruction set, for example `x86_64`.
    public static var architecture: String { field(\.machine) }
    /// The kernel's identifier of this boot, a UUID.
    public static var bootID: String { SystemFile.text("/proc/sys/kernel/random/boot_id") ?? "unknown" }

    /// Seconds since the boot, also those that the machine slept (CLOCK_BOOTTIME).
    public static var uptimeSeconds: Int {
        var value = timespec()
        return clock_gettime(CLOCK_BOOTTIME, &value) == 0 ? value.tv_sec : 0
    }

    /// What the kernel says of its clock; nil when it does not tell.
    public static var clockState: ClockState? {
        var state = clinux_clock_state()
        guard clinux_read_clock_state(&state) == 0 else { return nil }
        return ClockState(
            isSynchronised: state.is_synchronised != 0, offsetSeconds: Double(state.offset_nanoseconds) / 1e9,
            maxErrorSeconds: Double(state.max_error_microseconds) / 1e6,
            estimatedErrorSeconds: Double(state.estimated_error_microseconds) / 1e6)
    }

    /// The kernel's view of its clock (adjtimex(2)).
    public struct ClockState: Hashable, Sendable {
        /// Whether a time service such as chrony keeps it.
        public var isSynchronised: Bool
        /// What is being corrected now.
        public var offsetSeconds: Double
        /// The most that it may be wrong by.
        public var maxErrorSeconds: Double
        /// What it is thought to be wrong by.
        public var estimatedErrorSeconds: Double
    }

    /// Sets the wall clock (CLOCK_REALTIME), and the hardware's clock, which the next boot begins with, where there is
    /// one. Throws `SystemError` without the privilege.
    public static func setClock(_ time: Timestamp) throws(SystemError) {
        let milliseconds = time.millisecondsSinceEpoch
        var value = timespec(
            tv_sec: Int(milliseconds / 1000), tv_nsec: Int(milliseconds % 1000) * 1_000_000)
        guard clock_settime(CLOCK_REALTIME, &value) == 0 else { throw SystemError("set the clock", errno: errno) }
        let code = clinux_set_hardware_clock(milliseconds / 1000)
        guard code == 0 else { throw SystemError("set the hardware's clock", errno: code) }
    }

    /// Writes back all file systems, then resets the machine; returns only by throwing `SystemError`.
    public static func restart() throws(SystemError) {
        sync()
        throw SystemError("restart the machine", errno: clinux_restart())
    }

    /// Writes back all file systems, then turns the machine off; returns only by throwing `SystemError`.
    public static func powerOff() throws(SystemError) {
        sync()
        throw SystemError("turn the machine off", errno: clinux_power_off())
    }

    private static func field<Field>(_ path: KeyPath<utsname, Field>) -> String {
        var names = utsname()
        guard uname(&names) == 0 else { return "unknown" }
        return withUnsafeBytes(of: names[keyPath: path]) { raw in
            String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}

/// The kernel's command line: words and `name=value` pairs parted by blanks.
public struct KernelCommandLine: Hashable, Sendable {
    private let values: [String: String]

    /// Reads `text`, for example the content of /proc/cmdline; of a name given twice the last value counts.
    public init(_ text: String) {
        let words = text.split { $0 == " " || $0 == "\n" || $0 == "\t" }
        values = Dictionary(
            words.map { word in
                let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                return (String(parts[0]), parts.count == 2 ? String(parts[1]) : "")
            }, uniquingKeysWith: { $1 })
    }

    /// The command line of the running kernel.
    public static var current: KernelCommandLine { KernelCommandLine(SystemFile.text("/proc/cmdline") ?? "") }

    /// The value of `name`; empty for a bare word, nil when it is not there.
    public subscript(name: String) -> String? { values[name] }
}
