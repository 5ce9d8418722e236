import FoundationEssentials
import Glibc
import Primitives
import VirtualRack

extension Bed {
    /// The anchor's argument by which `down` finds it when the record is lost.
    static let anchorName = "muster-bed-anchor"

    /// Brings the bed up and waits until the API answers at the virtual address; one that was there before goes first.
    ///
    /// `progress` is told what is done; `program` is that of the bed, which is started once more for the simulated agents. When
    /// it fails, all is taken down but the logs. Throws `BedError` and `RackError`.
    public func up(program: String, progress: @Sendable (String) -> Void = { _ in }) async throws {
        try checkHost()
        try await Self.down(plan.root)
        for folder in ["", "log", "run", "tls"] + plan.controllers {
            try FileManager.default.createDirectory(
                atPath: "\(plan.root)/\(folder)", withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
        }
        try await locked {
            do {
                progress("namespaces and cables")
                try await layNetwork()
                try await makeFiles()
                progress("etcd: \(plan.count) members")
                for name in plan.controllers { try start(.etcd, of: name) }
                try await waitForMembers()
                try await startConductors(progress)
                progress("HAProxy and keepalived")
                for name in plan.controllers {
                    try start(.haproxy, of: name)
                    try start(.keepalived, of: name)
                }
                try await waitForAPI(at: BedPlan.virtualAddress, hint: "keepalived")
                if plan.agents > 0 { try await startAgents(program, progress) }
            } catch {
                Self.anchors(of: plan.root).forEach { $0.signal(SIGKILL) }
                throw error
            }
        }
    }

    private func checkHost() throws(BedError) {
        guard geteuid() == 0 else { throw .notRoot }
        let programs = [
            ("ip", "iproute2"), ("nsenter", "util-linux"), ("nft", "nftables"), ("etcd", "etcd-server"),
            ("etcdctl", "etcd-client"), ("haproxy", "haproxy"), ("keepalived", "keepalived"), ("openssl", "openssl"),
            ("curl", "curl"),
        ]
        for (program, package) in programs where Commands.find(program) == nil {
            throw .missing(program, package: package)
        }
        for program in ["muster-conductor"] + (plan.agents > 0 ? ["muster", "network-agent"] : []) {
            guard access("\(plan.programs)/\(program)", X_OK) == 0 else {
                throw .failed("There is no \(plan.programs)/\(program): build it first.")
            }
        }
    }

    private func layNetwork() async throws {
        // A shell as init: its one task is to take over and reap orphans.
        let wait = "while :; do sleep 86400 & wait; done"
        let anchor = try Launch.detached(
            ["/bin/sh", "-c", wait, Self.anchorName, plan.root], name: Self.anchorName,
            environment: Launch.environment, directory: "/", logFile: plan.log("anchor"), inside: nil, [])
        var record = BedRecord(
            count: plan.count, agents: plan.agents, programs: plan.programs, anchor: anchor,
            holders: [Place.hub.name: anchor])
        try record.save(plan.record)
        try await run(["ip", "link", "add", "hub", "type", "bridge"], at: .hub)
        try await run(["ip", "link", "set", "hub", "up"], at: .hub)
        for name in plan.controllers + plan.outsiders.map(\.name) {
            let holder = try Launch.detached(
                ["unshare", "--net", "--", "/bin/sh", "-c", wait], name: name, environment: Launch.environment,
                directory: "/", logFile: plan.log("anchor"), inside: anchor.pid, [.net, .pid, .mnt])
            record.holders[name] = holder
            try record.save(plan.record)
            try await waitUntil("A network namespace of \(name)", within: .seconds(5)) {
                let own = FileIdentity("/proc/\(holder.pid)/ns/net")
                return own != nil && own != FileIdentity("/proc/\(anchor.pid)/ns/net")
            }
            try await layCable(name, from: holder.pid, to: anchor.pid)
        }
    }

    private func layCable(_ name: String, from holder: Int32, to anchor: Int32) async throws {
        let place = Self.place(name, in: plan)
        let address = plan.outsiders.first { $0.name == name }?.address ?? plan.address(of: name)
        try await Commands.run([
            "ip", "link", "add", "eth0", "netns", "\(holder)", "type", "veth", "peer", "name", name, "netns",
            "\(anchor)",
        ])
        try await run(["ip", "link", "set", name, "master", "hub", "up"], at: .hub)
        try await run(["ip", "link", "set", "lo", "up"], at: place)
        try await run(["ip", "address", "add", "\(address)/24", "dev", "eth0"], at: place)
        try await run(["ip", "link", "set", "eth0", "up"], at: place)
        // HAProxy listens at the virtual address wherever that is.
        try await run(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind"], at: place)
    }

    private func makeFiles() async throws {
        // The last controller's disk is small, so that it can be full.
        if plan.count > 1, let last = plan.controllers.last { try await mountMemory(at: plan.folder(last)) }
        for name in plan.controllers.dropLast(plan.count > 1 ? 1 : 0) where plan.membersInMemory {
            let folder = "\(plan.folder(name))/etcd"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try await mountMemory(at: folder)
        }
        for command in plan.certificates { try await Commands.run(command) }
        for name in plan.controllers {
            try await write(plan.proxyConfiguration, to: "\(plan.folder(name))/haproxy.cfg")
            try await write(plan.keepalivedConfiguration(name), to: "\(plan.folder(name))/keepalived.conf")
            try Data(count: 8).write(to: URL(filePath: plan.clockFile(name)))
        }
    }

    /// The size of the last controller's disk.
    static let smallDiskMiB = 512

    /// Mounts a file system of that size in the bed's own view of files.
    func mountMemory(at folder: String, mebibytes: Int = Self.smallDiskMiB) async throws {
        let anchor = try holder(.hub)
        try await Commands.run([
            "nsenter", "--target", "\(anchor.pid)", "--mount", "--", "mount", "-t", "tmpfs", "-o",
            "size=\(mebibytes)m,mode=700", "tmpfs", folder,
        ])
    }

    /// Writes a file as the bed's processes see it.
    func write(_ text: String, to path: String) async throws {
        try await inside(["sh", "-c", "umask 077; mkdir -p \"${1%/*}\"; cat >\"$1\"", "sh", path], input: text)
    }

    /// Runs a program among the bed's mounts.
    @discardableResult
    func inside(_ command: [String], input: String = "") async throws -> String {
        let anchor = try holder(.hub)
        return try await Commands.run(
            ["nsenter", "--target", "\(anchor.pid)", "--mount", "--pid", "--"] + command, input: input)
    }

    private func waitForMembers() async throws {
        try await waitUntil("An answer of all members", within: .seconds(60), hint: "See \(plan.root)/log.") {
            let health = plan.etcdctl(plan.controllers) + ["--command-timeout=2s", "endpoint", "health"]
            return try await Commands.outcome(try enter(.client, health)).status == 0
        }
    }

    /// The first conductor makes the keys; the others are given them.
    private func startConductors(_ progress: @Sendable (String) -> Void) async throws {
        progress("conductors: the first makes the site's keys")
        try start(.conductor, of: "c1")
        try await waitForAPI(at: plan.address(of: "c1"), hint: "c1-conductor")
        let key = try await inside(["base64", "-w0", "\(plan.folder("c1"))/conductor/master.key"])
        for name in plan.controllers.dropFirst() {
            let path = "\(plan.folder(name))/conductor/master.key"
            try await inside(
                ["sh", "-c", "umask 077; mkdir -p \"${1%/*}\"; base64 -d >\"$1\"", "sh", path], input: key)
            try start(.conductor, of: name)
        }
        for name in plan.controllers { try await waitForAPI(at: plan.address(of: name), hint: "\(name)-conductor") }
    }

    /// Waits until a conductor answers at an address, and throws with the end of a log otherwise.
    func waitForAPI(at address: String, hint name: String, within limit: Duration = .seconds(90)) async throws {
        let program = process(name)
        try await waitUntil(
            "An answer of https://\(address):\(BedPlan.port(at: address))", within: limit,
            hint: program?.logTail() ?? "",
            every: .milliseconds(100)
        ) {
            if let program, !program.isRunning {
                throw BedError.failed("\(name) has ended: \(program.logTail())")
            }
            return try await answers(at: address)
        }
    }

    /// Whether a conductor answers at an address, seen from the client; its store has to answer it for that.
    public func answers(at address: String) async throws -> Bool {
        let url = "https://\(address):\(BedPlan.port(at: address))/fleet/v1"
        let command = [
            "curl", "--silent", "--fail", "--max-time", "2", "--cacert", plan.authority, "-o", "/dev/null", url,
        ]
        return try await Commands.outcome(try enter(.client, command)).status == 0
    }
}
