import AgentProtocol
import FoundationEssentials
import Glibc
import LinuxSystem
import Primitives

/// A member of etcd. It is started anew for a configuration that it cannot take over otherwise, and never when only the
/// list of its peers has changed, which it knows better itself. Its data is never deleted: that of a membership that
/// has ended lies beside, for one more membership.
struct EtcdProgram: ControllerProgram {
    let title = "etcd"
    let conditionType = "StoreMemberReady"
    var service: AdoptedService
    let directory: String
    let places: ServicePlaces

    init(places: ServicePlaces) {
        self.places = places
        directory = "\(places.directory)/etcd"
        let configuration = "\(directory)/etcd.yaml"
        service = AdoptedService(
            title: title, program: "/usr/bin/etcd", arguments: ["--config-file", configuration], sign: configuration,
            runtime: "\(places.runtime)/etcd", unit: places.unit("etcd"))
    }

    var configurationPath: String { "\(directory)/etcd.yaml" }
    private var markPath: String { "\(directory)/mark" }

    /// Where the data of a membership is.
    func dataPath(_ incarnation: String) -> String { "\(directory)/data-\(incarnation)" }

    var runningMark: String? { service.startedMark }

    func configuration(for item: EtcdMemberItem) throws(SystemError) -> ServiceConfiguration {
        let files = try item.certificate.map { (reference) throws(SystemError) in try places.files(of: reference) }
        return EtcdMemberConfiguration.text(for: item, data: dataPath(item.incarnation), files: files)
    }

    func use(_ configuration: ServiceConfiguration) throws(SystemError) {
        try service.makeFolders([directory])
        try SystemFile.replace(configurationPath, content: Array(configuration.text.utf8), mode: 0o600)
        // A unit reads it from here, also when systemd starts etcd without the agent.
        let line = "\(AdoptedService.markVariable)=\(configuration.mark)\n"
        try SystemFile.replace(markPath, content: Array(line.utf8), mode: 0o600)
        removeOldData(but: configuration)
        if service.unit == nil { try service.stop() }
        try service.marked(configuration.mark).startAndWatch()
    }

    func stop() throws(SystemError) {
        try service.stop()
        unlink(configurationPath)
        unlink(markPath)
    }

    /// Keeps the data that `configuration` names and the newest of the others.
    private func removeOldData(but configuration: ServiceConfiguration) {
        let folders = SystemFile.names(in: directory).filter { name in
            name.hasPrefix("data-") && !configuration.text.contains("\"\(directory)/\(name)\"")
        }
        func age(_ name: String) -> Int64 {
            SystemFile.modificationTime("\(directory)/\(name)")?.millisecondsSinceEpoch ?? 0
        }
        let sorted = folders.sorted { age($0) > age($1) }
        for name in sorted.dropFirst() {
            try? FileManager.default.removeItem(atPath: "\(directory)/\(name)")
        }
    }

    private func figures(_ item: EtcdMemberItem) -> EtcdFigures? {
        guard service.process != nil,
            let (status, body) = try? LocalQuestion.get("/metrics", port: item.metricsPort, of: title), status == 200
        else { return nil }
        return EtcdFigures(text: body)
    }

    /// etcd's own word on its health: a leader, no alarm, a read that works; or why not.
    private func problem(_ item: EtcdMemberItem) -> String? {
        struct Health: Decodable { var health: String }
        do throws(SystemError) {
            let (_, body) = try LocalQuestion.get("/health", port: item.metricsPort, of: title)
            let health = try? JSONDecoder().decode(Health.self, from: Data(body))
            return health?.health == "true"
                ? nil
                : "This member of the store is not healthy: it has no leader, or an alarm, such as a full store. "
                    + "See the other members: muster controller list"
        } catch {
            return "This member of the store does not answer: \(error.detail)."
        }
    }

    func look(at item: EtcdMemberItem) -> ServiceSight {
        let problem = problem(item)
        var sight = ServiceSight(fine: "etcd runs as the member \(item.name).")
        sight.conditions = [("StoreMemberHealthy", problem, "The member has a leader and takes part.")]
        sight.needed = ["StoreMemberHealthy"]
        guard let figures = figures(item) else { return sight }
        sight.facts.controller = ControllerFacts(
            etcd: .init(
                member: figures.member, part: figures.part, hasLeader: figures["etcd_server_has_leader"] == 1,
                isHealthy: problem == nil, databaseSize: figures.bytes("etcd_mvcc_db_total_size_in_bytes"),
                databaseUsed: figures.bytes("etcd_mvcc_db_total_size_in_use_in_bytes")))
        return sight
    }

    func samples(of item: EtcdMemberItem) -> [MetricsReport.Sample] { Self.samples(figures(item)) }

    /// What is sent of etcd's figures.
    static func samples(_ figures: EtcdFigures?) -> [MetricsReport.Sample] {
        var samples = [MetricsReport.Sample(name: "muster_controller_etcd_up", value: figures == nil ? 0 : 1)]
        guard let figures else { return samples }
        let gauges = [
            ("etcd_server_has_leader", "has_leader"), ("etcd_server_is_leader", "is_leader"),
            ("etcd_mvcc_db_total_size_in_bytes", "database_bytes"),
            ("etcd_mvcc_db_total_size_in_use_in_bytes", "database_used_bytes"),
            ("etcd_server_proposals_pending", "proposals_pending"),
        ]
        let counters = [
            ("etcd_server_leader_changes_seen_total", "leader_changes_total"),
            ("etcd_server_proposals_committed_total", "proposals_committed_total"),
            ("etcd_server_proposals_failed_total", "proposals_failed_total"),
            ("etcd_disk_wal_fsync_duration_seconds_sum", "fsync_seconds_total"),
            ("etcd_disk_wal_fsync_duration_seconds_count", "fsyncs_total"),
        ]
        for (list, isCounter) in [(gauges, false), (counters, true)] {
            for (theirs, ours) in list {
                guard let value = figures[theirs] else { continue }
                samples.append(
                    MetricsReport.Sample(
                        name: "muster_controller_etcd_\(ours)", value: value, isCounter: isCounter))
            }
        }
        return samples
    }
}
