import AgentProtocol
import FoundationEssentials
import Glibc
import LinuxSystem
import Primitives
import ProgramRuns

/// keepalived with one address (VRRP version 3, unicast); it takes a change over by SIGHUP and keeps the address by that.
struct KeepalivedProgram: ControllerProgram {
    let title = "keepalived"
    let conditionType = "SharedAddressReady"
    var service: AdoptedService
    let directory: String

    init(places: ServicePlaces) {
        directory = "\(places.directory)/keepalived"
        let (configuration, runtime) = ("\(directory)/keepalived.conf", "\(places.runtime)/keepalived")
        service = AdoptedService(
            title: title, program: "/usr/sbin/keepalived",
            arguments: [
                "--dont-fork", "--vrrp", "--no-syslog", "--log-console", "--use-file=\(configuration)",
                // Of its own: it does not start while another file names a process that runs.
                "--pid=\(runtime)/keepalived.pid", "--vrrp_pid=\(runtime)/vrrp.pid",
            ], sign: configuration, runtime: runtime, unit: places.unit("keepalived"),
            // Where it writes what it tells of itself.
            variables: ["TMPDIR": runtime])
    }

    var configurationPath: String { "\(directory)/keepalived.conf" }

    private var questionPath: String { "\(directory)/ask-proxy" }

    /// Asks the proxy at the port that it is told whether it has a conductor.
    private static let question = """
        #!/bin/busybox sh
        # Made by Muster's controller role; changes are overwritten.
        printf 'GET /ready HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 1 127.0.0.1 "$1" | busybox head -n 1 | busybox grep -q ' 200 '

        """

    /// All VRRP routers (RFC 5798, 5.1.1.2): 224.0.0.18.
    private static let routersGroup = IPv4Address(0xE000_0012)

    /// The signal for its state as JSON: SIGRTMIN and 2, as `keepalived --signum=JSON` says.
    private static let stateSignal: Int32 = 36

    /// Its router's identifier is the mark. One that started before the node had its address, as a unit does that systemd
    /// starts, has no sockets and gets none by itself: it does not run with its configuration, and takes it over anew.
    var runningMark: String? {
        let isWhole = { (text: String) in text.contains("Router ID = ") && text.contains("fd_in ") }
        guard let text = tell(SIGUSR1, into: "keepalived.data", whole: isWhole) else { return nil }
        let line = text.split(separator: "\n").first { $0.contains("Router ID = ") }
        let router = line.flatMap { $0.split(separator: " ").last }.map(String.init)
        return text.contains("fd_in -1") ? router.map { "\($0) without sockets" } : router
    }

    func configuration(for item: VIPItem) throws(SystemError) -> ServiceConfiguration {
        let netlink = try Netlink()
        guard let index = try netlink.addresses().first(where: { $0.address == item.local })?.index,
            let name = try netlink.links().first(where: { $0.index == index })?.name
        else {
            throw SystemError(
                "share the address \(item.address)", errno: 0, detail: "no interface of this node has \(item.local)")
        }
        return Self.text(for: item, interface: name, question: questionPath)
    }

    /// The whole configuration; pure.
    ///
    /// Nobody takes the address from one who has it and is well (`nopreempt`), so that a controller that comes back
    /// costs no connection. One whose proxy knows no conductor gives it up.
    static func text(for item: VIPItem, interface: String, question: String) -> ServiceConfiguration {
        let interval =
            "\(item.intervalCentiseconds / 100).\(item.intervalCentiseconds % 100 < 10 ? "0" : "")"
            + "\(item.intervalCentiseconds % 100)"
        let script = item.readinessPort.map { port in
            """
            vrrp_script proxy {
                script "\(question) \(port)"
                interval 1
                timeout 2
                fall 1
                rise 1
                init_fail
            }


            """
        }
        // keepalived refuses unicast to nobody, and lets the address go when it changes from multicast to unicast or back. So
        // who is alone has the group of all VRRP routers for its only peer, and tells whoever listens.
        let peers = item.peers.isEmpty ? [routersGroup] : item.peers.sorted()
        let unicast = """
                unicast_src_ip \(item.local)
                unicast_peer {
            \(peers.map { "        \($0)" }.joined(separator: "\n"))
                }

            """
        let track = item.readinessPort.map { _ in
            """
                track_script {
                    proxy
                }

            """
        }
        let body = """
            \(script ?? "")vrrp_instance muster {
                state BACKUP
                nopreempt
                interface \(interface)
                virtual_router_id \(item.routerID)
                priority \(item.priority)
                advert_int \(interval)
                # A controller that was cut off and held the address too may have told the neighbours so.
                garp_master_refresh 1
            \(unicast)    virtual_ipaddress {
                    \(item.address)/\(item.prefixLength)
                }
            \(track ?? "")}

            """
        let settings = """
                vrrp_version 3
                enable_script_security
                script_user root
            }


            """
        let mark = ServiceConfiguration.mark(of: settings + body)
        let head = """
            # Made by Muster's controller role; changes are overwritten.
            global_defs {
                router_id \(mark)
            \(settings)
            """
        return ServiceConfiguration(text: head + body, mark: mark)
    }

    func use(_ configuration: ServiceConfiguration) throws(SystemError) {
        try service.makeFolders([directory])
        try SystemFile.replace(questionPath, content: Array(Self.question.utf8), mode: 0o700)
        let candidate = "\(configurationPath).candidate"
        try SystemFile.replace(candidate, content: Array(configuration.text.utf8), mode: 0o600)
        defer { unlink(candidate) }
        // It ends itself by a signal, whatever it has found; only what it says tells.
        let check = try ProgramRun(service.program, ["--config-test", "--use-file=\(candidate)"]).outcome()
        guard check.errors.isEmpty, check.output.isEmpty else {
            throw SystemError(
                "use the new configuration (what ran before goes on)", errno: 0, detail: check.words)
        }
        guard rename(candidate, configurationPath) == 0 else {
            throw SystemError("write \(configurationPath)", errno: errno)
        }
        if service.process == nil {
            // Of one that was killed; it does not start while these name a process, be it another's.
            for name in ["keepalived.pid", "vrrp.pid"] { unlink("\(service.runtime)/\(name)") }
            try service.startAndWatch(for: .milliseconds(300))
        } else {
            try service.wait("reload", detail: "it has only just started") {
                service.process.map { Self.heeds(SIGHUP, $0) } ?? true
            }
            try service.signal(SIGHUP, to: "reload")
        }
        try service.wait("reload", detail: "it has not taken its configuration over: \(service.lastWords)") {
            runningMark == configuration.mark
        }
    }

    func stop() throws(SystemError) {
        try service.stop()
        unlink(questionPath)
        unlink(configurationPath)
    }

    /// Whether a process is ready for a signal, be it that it reads it from a descriptor, for which it blocks it
    /// (signalfd(2)): one that has just started would be ended by it.
    private static func heeds(_ signal: Int32, _ process: pid_t) -> Bool {
        let lines = SystemFile.text("/proc/\(process)/status")?.split(separator: "\n") ?? []
        return lines.contains { line in
            guard line.hasPrefix("SigBlk:") || line.hasPrefix("SigCgt:"), let digits = line.split(separator: "\t").last,
                let mask = UInt64(digits, radix: 16)
            else { return false }
            return mask >> UInt64(signal - 1) & 1 == 1
        }
    }

    /// Has it write a file about itself and reads that once it is `whole`; nil: it does not run, or does not answer.
    private func tell(_ signal: Int32, into name: String, whole: (String) -> Bool) -> String? {
        guard let process = service.process, Self.heeds(signal, process) else { return nil }
        let path = "\(service.runtime)/\(name)"
        unlink(path)
        guard kill(process, signal) == 0 else { return nil }
        let deadline = ContinuousClock.now + .seconds(1)
        while ContinuousClock.now < deadline {
            if let text = SystemFile.text(path, limit: 1 << 20), whole(text) { return text }
            usleep(AdoptedService.pause)
        }
        return nil
    }

    /// What it is for the address; nil: it does not tell.
    var state: ControllerFacts.VIP.State? {
        struct Instance: Decodable {
            var data: Fields
            struct Fields: Decodable { var state: Int }
        }
        var read: [Instance]?
        _ = tell(Self.stateSignal, into: "keepalived.json") { text in
            read = try? JSONDecoder().decode([Instance].self, from: Data(text.utf8))
            return read != nil
        }
        switch read?.first?.data.state {
        case 0: return .initialize
        case 1: return .backup
        case 2: return .master
        case 3: return .fault
        default: return nil
        }
    }

    func look(at item: VIPItem) -> ServiceSight {
        let state = state
        var sight = ServiceSight(fine: "keepalived shares \(item.address).")
        let problem: String? =
            switch state {
            case .fault: "This node may not have \(item.address): its proxy has no conductor, or its link is down."
            case nil: "keepalived does not tell its state: \(service.lastWords)."
            default: nil
            }
        sight.conditions = [("SharedAddressEligible", problem, "This node has \(item.address), or may take it.")]
        if let state { sight.facts.controller = ControllerFacts(vip: .init(address: item.address, state: state)) }
        return sight
    }

    func samples(of item: VIPItem) -> [MetricsReport.Sample] { Self.samples(state) }

    static func samples(_ state: ControllerFacts.VIP.State?) -> [MetricsReport.Sample] {
        [
            MetricsReport.Sample(name: "muster_controller_vip_up", value: state == nil ? 0 : 1),
            MetricsReport.Sample(name: "muster_controller_vip_held", value: state == .master ? 1 : 0),
        ]
    }
}
