import AgentProtocol
import NodeAgent
import Primitives

@testable import LinuxSystem
@testable import RoleCompute
@testable import RoleController
@testable import RoleNetwork
@testable import RoleStorage

/// Every figure that agents of all roles send, from the code that makes them.
enum AgentFigures {
    static func all() -> [MetricsReport.Sample] {
        MachineMetrics.read() + network() + storage() + compute() + proxy() + controller()
    }

    private static func network() -> [MetricsReport.Sample] {
        var probes = TunnelProbes()
        var now = Duration.zero
        let ends = [1, 2].map { number in
            TunnelEnd(address: IPv4Address(0x0A00_0000 + number), name: "net-\(number)", packetSize: 1500)
        }
        _ = probes.step(.ends(ends), at: now)
        while now < .seconds(120) {
            for probe in probes.step(.tick, at: now).probes where probe.to == ends[0].address {
                _ = probes.step(.answered(probe.to, sequence: probe.sequence), at: now + .milliseconds(2))
            }
            guard let next = probes.nextTick(after: now) else { break }
            now = max(next, now + .milliseconds(5))
        }
        let item = OverlayItem(vni: 7, bridge: "br-tun", device: "vxlan7", local: nil, peers: ends.map(\.address))
        let counters = KernelFigures.Interface(
            bytesReceived: 1, packetsReceived: 1, receiveErrors: 0, receiveDrops: 0, bytesSent: 1, packetsSent: 1,
            sendErrors: 0, sendDrops: 0)
        return TunnelReport.samples(probes) + NetworkRole.samples([item], ["vxlan7": counters])
    }

    private static func storage() -> [MetricsReport.Sample] {
        let member = StorageFacts.Member(
            uuid: "M1", path: "/dev/sda", serial: "S1", size: .gibibytes(8), health: .failing, notes: ["old"])
        let pool = StorageFacts.Pool(name: "data", size: .gibibytes(8), free: .gibibytes(2), members: [member])
        var health = DiskHealth()
        (health.temperature, health.powerOnHours, health.percentUsed, health.mediaErrors) = (40, 9, 3, 1)
        return StorageFigures.samples(
            StorageFacts(pools: [pool]), ["/dev/sda": health], errors: ["/dev/sda": 1])
    }

    private static func compute() -> [MetricsReport.Sample] {
        var figures = ComputeFigures()
        figures.hugePages[.mebibytes(2)] = .init(free: 1, total: 2)
        return ComputeRole.samples(figures)
    }

    private static func controller() -> [MetricsReport.Sample] {
        let names = [
            "etcd_server_has_leader", "etcd_server_is_leader", "etcd_mvcc_db_total_size_in_bytes",
            "etcd_mvcc_db_total_size_in_use_in_bytes", "etcd_server_proposals_pending",
            "etcd_server_leader_changes_seen_total", "etcd_server_proposals_committed_total",
            "etcd_server_proposals_failed_total", "etcd_disk_wal_fsync_duration_seconds_sum",
            "etcd_disk_wal_fsync_duration_seconds_count",
        ]
        let text = names.map { "\($0) 1\n" }.joined()
        return EtcdProgram.samples(EtcdFigures(text: Array(text.utf8))) + KeepalivedProgram.samples(.master)
            + ChronyProgram.samples(.init(source: "192.0.2.1", stratum: 3, offsetMicroseconds: 12))
            + ConductorProgram.samples(isRunning: true)
    }

    private static func proxy() -> [MetricsReport.Sample] {
        let csv = """
            # pxname,svname,qcur,scur,stot,bin,bout,econ,status,check_status,last_chk,check_desc,
            api,FRONTEND,,2,9,100,200,,OPEN,,,,
            conductors,10.77.0.1:9443,0,1,5,60,120,1,UP,L7OK,fine,fine,

            """
        return ProxyFigures.samples(HAProxyStatistics(csv: Array(csv.utf8)))
    }
}
