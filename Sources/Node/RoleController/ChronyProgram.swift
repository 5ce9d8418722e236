import AgentProtocol
import Glibc
import LinuxSystem
import Primitives
import ProgramRuns

/// chronyd as a controller's clock. It is started anew for a change, which costs no time: its drift is kept in a file.
struct ChronyProgram: ControllerProgram {
    let title = "chrony"
    let conditionType = "TimeReady"
    var service: AdoptedService
    let directory: String
    private let folders: Folders

    /// What chronyd needs once it has given up root's rights.
    struct Folders: Hashable, Sendable {
        /// For its drift.
        var state = "/var/lib/chrony"
        /// For its socket and its PID.
        var runtime = "/run/chrony"
        /// Who it is then.
        var user = "_chrony"
        /// Whether the kernel's clock is left alone.
        var isHarmless = false
    }

    init(places: ServicePlaces, folders: Folders = Folders()) {
        directory = "\(places.directory)/chrony"
        self.folders = folders
        let configuration = "\(directory)/chrony.conf"
        service = AdoptedService(
            title: title, program: "/usr/sbin/chronyd",
            arguments: ["-d", "-f", configuration] + (folders.isHarmless ? ["-x"] : []), sign: configuration,
            runtime: "\(places.runtime)/chrony", unit: places.unit("chrony"))
    }

    private var configurationPath: String { "\(directory)/chrony.conf" }
    private var markPath: String { "\(directory)/mark" }

    var runningMark: String? { service.startedMark }

    func configuration(for item: TimeItem) -> ServiceConfiguration {
        Self.text(for: item, folders: folders)
    }

    /// The whole configuration (chrony.conf(5)); pure.
    static func text(for item: TimeItem, folders: Folders) -> ServiceConfiguration {
        var lines = item.servers.map { "server \($0) iburst" }
        // Those without a server of their own follow the one among them that is the best.
        lines += item.peers.map { "server \($0) minpoll 4 maxpoll 6" }
        lines += item.networks.map { "allow \($0)" }
        lines += [
            "# Without any server the controllers agree on the clock of one of them.",
            "local stratum 10 orphan distance 0.1",
            "user \(folders.user)",
            "driftfile \(folders.state)/chrony.drift",
            "bindcmdaddress \(folders.runtime)/chronyd.sock",
            "pidfile \(folders.runtime)/chronyd.pid",
            "# A clock that is wrong is set at once in the first updates, and later made faster or slower.",
            "makestep 0.5 3",
            "rtcsync",
            "cmdport 0",
        ]
        let body = lines.joined(separator: "\n") + "\n"
        let head = "# Made by Muster's controller role; changes are overwritten.\n"
        return ServiceConfiguration(text: head + body, mark: ServiceConfiguration.mark(of: body))
    }

    func use(_ configuration: ServiceConfiguration) throws(SystemError) {
        try service.makeFolders([directory])
        let candidate = "\(configurationPath).candidate"
        try SystemFile.replace(candidate, content: Array(configuration.text.utf8), mode: 0o644)
        defer { unlink(candidate) }
        let check = try ProgramRun(service.program, ["-p", "-f", candidate]).outcome()
        guard check.status == 0 else {
            throw SystemError("use the new configuration (what ran before goes on)", errno: 0, detail: check.words)
        }
        guard rename(candidate, configurationPath) == 0 else {
            throw SystemError("write \(configurationPath)", errno: errno)
        }
        let line = "\(AdoptedService.markVariable)=\(configuration.mark)\n"
        try SystemFile.replace(markPath, content: Array(line.utf8), mode: 0o600)
        if service.unit == nil { try service.stop() }
        try service.marked(configuration.mark).startAndWatch(for: .milliseconds(300))
    }

    func stop() throws(SystemError) {
        try service.stop()
        unlink(configurationPath)
        unlink(markPath)
    }

    /// What chrony says of the clock; nil: it does not answer.
    var tracking: ControllerFacts.Time? {
        guard service.process != nil,
            let outcome = try? ProgramRun(
                "/usr/bin/chronyc", ["-h", "\(folders.runtime)/chronyd.sock", "-c", "-n", "tracking"],
                patience: .seconds(3)
            ).outcome(), outcome.status == 0
        else { return nil }
        return Self.tracking(csv: outcome.output)
    }

    /// Reads chronyc's fields (chronyc(1), `-c`): identifier, name, stratum, time, and the offset in seconds.
    static func tracking(csv: [UInt8]) -> ControllerFacts.Time? {
        let fields = String(decoding: csv.prefix(4096), as: UTF8.self).split(
            separator: ",", omittingEmptySubsequences: false)
        guard fields.count >= 5, let stratum = Int(fields[2]), (0...255).contains(stratum),
            let offset = Double(fields[4]), abs(offset) < 1e12
        else { return nil }
        return ControllerFacts.Time(
            source: String(fields[1]), stratum: stratum == 16 ? 0 : stratum, offsetMicroseconds: Int(offset * 1e6))
    }

    func look(at item: TimeItem) -> ServiceSight {
        let tracking = tracking
        var sight = ServiceSight(fine: "chrony keeps the clock.")
        let problem: String? =
            switch tracking {
            case nil: "chrony does not answer: \(service.lastWords)."
            case let time? where time.stratum == 0: "No time server answers yet, and no other controller."
            default: nil
            }
        sight.conditions = [("TimeSynchronised", problem, "The clock follows a source.")]
        sight.facts.controller = tracking.map { ControllerFacts(time: $0) } ?? nil
        return sight
    }

    func samples(of item: TimeItem) -> [MetricsReport.Sample] { Self.samples(tracking) }

    static func samples(_ tracking: ControllerFacts.Time?) -> [MetricsReport.Sample] {
        var samples = [MetricsReport.Sample(name: "muster_controller_time_up", value: tracking == nil ? 0 : 1)]
        if let tracking {
            samples.append(
                MetricsReport.Sample(name: "muster_controller_time_stratum", value: Double(tracking.stratum)))
            samples.append(
                MetricsReport.Sample(
                    name: "muster_controller_time_offset_seconds", value: Double(tracking.offsetMicroseconds) / 1e6))
        }
        return samples
    }
}
