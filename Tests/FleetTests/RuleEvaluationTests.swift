import AgentProtocol
import BareMetal
import CatalogBareMetal
import Primitives
import ResourceModel
import Testing

@Suite struct RuleEvaluationTests {
    private let inventory = InventoryReport(
        agentVersion: "0.1.0", collectedAt: Timestamp(millisecondsSinceEpoch: 0), kernelVersion: "6.1.0",
        system: .init(vendor: "Acme", product: "R1", serial: "SRV-1", uuid: "3f2a91c4-07d8", firmwareMode: .uefi),
        cpu: .init(architecture: "x86_64", sockets: 1, cores: 4, threads: 8, flags: ["aes", "vmx"]),
        memory: .init(total: .gibibytes(8)),
        disks: [
            .init(name: "sda", path: "/dev/sda", serial: "D-1", size: .gibibytes(100)),
            .init(name: "sdb", path: "/dev/sdb", serial: "D-2", size: .gibibytes(900)),
        ],
        nics: [
            .init(
                name: "eth0", mac: MACAddress(bytes: [2, 0, 0, 0, 0, 1]),
                permanentMAC: MACAddress(bytes: [0x52, 0x54, 0, 0x77, 0, 0xAB]), hasLink: true, mtu: 1500,
                lldp: .init(switchName: "leaf-3", port: "swp7"))
        ], pciDevices: [.init(address: "0000:00:03.0", classCode: 0x020000, vendor: 0x8086, device: 0x15B8)])

    private func rule(_ name: String, _ spec: Rule.Spec) -> Rule {
        Rule(
            metadata: Metadata(name: name, schemaVersion: 1, created: Timestamp(millisecondsSinceEpoch: 0)), spec: spec)
    }

    private func fact(_ path: String, _ comparison: Rule.Fact.Comparison, _ value: String) -> Rule.Fact {
        Rule.Fact(path: path, comparison: comparison, value: value)
    }

    @Test func theFirstRuleThatMatchesDecidesEachField() {
        let rules = [
            rule("late", .init(order: 20, match: [], role: .compute, approves: true)),
            rule(
                "early",
                .init(
                    order: 10, match: [fact("system.serial", .equals, "SRV-1")], name: "n1",
                    rootDisk: RootDiskHint(serial: "D-1"), dataDisks: DataDisks(all: true))),
            rule("other", .init(order: 5, match: [fact("system.serial", .equals, "SRV-2")], name: "n2")),
            rule("later", .init(order: 30, match: [], name: "n3", role: .storage, approves: true)),
        ]
        let (decision, explanation) = RuleEvaluation.evaluate(rules: rules, inventory: inventory)
        #expect(decision.name == "n1")
        #expect(decision.role == .compute)
        #expect(decision.rootDisk == RootDiskHint(serial: "D-1"))
        #expect(decision.dataDisks == DataDisks(all: true))
        #expect(decision.bmc == nil)
        #expect(decision.approvedBy == "late")
        #expect(
            explanation.lines == [
                "rule other does not match: system.serial is 'SRV-2' (found SRV-1)",
                "rule early matches and decides name, root disk, data disks",
                "rule late matches and decides role, approval",
                "rule later matches and decides nothing new",
            ])
        let shuffled = RuleEvaluation.evaluate(rules: rules.reversed(), inventory: inventory)
        #expect(shuffled.decision == decision)
        #expect(shuffled.explanation == explanation)
    }

    @Test(arguments: [
        ("system.uuid", Rule.Fact.Comparison.equals, "3F2A91C4-07D8", true),
        ("nic.mac", .equals, "52:54:00:77:00:AB", true),
        ("nic.mac", .equals, "02:00:00:00:00:01", false),
        ("system.product", .hasPrefix, "R", true),
        ("system.product", .not, "R1", false),
        ("memory.bytes", .atLeast, "8589934592", true),
        ("memory.bytes", .atLeast, "8589934593", false),
        ("disk.bytes", .atLeast, "900000000000", true),
        ("disk.count", .equals, "2", true),
        ("disk.serial", .equals, "D-2", true),
        ("disk.serial", .not, "D-2", false),
        ("cpu.threads", .atMost, "8", true),
        ("firmware.mode", .equals, "uefi", true),
        ("virtualization", .not, "kvm", false),
        ("system.serial", .atLeast, "1", false),
        ("no.such.fact", .not, "x", false),
        ("no.such.fact", .exists, "false", false),
        ("system.product", .matches, "R[0-9]", true),
        ("system.product", .matches, "R", false),
        ("system.uuid", .matches, "3F2A*", true),
        ("disk.serial", .contains, "D-2", true),
        ("disk.serial", .contains, "D-3", false),
        ("system.serial", .contains, "SRV-1", false),
        ("virtualization", .exists, "false", true),
        ("virtualization", .exists, "true", false),
        ("system.serial", .exists, "true", true),
        ("pci.device", .equals, "8086:15B8", true),
        ("cpu.flag", .contains, "vmx", true),
        ("cpu.cores", .atLeast, "4", true),
        ("nic.lldp.switch", .matches, "leaf-*", true),
        ("nic.lldp.switch", .equals, "leaf-4", false),
        ("nic.lldp.port", .contains, "swp7", true),
        ("nic.lldp.port", .exists, "true", true),
    ]) func factsAreCompared(_ path: String, _ comparison: Rule.Fact.Comparison, _ value: String, _ holds: Bool) {
        let rules = [rule("r", .init(order: 1, match: [fact(path, comparison, value)], role: .network))]
        let (decision, explanation) = RuleEvaluation.evaluate(rules: rules, inventory: inventory)
        #expect((decision.role == .network) == holds)
        #expect(explanation.rules.map(\.matches) == [holds])
    }

    @Test func everyFactIsKnown() {
        for path in FactPath.allCases {
            let rules = [rule("r", .init(order: 1, match: [fact(path.rawValue, .hasPrefix, "")], role: .network))]
            let trial = RuleEvaluation.evaluate(rules: rules, inventory: inventory).explanation.rules[0].facts[0]
            let isUntold: [FactPath] = [
                .boardSerial, .chassisSerial, .cpuModel, .cpuVendor, .virtualization, .firmwareVendor, .firmwareVersion,
                .secureBoot, .tpmVersion, .tpmEndorsementKey, .diskModel, .diskBus, .diskWWN, .nicDriver, .nicSpeed,
                .bootMAC,
            ]
            let isTold = !isUntold.contains(path)
            #expect(trial.found.isEmpty != isTold, "\(path.rawValue)")
        }
    }

    @Test func oneOfSeveralValuesIsEnough() {
        let fact = Rule.Fact(path: "system.serial", comparison: .oneOf, value: "SRV-0", others: ["SRV-1"])
        let trial = RuleEvaluation.evaluate(rules: [rule("r", .init(order: 1, match: [fact]))], inventory: inventory)
            .explanation.rules[0]
        #expect(trial.matches)
        #expect(trial.facts[0].wanted == "is in SRV-0, SRV-1")
    }

    @Test func rulesOfOneOrderThatContradictDecideNothing() {
        let rules = [
            rule("a", .init(order: 10, match: [], role: .compute, approves: true, rack: "r1")),
            rule("b", .init(order: 10, match: [], role: .storage, rack: "r1")),
            rule("c", .init(order: 20, match: [], role: .network, bmc: "x")),
        ]
        let (decision, explanation) = RuleEvaluation.evaluate(rules: rules, inventory: inventory)
        #expect(decision.role == nil)
        #expect(decision.rack == "r1")
        #expect(decision.bmc == "x")
        #expect(decision.approvedBy == nil)
        #expect(
            decision.conflicts == [
                "the rules 'a' and 'b' have the same order 10 and give different values of role: 'compute' and "
                    + "'storage'; give one of them a lower order"
            ])
        #expect(decision.blocks(among: [], inventory).map(\.kind) == [.rules])
        #expect(explanation.rules[0].gives.map(\.outcome) == [.conflicts, .decides, .conflicts])
        #expect(explanation.rules[1].gives.map(\.outcome) == [.conflicts, .repeats])
        #expect(explanation.rules[2].gives.map(\.outcome) == [.overruled, .decides])
        let settled = rules.map { $0.metadata.name == "b" ? rule("b", .init(order: 9, match: [], role: .storage)) : $0 }
        #expect(RuleEvaluation.evaluate(rules: settled, inventory: inventory).decision.role == .storage)
    }

    @Test func nearMissesAreTold() {
        let rules = [
            rule("typo", .init(order: 1, match: [fact("system.serial", .equals, "srv 2")], role: .compute)),
            rule("far", .init(order: 2, match: [fact("system.serial", .equals, "OTHER-9")], role: .compute)),
            rule(
                "small",
                .init(
                    order: 3,
                    match: [
                        fact("system.vendor", .equals, "Acme"), fact("memory.bytes", .atLeast, "17179869184"),
                    ], role: .compute)),
            rule("case", .init(order: 4, match: [fact("system.serial", .equals, "srv-1")], role: .compute)),
        ]
        #expect(
            RuleEvaluation.evaluate(rules: rules, inventory: inventory).explanation.nearMisses == [
                "rule small would match but for memory.bytes is at least 16 GiB (found 8 GiB)",
                "rule case would match but for system.serial is 'srv-1' (found SRV-1)",
            ])
    }
}
