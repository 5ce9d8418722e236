import AgentProtocol
import CatalogBareMetal
import FleetContract
import Foundation
import Glibc
import Primitives
import Testing

@testable import VirtualRack

/// The whole path on a rack of its own: power-on, inventory, approval, image, role; with the conductor killed in
/// the middle of the image.
@Suite(.serialized, .enabled(if: geteuid() == 0, "a rack needs root"))
struct PathTests {
    static let package = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
    static let programs = "\(package)/.build/debug"

    /// What `test.sh` has built: the images with debug agents.
    static let images =
        ProcessInfo.processInfo.environment["MUSTER_IMAGES"] ?? "\(package)/.cache/images-debug"

    /// A rack with its conductor.
    struct Bed {
        let rack: Rack
        let key: String

        var node: String { rack.file.machines[0].name }

        init(_ rack: Rack) {
            self.rack = rack
            key = "\(rack.stateDirectory)/id_ed25519"
        }

        func startConductor() async throws {
            try rack.spawn(
                inNamespace: [
                    "\(PathTests.programs)/muster-conductor", "--state-dir", rack.conductorDirectory, "--local-loader",
                    "\(PathTests.images)/local.efi",
                ], name: "conductor")
            try await waitUntil("the conductor's API", within: .seconds(60)) {
                try await muster(["node", "list"]).status == 0
            }
        }

        /// Runs `muster`; `password` takes the place of the BMC's right one.
        func muster(
            _ arguments: [String], password: String? = nil, timeout: Duration = .seconds(60)
        ) async throws -> CommandOutcome {
            var variables = try rack.environment().filter { $0.name != "MUSTER_NETNS" }.map { "\($0.name)=\($0.value)" }
            variables.append("MUSTER_SSH_KEY_FILE=\(key).pub")
            if let password { variables.append("\(Rack.passwordVariable)=\(password)") }
            return try await rack.outcome(
                inNamespace: ["env"] + variables + ["\(PathTests.programs)/muster"] + arguments, timeout: timeout)
        }

        /// Runs a command that must succeed, and decodes its `--json`.
        func json<Value: Decodable>(_ type: Value.Type, _ arguments: [String]) async throws -> Value {
            let outcome = try await muster(arguments + ["--json"])
            try #require(outcome.status == 0, "muster \(arguments): \(outcome.errorOutput)")
            return try JSONDecoder().decode(type, from: Data(outcome.output.utf8))
        }

        @discardableResult
        func must(
            _ arguments: [String], password: String? = nil, timeout: Duration = .seconds(60)
        ) async throws -> String {
            let outcome = try await muster(arguments, password: password, timeout: timeout)
            try #require(outcome.status == 0, "muster \(arguments): \(outcome.output)\(outcome.errorOutput)")
            return outcome.output
        }

        func nodes() async throws -> [NodeSummary] { try await json(NodeList.self, ["node", "list"]).nodes }

        /// Waits until a node, the first machine's unless another is named, is in `state`; throws when it has failed.
        func waitForState(_ state: String, of name: String? = nil, within limit: Duration) async throws {
            let node = name ?? node
            try await waitUntil("\(node) to be \(state)", within: limit, every: .milliseconds(500)) {
                let found = try await nodes().first { $0.name == node }
                if let found, found.state.hasSuffix("failed") {
                    throw RackError.failed("the node is '\(found.state)': \(found.wait?.cause ?? "")")
                }
                return found?.state == state
            }
        }

        /// Waits until the node is in `state` for a cause with `words` in it.
        func waitForCause(_ words: String, in state: String, within limit: Duration) async throws {
            try await waitUntil(
                "\(node) to be \(state) because of '\(words)'", within: limit, every: .milliseconds(500)
            ) {
                let found = try await nodes().first { $0.name == node }
                return found?.state == state && found?.wait?.cause.contains(words) == true
            }
        }

        func ssh(_ address: String, _ command: String) async throws -> String {
            try await rack.run(
                inNamespace: [
                    "ssh", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
                    "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "root@\(address)", command,
                ], timeout: .seconds(90))
        }
    }

    @Test(.timeLimit(.minutes(40))) func `a bare machine becomes an active network node`() async throws {
        for file in ["vmlinuz", "initrd.zst", "node-network.raw"] {
            try #require(
                FileManager.default.fileExists(atPath: "\(Self.images)/\(file)"),
                "\(Self.images)/\(file) is missing; run `make test`, which builds it")
        }
        var file = try RackFile.load("\(Self.package)/Inventory/example-rack/rack-b.yaml")
        file.name = "path-\(getpid())"
        let state = FileManager.default.temporaryDirectory.appending(path: "muster-\(file.name)").path
        let rack = try Rack(file: file, stateDirectory: state, options: Rack.Options(package: Self.package))
        try await rack.whileUp {
            let bed = Bed(rack)
            do {
                try await walk(bed)
            } catch {
                let log = rack.process(named: "conductor")?.logTail(characters: 6000) ?? ""
                let console = (try? rack.console(machine: bed.node)) ?? ""
                Issue.record("conductor:\n\(log)\nconsole:\n\(console.suffix(3000))")
                throw error
            }
        }
        #expect(!FileManager.default.fileExists(atPath: state))
    }

    private func walk(_ bed: Bed) async throws {
        try await prepare(bed)
        try await discover(bed)
        try await meetBadOrders(bed)
        try await meetADamagedImage(bed)
        try await deployWithACrash(bed)
        try await use(bed)
        try await clean(bed)
    }

    private func prepare(_ bed: Bed) async throws {
        try await bed.begin(images: ["network"], makesKey: true)
        let site = try bed.writeSite(bed.siteWithKey)
        try await bed.must(["site", "validate", site])
        try await bed.applyWithWrongPasswordFirst(site)
    }

    /// The conductor switches the machine on by itself; it registers and gets nothing secret.
    private func discover(_ bed: Bed) async throws {
        let machine = bed.rack.file.machines[0]
        try await bed.waitForState("enroll", within: .seconds(400))
        let inventory = try await bed.json(InventoryReport.self, ["node", "inventory", bed.node])
        #expect(inventory.disks.map(\.serial) == machine.disks.map { $0.serial })
        #expect(inventory.disks.last?.contents.signature?.type == "ext4")
        #expect(inventory.disks.last?.contents.signature?.label == "data")
        #expect(inventory.system.uuid?.lowercased() == machine.uuid)
        #expect(inventory.system.serial == machine.serial)
        let audit = try await bed.muster(["audit", "list", "--json"])
        #expect(!audit.output.contains("issue enrolment token"))
    }

    /// A BMC that hangs, and hints that fit no disk, two, or one that is too small: each is told, and each has a way out.
    private func meetBadOrders(_ bed: Bed) async throws {
        let sushy = try #require(bed.rack.process(named: "sushy"))
        sushy.signal(SIGSTOP)
        defer { sushy.signal(SIGCONT) }
        try await bed.must(["node", "approve", bed.node, "--role", "network"])
        try await bed.waitForCause("The BMC took too long", in: "enroll", within: .seconds(150))
        sushy.signal(SIGCONT)
        let disks = bed.rack.file.machines[0].disks.map(\.serial)
        try await bed.must(["node", "set", bed.node, "--root-disk", "NO-SUCH-DISK"])
        try await bed.must(["node", "approve", bed.node])
        try await bed.waitForCause(disks[0], in: "deploy failed", within: .seconds(90))
        for (hint, cause) in [("", "fits 2 disks"), (disks[1], "Choose a larger disk")] {
            try await bed.must(["node", "set", bed.node, "--root-disk", hint])
            try await bed.must(["node", "deploy", bed.node])
            try await bed.waitForCause(cause, in: "deploy failed", within: .seconds(90))
        }
        try await bed.must(["node", "set", bed.node, "--root-disk", disks[0]])
    }

    /// A chunk that the conductor's disk has changed is noticed before it is sent, told, and mended by pushing again.
    private func meetADamagedImage(_ bed: Bed) async throws {
        let blobs = "\(bed.rack.conductorDirectory)/blobs/blobs"
        let files = try FileManager.default.subpathsOfDirectory(atPath: blobs).sorted().map { "\(blobs)/\($0)" }
        let chunk = try #require(
            files.first { path in
                let size = (try? FileManager.default.attributesOfItem(atPath: path)[.size]) as? Int ?? 0
                return (40_000...80_000).contains(size)
            })
        let file = try #require(FileHandle(forUpdatingAtPath: chunk))
        try file.seek(toOffset: 1000)
        try file.write(contentsOf: Data("changed by the disk".utf8))
        try file.close()
        try await bed.must(["node", "deploy", bed.node])
        try await bed.waitForCause("Push the image again", in: "deploy failed", within: .seconds(120))
        let push = try await bed.pushImage(of: "network")
        #expect(push.contains("Sent 1 chunk"), "\(push)")
    }

    /// How often the machine has begun to write an image.
    private func beginnings(_ bed: Bed) async throws -> Int {
        try await bed.must(["node", "logs", bed.node, "--source", "discovery-agent", "--lines", "500"])
            .matches(of: /writing \d+ chunks to/).count
    }

    /// kill -9 of the conductor while the image is written: both go on from the chunk they had.
    private func deployWithACrash(_ bed: Bed) async throws {
        let begun = try await beginnings(bed)
        // An image is written in a few seconds; a slow disk makes sure that there is a middle.
        try await limitDisk(bed, bytesPerSecond: 8 << 20)
        try await bed.must(["node", "deploy", bed.node])
        try await waitUntil("the image to be begun", within: .seconds(90)) { try await beginnings(bed) > begun }
        var before = 0
        try await waitUntil("a third of the image", within: .seconds(300)) {
            let progress = try await bed.nodes().first?.progress
            before = progress?.done ?? 0
            return progress.map { $0.done * 3 > $0.total } ?? false
        }
        let conductor = try #require(bed.rack.process(named: "conductor"))
        conductor.signal(SIGKILL)
        try await conductor.waitForEnd()
        try await Task.sleep(for: .seconds(2))
        try await bed.startConductor()
        try await limitDisk(bed, bytesPerSecond: 0)
        try await bed.waitForState("active", within: .seconds(900))
        let events = try await bed.muster(["node", "events", bed.node])
        let boots = events.output.components(separatedBy: "RamdiskBooted").count - 1
        #expect(boots == 1, "the machine had to boot the ramdisk again:\n\(events.output)")
        let log = try await bed.must(["node", "logs", bed.node, "--source", "discovery-agent", "--lines", "500"])
        let interrupted = log.matches(of: /interrupted at chunk (\d+) of/).compactMap { Int($0.output.1) }
        #expect(interrupted.contains { $0 >= before }, "killed at chunk \(before):\n\(log)")
        #expect(try await beginnings(bed) == begun + 1, "the image was begun again:\n\(log)")
    }

    /// How much the machine's first disk does in a second; 0: what it can.
    private func limitDisk(_ bed: Bed, bytesPerSecond: Int) async throws {
        try await bed.rack.runInside([
            "virsh", "--quiet", "--connect", RackPlan.libvirtURI, "blkdeviotune", bed.node, "vda", "--live",
            "--total-bytes-sec", "\(bytesPerSecond)",
        ])
    }

    /// The node does its role and can be looked into.
    private func use(_ bed: Bed) async throws {
        let detail = try await bed.json(NodeDetail.self, ["node", "show", bed.node])
        let address = try #require(detail.agent?.addresses.first).description
        let seen = try await bed.ssh(
            address,
            "hostname; touch /x 2>&1; ip -d link show type vxlan; nft list tables; "
                + "blkid -o value -s LABEL /dev/vdb; cat /proc/cmdline")
        #expect(seen.contains(bed.node))
        #expect(seen.contains("Read-only file system"))
        #expect(seen.contains("vxlan id 4242"))
        #expect(seen.contains("table"))
        #expect(seen.contains("data"), "the second disk was touched: \(seen)")
        let imageIdentifiers = "4d757374-6572-4e6f"
        #expect(seen.contains("root=PARTUUID=") && !seen.contains(imageIdentifiers), "not this disk's own: \(seen)")
        try await waitUntil("the node's figures", within: .seconds(60)) {
            let text = try await metrics(bed, detail.node.id.raw)
            return ["node_cpu_seconds_total", "node_memory_", "node_network_", "muster_agent_resident_memory_bytes"]
                .allSatisfy { text.contains($0) }
        }
        try await askPrometheus(bed)
        let shown = try await bed.must(["node", "console", bed.node, "--lines", "1000"])
        // The kernel says what GRUB gave it; GRUB itself may speak before a machine just switched on can be heard.
        #expect(
            shown.contains(/Kernel command line: BOOT_IMAGE=\(hd\d,gpt3\)/),
            "its boot from the disk is not on the record:\n\(shown.suffix(2000))")
        // The node goes on without its conductor, and comes back to it.
        let conductor = try #require(bed.rack.process(named: "conductor"))
        conductor.signal(SIGKILL)
        try await conductor.waitForEnd()
        // It also restarts without it, keeps what is in the kernel, and makes anew what somebody takes away.
        let device = "ip -o link show type vxlan | cut -d: -f1"
        let alone = try await bed.ssh(
            address, "\(device); systemctl restart muster-agent; sleep 5; systemctl is-active muster-agent; \(device)")
        let lines = alone.split(separator: "\n")
        #expect(lines.count == 3 && lines[0] == lines[2] && lines[1] == "active", "\(alone)")
        let repaired = try await bed.ssh(
            address,
            "ip link del $(ip -o link show type vxlan | cut -d: -f2); "
                + "for i in $(seq 60); do ip link show type vxlan | grep -q vxlan && break; sleep 1; done; \(device)")
        #expect(!repaired.isEmpty, "the VXLAN device was not made again")
        try await bed.startConductor()
        try await waitUntil("the agent's stream", within: .seconds(120)) {
            try await bed.json(NodeDetail.self, ["node", "show", bed.node]).agent?.isConnected == true
        }
    }

    /// The node's work is ended: its disks are emptied, which its next inventory shows.
    private func clean(_ bed: Bed) async throws {
        let refused = try await bed.muster(["node", "clean", bed.node, "--all"])
        #expect(refused.status == 4 && refused.errorOutput.contains("--release"), "\(refused)")
        try await bed.must(["node", "clean", bed.node, "--all", "--release"])
        try await bed.waitForState("available", within: .seconds(400))
        let events = try await bed.must(["node", "events", bed.node])
        #expect(events.contains("ext4 'data'") && events.contains("gpt partition table"), "\(events)")
        #expect(events.components(separatedBy: "DiskCleaned").count == 3, "\(events)")
        let probe = try await bed.rack.run(
            inNamespace: [
                "bash", "-c",
                "for f in \(bed.rack.stateDirectory)/disk*/*.qcow2; do qemu-img convert -U -O raw $f $f.raw; blkid -p $f.raw; "
                    + "rm $f.raw; done; echo read",
            ], timeout: .seconds(120))
        #expect(probe == "read\n", "the disks are not blank: \(probe)")
    }

    /// A real Prometheus, set up as `Inventory/prometheus.yml` says, finds the node and has its figures.
    private func askPrometheus(_ bed: Bed) async throws {
        let folder = "\(bed.rack.stateDirectory)/prometheus"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try String(contentsOfFile: "\(Self.package)/Inventory/prometheus.yml", encoding: .utf8)
            .replacing("CONDUCTOR", with: "\(bed.rack.file.network.conductor)")
            .replacing("/etc/prometheus/muster", with: bed.rack.conductorDirectory)
            .replacing("/etc/prometheus/alerts.yml", with: "\(Self.package)/Inventory/alerts.yml")
            .replacing("15s", with: "2s")
            .write(toFile: "\(folder)/prometheus.yml", atomically: true, encoding: .utf8)
        let process = try bed.rack.spawn(
            inNamespace: [
                "prometheus", "--config.file=\(folder)/prometheus.yml", "--storage.tsdb.path=\(folder)/data",
                "--web.listen-address=127.0.0.1:9090",
            ], name: "prometheus")
        defer { process.signal(SIGKILL) }
        for query in ["node_memory_MemTotal_bytes{node=\"\(bed.node)\"}", "muster_nodes{state=\"active\"}"] {
            try await waitUntil("Prometheus to answer \(query)", within: .seconds(90)) {
                let answer = try await bed.rack.outcome(
                    inNamespace: [
                        "curl", "-sG", "http://127.0.0.1:9090/api/v1/query", "--data-urlencode", "query=\(query)",
                    ]
                ).output
                return answer.contains("\"metric\":")
            }
        }
    }

    private func metrics(_ bed: Bed, _ node: String) async throws -> String {
        let token = try String(contentsOfFile: "\(bed.rack.conductorDirectory)/operator.token", encoding: .utf8)
            .trimmingCharacters(in: .whitespacesAndNewlines)
        return try await bed.rack.outcome(
            inNamespace: [
                "curl", "-s", "--cacert", "\(bed.rack.conductorDirectory)/ca.pem", "-H",
                "Authorization: Bearer \(token)",
                "https://\(bed.rack.file.network.conductor):9443/metrics/nodes/\(node)",
            ]
        ).output
    }
}
