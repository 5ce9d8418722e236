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
        cpu: .init(architecture: "x86_64", sockets: 1, cores: 4, threads: 8), memory: .init(total: .gibibytes(8)),
        disks: [
            .init(name: "sda", path: "/dev/sda", serial: "D-1", size: .gibibytes(100)),
            .init(name: "sdb", path: "/dev/sdb", serial: "D-2", size: .gibibytes(900)),
        ],
        nics: [
            .init(
                name: "eth0", mac: MACAddress(bytes: [2, 0, 0, 0, 0, 1]),
                permanentMAC: MACAddress(bytes: [0x52, 0x54, 0, 0x77, 0, 0xAB]), hasLink: true, mtu: 1500)
        ])

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
                    rootDisk: RootDiskHint(serial: "D-1"))),
            rule("other", .init(order: 5, match: [fact("system.serial", .equals, "SRV-2")], name: "n2")),
            rule("later", .init(order: 30, match: [], name: "n3", role: .storage, approves: true)),
        ]
        let (decision, explanation) = RuleEvaluation.evaluate(rules: rules, inventory: inventory)
        #expect(decision.name == "n1")
        #expect(decision.role == .compute)
        #expect(decision.rootDisk == RootDiskHint(serial: "D-1"))
        #expect(decision.bmc == nil)
        #expect(decision.approvedBy == "late")
        #expect(
            explanation.lines == [
                "rule other does not match: system.serial equals 'SRV-2' (found SRV-1)",
                "rule early matches and decides name, root disk",
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
        ("system.product", .notEquals, "R1", false),
        ("memory.bytes", .atLeast, "8589934592", true),
        ("memory.bytes", .atLeast, "8589934593", false),
        ("disk.bytes", .atLeast, "900000000000", true),
        ("disk.count", .equals, "2", true),
        ("disk.serial", .equals, "D-2", true),
        ("disk.serial", .notEquals, "D-2", false),
        ("cpu.threads", .atMost, "8", true),
        ("firmware.mode", .equals, "uefi", true),
        ("virtualization", .notEquals, "kvm", false),
        ("system.serial", .atLeast, "1", false),
        ("no.such.fact", .notEquals, "x", false),
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
            let isTold = ![.boardSerial, .chassisSerial, .cpuModel, .virtualization].contains(path)
            #expect(trial.found.isEmpty != isTold, "\(path.rawValue)")
        }
    }
}
