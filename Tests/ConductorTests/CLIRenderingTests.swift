import AgentProtocol
import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives
import ResourceModel
import TestSupport
import Testing

@testable import CLICommands

@Suite struct CLIRenderingTests {
    private static let clock = ManualWallClock()
    private static var now: Timestamp { clock.now }
    private static let widths = [60, 80, 120]

    private static func terminal(_ width: Int?) -> Terminal {
        Terminal(width: width, isInteractive: false, isJSON: false, clock: clock)
    }

    private static func node(
        _ name: String, _ number: UInt8, _ state: NodeState, since seconds: Int,
        _ change: (inout Node) -> Void = { _ in }
    ) throws -> Node {
        var node = Node(
            metadata: Metadata(
                name: "00000000-0000-4000-8000-0000000000" + Hex.encode([number]), schemaVersion: 1, created: now),
            spec: Node.Spec(name: name),
            status: Node.Status(state: state, since: now.advanced(by: .seconds(-seconds)), identity: MachineIdentity()))
        node.status.summary = InventorySummary(
            model: "Acme R1", processors: 8, memory: .gibibytes(16),
            disks: [.init(serial: "D-1", size: .gibibytes(400))],
            firmware: "uefi")
        change(&node)
        return node
    }

    private static func fleet() throws -> [NodeSummary] {
        let nodes = [
            try node("compute-0001", 1, .active, since: 86_400 * 12) { node in
                node.spec.role = .compute
                node.status.power = .on(since: now)
                node.status.agent = .init(
                    version: "0.1.0", bootID: "b", isConnected: true, since: now, addresses: [IPv4Address(0x0A4D_0032)])
            },
            try node("network-0001", 2, .deploying(.writing), since: 192) { node in
                node.spec.role = .network
                node.status.power = .on(since: now)
                node.status.progress = .init(done: 430, total: 1000, bytes: 61 << 20)
                node.status.wait = .init(
                    cause: "the ramdisk writes the image", owner: .machine, deadline: now.advanced(by: .seconds(300)),
                    next: "it is booted anew")
            },
            try node("node-0a1b2c", 3, .enroll, since: 45) { node in
                node.status.wait = .init(
                    cause: "nobody has let this machine in yet", owner: .operator,
                    deadline: now.advanced(by: .seconds(86_400)), next: "muster node approve node-0a1b2c --role ROLE")
            },
        ]
        return nodes.compactMap { NodeSummary($0) }
    }

    private func golden(_ name: String, _ render: (Terminal) -> [String]) throws {
        for width in Self.widths {
            let lines = render(Self.terminal(width))
            for line in lines { #expect(line.count <= width, "\(name) at \(width): \(line)") }
            try GoldenFile.compare(lines.map { $0 + "\n" }.joined(), with: "cli/\(name)-\(width).txt")
        }
    }

    @Test func nodeListFits() throws {
        let nodes = try Self.fleet()
        try golden("node-list") { NodeText.table(nodes, now: Self.now).lines(for: $0) }
    }

    @Test func inAPipeNothingIsLeftOut() throws {
        let lines = NodeText.table(try Self.fleet(), now: Self.now).lines(for: Self.terminal(nil))
        #expect(lines.count == 4)
        #expect(lines[0].hasPrefix("NAME          ROLE     STATE"))
        #expect(lines[3].hasSuffix("nobody has let this machine in yet"))
        #expect(lines.allSatisfy { !$0.contains("\u{1B}") && !$0.contains("…") })
    }

    @Test func conductorListFits() throws {
        let conductors = (1...3).map { number in
            let host = "10.77.0.\(number)"
            var record = ConductorRecord(
                name: "controller-000\(number)",
                spec: ConductorRecord.Spec(
                    run: "run-\(number)", version: "0.1.0", started: Self.now.advanced(by: .seconds(-86_400 * number)),
                    addresses: ConductorRecord.Addresses(
                        api: "https://\(host):9443", agents: "\(host):7443", provisioning: "\(host):8443",
                        boot: "http://\(host):8080")))
            if number == 3 { record.status.lagMilliseconds = 12_345 }
            return ConductorSummary(record, leader: "run-2", own: "run-1")
        }
        #expect(conductors.map(\.isLeader) == [false, true, false])
        #expect(conductors.map(\.isAnswering) == [true, false, false])
        try golden("conductor-list") { ConductorList.table(conductors, now: Self.now).lines(for: $0) }
    }

    @Test func controllersFit() throws {
        var report = ControllersReport(time: Self.now)
        report.wanted = .init(
            controllers: ["controller-1", "controller-2", "controller-4"], retired: [], vip: "10.77.0.99/24",
            generation: Generation(7))
        report.phase = .changing
        report.plan = [
            .init(step: "wait until controller-4 has caught up"),
            .init(step: "let controller-4 vote", voters: "3 of 3 vote, 2 are needed, 1 may fail"),
        ]
        report.since = Self.now.advanced(by: .seconds(-42))
        report.problem =
            "It took more than 600 s to wait until controller-4 has caught up; it is tried again. See: muster node why "
            + "controller-4"
        typealias Row = ControllersReport.Controller
        func row(
            _ number: UInt32, _ part: Row.Part, _ state: ControllersReport.Member.State?, behind: UInt64?,
            _ change: (inout Row) -> Void
        ) -> Row {
            var row = Row(name: "controller-\(number)", address: IPv4Address(0x0A4D_0000 + number), part: part)
            if let state { row.members = [.init(id: "8e9e05c52164694\(number)", state: state, behind: behind)] }
            row.isReady = true
            change(&row)
            return row
        }
        report.controllers = [
            row(1, .stays, .leader, behind: 0) {
                $0.conductor = .init(isLeader: false, lagMilliseconds: nil)
                $0.hasVIP = true
            },
            row(2, .stays, .follower, behind: 2) { $0.conductor = .init(isLeader: true, lagMilliseconds: nil) },
            row(3, .leaves, .silent, behind: nil) {
                $0.isReady = false
                $0.hasSecrets = true
            },
            row(4, .comes, .learner, behind: 1_204) { _ in },
            row(5, .spare, nil, behind: nil) {
                $0.isReady = false
                $0.hasSecrets = false
            },
        ]
        try golden("controller-list") { ControllerList.lines(report, $0) }
    }

    @Test func controllerPlansFit() throws {
        func voters(_ count: Int, _ answering: Int) -> ControllersPlan.Voters {
            .init(count: count, answering: answering, quorum: count / 2 + 1, mayFail: answering - count / 2 - 1)
        }
        let plan = ControllersPlan(
            controllers: ["controller-1", "controller-2", "controller-4"], retired: [], generation: Generation(7),
            now: voters(3, 2),
            steps: [
                .init(
                    step: "remove controller-3 (member 8e9e05c521646943) from the store", changesVoters: true,
                    voters: voters(2, 2)),
                .init(step: "add controller-4 to the store as a learner", changesVoters: true, voters: voters(2, 2)),
                .init(step: "start the store's member on controller-4", changesVoters: false, voters: voters(2, 2)),
                .init(step: "let controller-4 vote", changesVoters: true, voters: voters(3, 3)),
            ],
            warnings: [
                "controller-4 gets its address by a DHCP server that is not the site's. Have it keep 10.77.0.4 for "
                    + "controller-4: the store knows its members by their addresses."
            ])
        try golden("controller-plan") { ControllerPlan.lines(plan, $0) }
        let nothing = ControllersPlan(
            controllers: plan.controllers, retired: [], generation: plan.generation, now: voters(3, 3), steps: [])
        #expect(
            ControllerPlan.lines(nothing, Self.terminal(nil))
                == ["The controllers are controller-1, controller-2, controller-4; nothing to do."])
    }

    @Test func pivotsFit() throws {
        func step(_ text: String, isWait: Bool = false, isFrozen: Bool = false, isPointOfNoReturn: Bool = false)
            -> PivotReport.Step
        {
            .init(step: text, isWait: isWait, isFrozen: isFrozen, isPointOfNoReturn: isPointOfNoReturn)
        }
        let plan = PivotReport(
            controllers: ["controller-1", "controller-2", "controller-3"], endpoints: ["https://10.77.0.5:9443"],
            steps: [
                step("hand the site's secrets over to controller-1", isWait: true),
                step("start the members of the new store"),
                step("make the seed read-only, for seconds", isFrozen: true),
                step(
                    "open the new store (from here on there is no way back)", isFrozen: true, isPointOfNoReturn: true),
                step("end the seed"),
            ], isOrdered: false, warnings: ["controller-1 gets its address by the site's own DHCP."])
        try golden("controller-pivot") { ControllerPivot.lines(plan, $0) }
        var report = ControllersReport(time: Self.now)
        report.wanted = .init(controllers: plan.controllers, retired: [], vip: nil, generation: Generation(1))
        try golden("controller-pivot-back") { ControllerPivot.backLines(report, $0) }
        let cloud = CloudAccess(
            name: "lab", file: "/home/op/.config/openstack/clouds.yaml", authURL: "https://10.77.0.1:9443/identity/v3",
            proof: .token(SecretText("t")))
        try golden("controller-pivot-end") {
            ControllerPivot.endLines(.init(report: report, api: plan.endpoints[0]), cloud: cloud, $0)
        }
    }

    @Test func whatIsFollowedIsPrintedOnce() {
        var report = ControllersReport(time: Self.now)
        report.wanted = .init(controllers: ["a", "b", "c"], retired: [], vip: nil, generation: Generation(2))
        report.phase = .changing
        report.plan = [.init(step: "let b vote")]
        var shown = ControllerFollow.Shown()
        #expect(shown.lines(report, after: .seconds(1)) == ["    1s  let b vote"])
        #expect(shown.lines(report, after: .seconds(2)).isEmpty)
        report.problem = "etcd refuses"
        #expect(shown.lines(report, after: .seconds(30)) == ["   30s  it waits: etcd refuses"])
        report.problem = nil
        report.plan = []
        report.isSettled = true
        #expect(shown.lines(report, after: .seconds(180)) == ["    3m  settled: a, b, c"])
    }

    @Test func aReplacementIsAnotherNodeOrAnotherMember() throws {
        var report = ControllersReport(time: Self.now)
        let wanted = ControllersReport.Wanted(
            controllers: ["a", "b", "c"], retired: [], vip: nil, generation: Generation(2))
        var row = ControllersReport.Controller(name: "c", address: nil, part: .stays)
        row.members = [.init(id: "1f", state: .silent, behind: nil)]
        report.controllers = [row]
        let other = try ControllerReplace.wish(report, wanted, "c", with: "d")
        #expect(other.controllers == ["a", "b", "d"] && other.retired.isEmpty)
        let same = try ControllerReplace.wish(report, wanted, "c", with: "c")
        #expect(same.controllers == ["a", "b", "c"] && same.retired == ["1f"])
        for (node, with) in [("d", "e"), ("a", "b"), ("a", "a")] {
            #expect(throws: Failure.self) { try ControllerReplace.wish(report, wanted, node, with: with) }
        }
    }

    @Test func whyFits() throws {
        let reply = WhyReply(
            node: try Self.fleet()[1], time: Self.now,
            headline: "network-0001 is deploying (writing): the ramdisk writes the image. Next: it is booted anew.",
            causes: [
                .init(
                    subject: "node", what: "deploying (writing): the ramdisk writes the image",
                    since: Self.now.advanced(by: .seconds(-192)), owner: .machine,
                    deadline: Self.now.advanced(by: .seconds(300)), next: "it is booted anew"),
                .init(
                    subject: "bmc", what: "network-0001-bmc does not answer: the connection is refused",
                    since: Self.now.advanced(by: .seconds(-20)), owner: .bmc,
                    next: "check its address, cable and password; 'muster bmc list' shows what it says", isProblem: true
                ),
            ],
            conditions: [
                .init(type: "OverlayReady", isTrue: false, message: "the VXLAN device is missing", since: Self.now)
            ],
            events: [
                .init(
                    key: "k", time: Self.now, node: try Self.fleet()[1].id, nodeName: "network-0001",
                    type: "StateChanged", message: "available → deploying (bootingRamdisk): a role is asked for")
            ])
        try golden("node-why") { NodeWhy.lines(reply, $0) }
    }

    @Test func explanationsFit() throws {
        let reply = ExplainReply(
            node: try Self.fleet()[2],
            headline:
                "node-0a1b2c is enroll: it cannot be let in: the rules 'storage' and 'compute' contradict each other.",
            rules: RuleExplanation(
                rules: [
                    .init(
                        rule: "serial-1", order: 10, matches: false,
                        facts: [
                            .init(
                                path: "system.serial", wanted: "is 'EX-SRV-0001'", found: ["EX-SRV-O001"], holds: false)
                        ]),
                    .init(
                        rule: "compute", order: 100, matches: true,
                        facts: [
                            .init(path: "memory.bytes", wanted: "is at least 8 GiB", found: ["16 GiB"], holds: true),
                            .init(path: "tpm.version", wanted: "is not told", found: [], holds: true),
                        ],
                        gives: [
                            .init(field: "role", value: "compute", outcome: .conflicts, other: "storage"),
                            .init(field: "rack", value: "r1", outcome: .decides),
                        ]),
                    .init(
                        rule: "storage", order: 100, matches: true, facts: [],
                        gives: [
                            .init(field: "role", value: "storage", outcome: .conflicts, other: "compute"),
                            .init(field: "rack", value: "r1", outcome: .repeats, other: "compute"),
                        ]),
                ],
                nearMisses: [
                    "rule serial-1 would match but for system.serial is 'EX-SRV-0001' (found EX-SRV-O001)"
                ]),
            fields: [
                .init(field: "name", value: "node-0a1b2c", source: "its own marks: no rule names it"),
                .init(field: "role", value: nil, source: "nothing: rules contradict each other"),
                .init(field: "rack", value: "r1", source: "rule compute"),
            ],
            blocks: [.init(kind: .rules, message: "the rules 'compute' and 'storage' have the same order 100")])
        try golden("site-explain") { SiteExplain.lines(reply, $0) }
    }

    @Test func checksFit() throws {
        let reply = SiteCheckReply(rows: [
            .init(check: "interface", subject: "provisioning", outcome: .ok, found: "br0 is up with 10.77.0.1/24"),
            .init(
                check: "MTU", subject: "provisioning", outcome: .failed,
                found: "br0 has 1400, 1500 are needed for machines that boot",
                change: "ip link set br0 mtu 1500, and the same on the switch's port"),
            .init(
                check: "clock", subject: "time servers", outcome: .warning,
                found: "none is named, so nobody vouches for the conductor's time",
                change: "name some with 'ntpServers' in the site file, and let the host follow them"),
            .init(check: "DNS", subject: "name servers", outcome: .skipped, found: "none is named"),
        ])
        try golden("site-check") { SiteCheck.lines(reply, $0) }
    }

    @Test func inventoriesFit() throws {
        let report = InventoryReport(
            agentVersion: "0.1.0", collectedAt: Self.now, clockSkewMilliseconds: -90_000,
            kernelVersion: "6.1.0-30-amd64",
            system: .init(
                vendor: "Acme", product: "R1", serial: "SRV-1", uuid: "3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842",
                biosVendor: "SeaBIOS", biosVersion: "1.16", firmwareMode: .uefi, secureBoot: false),
            cpu: .init(model: "EPYC 7443P", architecture: "x86_64", sockets: 1, cores: 24, threads: 48),
            memory: .init(total: .gibibytes(256)),
            disks: [
                .init(
                    name: "sda", path: "/dev/sda", serial: "WD-WX12D3456789", wwn: "0x5000c50015ea71aa",
                    model: "WDC WD4000FYYZ", size: .gibibytes(3726), isRotational: true, bus: "ata",
                    idPath: "pci-0000:00:1f.2-ata-1",
                    contents: .init(
                        partitionTable: "gpt",
                        partitions: [
                            .init(
                                number: 1, name: "ESP", start: 1 << 20, size: .mebibytes(512),
                                signature: .init(type: "vfat")),
                            .init(
                                number: 2, name: "data", start: 600 << 20, size: .gibibytes(3725),
                                signature: .init(type: "ext4", label: "backup")),
                        ])),
                .init(
                    name: "nvme0n1", path: "/dev/nvme0n1", serial: "S64G-0001", model: "PM9A3", size: .gibibytes(894),
                    isRotational: false, bus: "nvme", idPath: "pci-0000:41:00.0-nvme-1"),
            ],
            nics: [
                .init(
                    name: "enp65s0f0", mac: MACAddress(bytes: [0x52, 0x54, 0, 0x77, 0, 1]), driver: "mlx5_core",
                    speed: 25_000, hasLink: true, pciAddress: "0000:41:00.0", mtu: 9000, addresses: ["10.77.0.50/24"])
            ],
            bmc: .init(
                address: IPv4Address(bytes: [10, 9, 0, 7]), mac: MACAddress(bytes: [0x52, 0x54, 0, 0x99, 0, 1]),
                firmwareVersion: "9.08"))
        try golden("node-inventory") { NodeInventory.lines(report, $0) }
        for width in Self.widths {
            let text = NodeInventory.lines(report, Self.terminal(width)).joined(separator: "\n")
            #expect(text.contains("WD-WX12D3456789") && text.contains("S64G-0001"))
            #expect(!text.contains("SWITCH"), "no card has heard of a switch")
        }
        var inventory = FleetScene.inventory(now: Timestamp(millisecondsSinceEpoch: 0)).nics
        inventory[1].lldp = .init(switchName: "leaf-3", port: "swp7")
        let cabled = InventoryReport(
            agentVersion: "0.1.0", collectedAt: Timestamp(millisecondsSinceEpoch: 0), kernelVersion: "6.1.0",
            system: report.system, cpu: report.cpu, memory: report.memory, disks: [], nics: inventory)
        let lines = NodeInventory.lines(cabled, Self.terminal(120))
        let title = try #require(lines.first { $0.contains("SWITCH") })
        let card = try #require(lines.first { $0.contains("enp65s0f1") })
        #expect(title.contains("PORT") && card.contains("leaf-3") && card.contains("swp7"), "\(card)")
    }

    @Test func plansFit() throws {
        let reply = SitePlanReply(
            changes: [
                .init(
                    action: .create, kind: "segment", name: "provisioning",
                    fields: [.init(path: "network", before: nil, after: "10.77.0.0/24")]),
                .init(
                    action: .update, kind: "site", name: "site",
                    fields: [
                        .init(
                            path: "sshKeys[0]", before: nil,
                            after: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f x"),
                        .init(path: "overlay.vni", before: "1", after: "2"),
                    ]),
                .init(action: .delete, kind: "rule", name: "old", fields: []),
            ], isDryRun: true)
        try golden("site-plan") { SiteApply.lines(reply, $0) }
    }

    @Test func watchLinesHaveABar() throws {
        let node = try Self.fleet()[1]
        #expect(
            WatchScreen.text(node, Self.terminal(120))
                == "\(Ages.clock(Self.now))  network-0001  deploying (writing)  [########------------]  43 %  61 MiB  3m so far"
        )
        #expect(WatchScreen.text(node, Self.terminal(40)).count < 40)
        #expect(ProgressBar.text(percent: 0, width: 4) == "[----]   0 %")
        #expect(ProgressBar.text(percent: 100, width: 4) == "[####] 100 %")
    }

    @Test func coloursAreForTerminalsOnly() {
        let plain = Terminal(width: 80, isInteractive: false, isJSON: false)
        let colourful = Terminal(width: 80, isInteractive: true, isJSON: false)
        #expect(plain.styled("x", .red) == "x")
        #expect(colourful.styled("x", .red) == "\u{1B}[31mx\u{1B}[0m")
    }

    @Test(arguments: [(0, "0s"), (119, "119s"), (120, "2m"), (3600, "1h"), (12_000, "3h20m"), (86_400 * 3, "3d")])
    func agesAreShort(_ seconds: Int, _ text: String) { #expect(Ages.text(.seconds(seconds)) == text) }

    @Test func durationsAreParsed() throws {
        #expect(try Ages.parse("24h") == .seconds(86_400))
        #expect(throws: InvalidValue.self) { try Ages.parse("soon") }
    }

    @Test func sshTakesNoOptionsFromNames() throws {
        let arguments = try NodeSSH.arguments(
            address: "10.77.0.50", alias: "id.1", user: "root", identity: "key", knownHosts: "/k", command: ["uptime"])
        #expect(
            arguments == [
                "ssh", "-o", "StrictHostKeyChecking=accept-new", "-o", "UserKnownHostsFile=/k", "-o",
                "HostKeyAlias=id.1", "-o", "ConnectTimeout=10", "-i", "key", "-o", "IdentitiesOnly=yes",
                "root@10.77.0.50", "--", "uptime",
            ])
        #expect(throws: InvalidValue.self) {
            try NodeSSH.arguments(
                address: "a", alias: "b", user: "-oProxyCommand=x", identity: nil, knownHosts: "/k", command: [])
        }
    }
}
