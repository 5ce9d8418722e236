import AgentProtocol
import LinuxSystem
import Primitives

/// The figures of a machine and of the agent itself, in the names that Prometheus' node exporter uses where it has one.
public enum MachineMetrics {
    /// The figures now.
    public static func read() -> [MetricsReport.Sample] {
        samples(KernelFigures.read(), ProcessFigures.read(), Machine.clockState)
    }

    static func samples(
        _ kernel: KernelFigures, _ process: ProcessFigures, _ clock: Machine.ClockState? = nil
    ) -> [MetricsReport.Sample] {
        var samples: [MetricsReport.Sample] = []
        func add(_ name: String, _ value: Double, _ labels: [String: String] = [:], isCounter: Bool = false) {
            samples.append(MetricsReport.Sample(name: name, labels: labels, value: value, isCounter: isCounter))
        }
        for (mode, seconds) in kernel.cpuSeconds.sorted(by: { $0.key < $1.key }) {
            add("node_cpu_seconds_total", seconds, ["mode": mode], isCounter: true)
        }
        for (name, bytes) in kernel.memory.sorted(by: { $0.key < $1.key }) where Self.memory.contains(name) {
            add("node_memory_\(name)_bytes", Double(bytes))
        }
        for (name, value) in zip(["node_load1", "node_load5", "node_load15"], kernel.load) { add(name, value) }
        for (name, disk) in kernel.disks.sorted(by: { $0.key < $1.key }).prefix(64) {
            let labels = ["device": name]
            add("node_disk_reads_completed_total", Double(disk.reads), labels, isCounter: true)
            add("node_disk_read_bytes_total", Double(disk.bytesRead), labels, isCounter: true)
            add("node_disk_writes_completed_total", Double(disk.writes), labels, isCounter: true)
            add("node_disk_written_bytes_total", Double(disk.bytesWritten), labels, isCounter: true)
            add("node_disk_io_time_seconds_total", Double(disk.busyMilliseconds) / 1000, labels, isCounter: true)
        }
        for (name, nic) in kernel.interfaces.sorted(by: { $0.key < $1.key }).prefix(64) {
            let labels = ["device": name]
            add("node_network_receive_bytes_total", Double(nic.bytesReceived), labels, isCounter: true)
            add("node_network_receive_packets_total", Double(nic.packetsReceived), labels, isCounter: true)
            add("node_network_receive_errs_total", Double(nic.receiveErrors), labels, isCounter: true)
            add("node_network_receive_drop_total", Double(nic.receiveDrops), labels, isCounter: true)
            add("node_network_transmit_bytes_total", Double(nic.bytesSent), labels, isCounter: true)
            add("node_network_transmit_packets_total", Double(nic.packetsSent), labels, isCounter: true)
            add("node_network_transmit_errs_total", Double(nic.sendErrors), labels, isCounter: true)
            add("node_network_transmit_drop_total", Double(nic.sendDrops), labels, isCounter: true)
        }
        if let clock {
            add("node_timex_sync_status", clock.isSynchronised ? 1 : 0)
            add("node_timex_offset_seconds", clock.offsetSeconds)
            add("node_timex_maxerror_seconds", clock.maxErrorSeconds)
            add("node_timex_estimated_error_seconds", clock.estimatedErrorSeconds)
        }
        add("muster_node_uptime_seconds", kernel.uptime)
        add("muster_agent_resident_memory_bytes", Double(process.residentBytes))
        add("muster_agent_anonymous_memory_bytes", Double(process.anonymousBytes))
        add("muster_agent_cpu_seconds_total", process.cpuSeconds, isCounter: true)
        return samples
    }

    private static let memory: Set<String> = [
        "MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapTotal", "SwapFree",
    ]
}
