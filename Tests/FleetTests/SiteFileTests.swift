import AgentProtocol
import CatalogBareMetal
import Fleet
import FleetContract
import FoundationEssentials
import Primitives
import TestSupport
import Testing

/// A key that only has the right form.
let sshKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f operator@desk"

/// A site that is right, with a line of each part to replace.
let goodSite = """
    site:
      name: lab
      sshKeys: ["\(sshKey)"]
      sshKeyFiles: [keys/more.pub]
      overlay: { vni: 4242 }
    segments:
      - name: provisioning
        interface: br0
        network: 10.77.0.0/24
        server: 10.77.0.1
        pool: { start: 10.77.0.50, end: 10.77.0.99 }
        router: 10.77.0.1
        dns: [10.77.0.1, 10.77.0.2]
        domain: lab.example
        leaseTime: 30m
    bmcs:
      - name: n1-bmc
        address: https://bmc-1.example:8443
        system: system-1
        username: admin
        passwordFile: secrets/n1
        certificateDigest: \(String(repeating: "ab", count: 32))
        powersOnForDiscovery: true
      - name: n2-bmc
        address: http://10.77.0.3
        username: admin
        passwordEnv: N2_PASSWORD
    rules:
      - name: n1
        order: 10
        match:
          system.serial: SRV-1
          memory.bytes: { atLeast: 8 GiB }
        gives:
          name: n1
          role: network
          bmc: n1-bmc
          rootDisk: { serial: D-1, sizeMin: 100 GiB }
      - name: everything
        gives: { role: compute }
      - name: store
        match: { system.serial: SRV-2 }
        gives:
          role: storage
          dataDisks:
            pool: fast
            match:
              - { bus: nvme, sizeMin: 1 TiB, rotational: false }
              - { serial: D-7 }
      - name: store-all
        match: { system.serial: SRV-3 }
        gives: { role: storage, dataDisks: { all: true } }

    """

@Suite struct SiteFileTests {
    @Test func aRightFileIsReadWhole() throws {
        let file = try SiteFile(yaml: goodSite)
        let site = file.document
        #expect(site.site.name == "lab")
        #expect(site.site.sshKeys == [sshKey])
        #expect(site.site.metricsIntervalSeconds == 15)
        #expect(site.site.overlay == Site.Spec.Overlay(vni: 4242, mtu: 1450))
        #expect(file.sshKeyFiles == ["keys/more.pub"])
        let segment = try #require(site.segments.first).spec
        #expect(segment.interface == "br0" && segment.mode == .server && segment.relays.isEmpty)
        #expect(segment.pools.map { "\($0.start)-\($0.end)" } == ["10.77.0.50-10.77.0.99"])
        #expect(segment.leaseTimeSeconds == 1800)
        #expect(segment.dnsServers.count == 2)
        #expect(segment.domain == "lab.example")
        #expect(site.bmcs.map(\.name) == ["n1-bmc", "n2-bmc"])
        #expect(site.bmcs.allSatisfy { $0.password == nil })
        #expect(file.passwords == ["n1-bmc": .file("secrets/n1"), "n2-bmc": .environment("N2_PASSWORD")])
        let rule = try #require(site.rules.first).spec
        #expect(rule.role == .network)
        #expect(rule.rootDisk == RootDiskHint(serial: "D-1", sizeMin: .gibibytes(100)))
        #expect(
            rule.match == [
                Rule.Fact(path: "system.serial", comparison: .equals, value: "SRV-1"),
                Rule.Fact(path: "memory.bytes", comparison: .atLeast, value: "8589934592"),
            ])
        #expect(site.rules[1].spec.order == 100)
        #expect(
            site.rules[2].spec.dataDisks
                == DataDisks(
                    pool: "fast",
                    matches: [
                        DataDisks.Match(bus: "nvme", isRotational: false, sizeMin: .gibibytes(1024)),
                        DataDisks.Match(serial: "D-7"),
                    ]))
        #expect(site.rules[3].spec.dataDisks == DataDisks(pool: "data", all: true))
        #expect(file.line(of: "segments[0].pool.start") == 11)
    }

    @Test func consolesAreRead() throws {
        let text = goodSite.replacing(
            "address: http://10.77.0.3",
            with:
                "address: http://10.77.0.3\n    console: ipmi://10.77.0.3\n    recordsConsole: true\n    cipherSuite: 17"
        )
        let bmc = try #require(try SiteFile(yaml: text).document.bmcs.last)
        #expect(bmc.console == "ipmi://10.77.0.3" && bmc.cipherSuite == 17, "serial over LAN has a cipher suite")
        #expect(bmc.recordsConsole == true)
        #expect(try SiteFile(yaml: goodSite).document.bmcs.allSatisfy { $0.console == nil })
    }

    @Test func factsHaveManyForms() throws {
        let text = goodSite.replacing(
            "      system.serial: SRV-1\n",
            with: """
                      system.serial: [SRV-1, SRV-2]
                      system.product: { not: R1, matches: "R[2-9]*" }
                      disk.serial: { contains: D-1 }
                      disk.bytes: { in: [1 GiB, 2 GiB] }
                      tpm.version: { exists: true }

                """)
        let rule = try #require(try SiteFile(yaml: text).document.rules.first).spec
        #expect(
            rule.match.map { "\($0.path) \($0.comparison.rawValue) \($0.values.joined(separator: "|"))" } == [
                "system.serial in SRV-1|SRV-2", "system.product not R1", "system.product matches R[2-9]*",
                "disk.serial contains D-1", "disk.bytes in 1073741824|2147483648", "tpm.version exists true",
                "memory.bytes atLeast 8589934592",
            ])
    }

    @Test func billsOfMaterialsAreRead() throws {
        let bills = """
            skus:
              - name: compute-v1
                vendor: Acme
                cpu: { model: "*7443P*", sockets: 1, coresMin: 24 }
                memory: { exact: 256 GiB }
                disks:
                  - { count: 2, sizeMin: 800 GiB, bus: nvme, rotational: false }
                nics:
                  - { count: 2, driver: mlx5_core, speedMin: 25000 }
                firmware: { mode: uefi, version: "2.*", secureBoot: true }
                pciDevices:
                  - { device: "10de:20b0" }
                tpm: "2.0"

            """
        let text = (goodSite + bills).replacing("role: compute }", with: "role: compute, sku: compute-v1 }")
        let site = try SiteFile(yaml: text).document
        let sku = try #require(site.skus?.first)
        #expect(sku.name == "compute-v1")
        #expect(sku.spec.memory == SKU.Memory(exact: .gibibytes(256)))
        #expect(
            sku.spec.disks == [
                SKU.DiskGroup(count: 2, sizeMin: .gibibytes(800), bus: "nvme", isRotational: false)
            ])
        #expect(sku.spec.nics == [SKU.NICGroup(count: 2, driver: "mlx5_core", speedMin: 25_000)])
        #expect(sku.spec.firmware == SKU.Firmware(mode: .uefi, version: "2.*", secureBoot: true))
        #expect(sku.spec.pciDevices == [SKU.PCIGroup(count: 1, device: "10de:20b0")])
        #expect(site.rules[1].spec.sku == "compute-v1")
        let wrong: [(String, String, String)] = [
            ("memory: { exact: 256 GiB }", "memory: {}", "skus[0].memory: give either 'min' or 'exact'"),
            ("coresMin: 24", "coresMin: 0", "skus[0].cpu.coresMin: 0 is not between 1 and 4096"),
            (
                "sku: compute-v1", "sku: v2",
                "rules[1].gives.sku: 'v2' is not in 'skus' of this site; there are compute-v1"
            ),
        ]
        for (old, new, message) in wrong {
            let error = try #require(throws: SiteError.self) { try SiteFile(yaml: text.replacing(old, with: new)) }
            #expect(error.problems.map { "\($0.path): \($0.message)" } == [message])
        }
    }

    @Test(arguments: ["site.yaml", "site-bond.yaml"]) func theExampleRacksAreRight(_ name: String) throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let path = root.appending(path: "Inventory/example-rack/\(name)").path
        let text = try #require(FileManager.default.contents(atPath: path))
        let file = try SiteFile(yaml: String(decoding: text, as: UTF8.self))
        let site = try file.resolved(
            in: .init(
                file: { _ in sshKey }, variable: { $0 == "MUSTER_SSH_KEY_FILE" ? "/keys/demo.pub" : "a password" }))
        #expect(site.site.sshKeys == [sshKey])
        #expect(site.bmcs.first?.password == Password("a password"))

    }

    @Test func passwordsAndKeysAreTakenFromWhereTheyAre() throws {
        let file = try SiteFile(yaml: goodSite)
        let files = ["keys/more.pub": "# desk\n\n\(sshKey)2\n", "secrets/n1": "geheim \n"]
        let site = try file.resolved(
            in: .init(
                file: { files[$0] ?? "" }, variable: { $0 == "N2_PASSWORD" ? "other" : nil }))
        #expect(site.site.sshKeys == [sshKey, sshKey + "2"])
        #expect(site.bmcs.map(\.password) == [Password("geheim "), Password("other")])
        #expect("\(site)".contains("geheim") == false)
        #expect(String(reflecting: site).contains("geheim") == false)
    }

    @Test func whatIsMissingOutsideIsToldWithItsLine() throws {
        struct Gone: UserFacingError {
            var publicMessage: String { "secrets/n1 cannot be read: No such file or directory" }
        }
        let file = try SiteFile(yaml: goodSite)
        let error = try #require(throws: SiteError.self) {
            try file.resolved(
                in: .init(
                    file: { if $0 == "secrets/n1" { throw Gone() } else { return sshKey } }, variable: { _ in nil }))
        }
        #expect(
            error.problems.map(\.description) == [
                "line 21: bmcs[0].passwordFile: secrets/n1 cannot be read: No such file or directory",
                "line 27: bmcs[1].passwordEnv: the environment variable N2_PASSWORD is not set; set it to the password "
                    + "of 'n2-bmc'",
            ])
    }

    /// A text of the right file, what stands there instead, and what is said of it.
    struct Bad: Sendable, CustomTestStringConvertible {
        var old: String
        var new: String
        var message: String
        var testDescription: String { new }
    }

    static let bad: [Bad] = [
        Bad(
            old: "  name: lab", new: "  name: lab\n  nmae: x",
            message: "line 3: site.nmae: unknown key; known here: name, sshKeys, sshKeyFiles, sshKeyFilesEnv, "
                + "metricsIntervalSeconds, overlay, networkConfirmSeconds, ntp, proxyPort"),
        Bad(
            old: "passwordFile: secrets/n1", new: "password: geheim",
            message:
                "line 21: bmcs[0].password: a password must not stand in this file; put it into a file of mode 0600 "
                + "and name it with 'passwordFile', or name an environment variable with 'passwordEnv'"),
        Bad(
            old: "    passwordFile: secrets/n1\n", new: "",
            message: "line 17: bmcs[0]: the password is missing; name its file with 'passwordFile' or a variable with "
                + "'passwordEnv'"),
        Bad(
            old: "passwordEnv: N2_PASSWORD", new: "passwordEnv: n2-password",
            message: "line 27: bmcs[1].passwordEnv: 'n2-password' is not a valid name of an environment variable: "
                + "expected A-Z, 0-9 and '_'."),
        Bad(
            old: "name: lab", new: "name: \"lab\\nrm\"",
            message: "line 2: site.name: 'lab\\u{a}rm' is not a valid site name: expected 1 to 63 of a-z, 0-9 and '-', "
                + "with no '-' at the start or the end."),
        Bad(
            old: "interface: br0", new: "interface: br0-is-too-long-x",
            message:
                "line 8: segments[0].interface: 'br0-is-too-long-x' is not a valid interface name: expected 1 to 15 "
                + "printable characters without '/', ':', '%', quotes and blanks."),
        Bad(
            old: "end: 10.77.0.99", new: "end: 10.78.0.99",
            message: "line 11: segments[0].pool: 10.78.0.99 is not in 10.77.0.0/24"),
        Bad(
            old: "start: 10.77.0.50", new: "start: 10.77.0.100",
            message: "line 11: segments[0].pool: 10.77.0.100 comes after 10.77.0.99"),
        Bad(
            old: "server: 10.77.0.1", new: "server: 10.77.0.60",
            message: "line 11: segments[0].pool: holds the server's own address 10.77.0.60"),
        Bad(
            old: "network: 10.77.0.0/24", new: "network: 10.77.0.1/24",
            message:
                "line 9: segments[0].network: '10.77.0.1/24' is not a valid IPv4 network: expected no host bits set, "
                + "as in 10.77.0.0/24."),
        Bad(
            old: "leaseTime: 30m", new: "leaseTime: 3 weeks",
            message: "line 15: segments[0].leaseTime: '3 weeks' is not a valid lease time: expected 60 to 604800 "
                + "seconds, or as in '30m' or '1h'."),
        Bad(
            old: "vni: 4242", new: "vni: 16777216",
            message: "line 5: site.overlay.vni: 16777216 is not between 1 and 16777215"),
        Bad(
            old: "address: http://10.77.0.3", new: "address: ftp://bmc-1",
            message:
                "line 25: bmcs[1].address: 'ftp://bmc-1' is not a valid BMC address: expected http://, https:// or "
                + "ipmi://, a host, and a port if it is not the usual one."),
        Bad(
            old: "address: http://10.77.0.3", new: "address: http://root:x@10.77.0.3/redfish",
            message: "line 25: bmcs[1].address: 'http://root:x@10.77.0.3/redfish' is not a valid BMC address: expected "
                + "http://, https:// or ipmi://, a host, and a port if it is not the usual one."),
        Bad(
            old: "address: http://10.77.0.3", new: "address: http://10.77.0.3\n    cipherSuite: 17",
            message: "line 26: bmcs[1].cipherSuite: only an ipmi:// address has a cipher suite"),
        Bad(
            old: "address: http://10.77.0.3", new: "address: ipmi://10.77.0.3\n    cipherSuite: 18",
            message: "line 26: bmcs[1].cipherSuite: 18 is not between 1 and 17"),
        Bad(
            old: "address: http://10.77.0.3", new: "address: ipmi://10.77.0.3\n    boot: media",
            message: "line 26: bmcs[1].boot: IPMI has no media; only a Redfish BMC can boot by 'media' or 'http'"),
        Bad(
            old: "address: http://10.77.0.3", new: "address: http://10.77.0.3\n    boot: floppy",
            message: "line 26: bmcs[1].boot: 'floppy' is not a valid way to boot: expected network, http, media."),
        Bad(
            old: "address: http://10.77.0.3", new: "address: http://10.77.0.3\n    console: ssh://ts-1",
            message:
                "line 26: bmcs[1].console: 'ssh://ts-1' is not a valid console address: expected ipmi://HOST[:PORT], "
                + "tcp://HOST:PORT or unix:///PATH."),
        Bad(
            old: "address: http://10.77.0.3", new: "address: http://10.77.0.3\n    recordsConsole: true",
            message:
                "line 26: bmcs[1].recordsConsole: no console of this BMC is known; name it with 'console'"),
        Bad(
            old: "address: http://10.77.0.3", new: "address: ipmi://10.77.0.3\n    system: 1",
            message: "line 26: bmcs[1].system: an IPMI BMC has one machine only; leave 'system' out"),
        Bad(
            old: sshKey, new: "ssh-ed25519 AAAAB3NzaC1yc2E= x",
            message:
                "line 3: site.sshKeys[0]: 'ssh-ed25519 AAAAB3NzaC1yc2E= x' is not a valid SSH public key: expected "
                + "one line such as 'ssh-ed25519 AAAA… name', without options before it."),
        Bad(
            old: "name: n2-bmc", new: "name: n1-bmc",
            message: "line 24: bmcs[1].name: 'n1-bmc' is the name of bmcs[0] already"),
        Bad(
            old: "bmc: n1-bmc", new: "bmc: n3-bmc",
            message: "line 37: rules[0].gives.bmc: 'n3-bmc' is not a BMC of this site; there are n1-bmc, n2-bmc"),
        Bad(
            old: "role: network", new: "role: router",
            message: "line 36: rules[0].gives.role: 'router' is not a valid role: expected network, compute, storage, "
                + "controller."),
        Bad(
            old: "atLeast: 8 GiB", new: "atLeast: much",
            message: "line 33: rules[0].match.memory.bytes: 'much' is not a valid value: expected a size such as 8 GiB."
        ),
        Bad(
            old: "system.serial: SRV-1", new: "system.serial: { matches: \"[\" }",
            message: "line 32: rules[0].match.system.serial: '[' is not a valid pattern: expected 1 to 200 bytes, in "
                + "which * is any run, ? any character and [a-z] a set."),
        Bad(
            old: "system.serial: SRV-1", new: "system.serial: { contains: SRV-1 }",
            message:
                "line 32: rules[0].match.system.serial: is one value and no list; use equals, or matches: '*…*' for "
                + "a part of it"),
        Bad(
            old: "      name: n1\n      role", new: "      name: n-{disk.serial}\n      role",
            message:
                "line 35: rules[0].gives.name: 'n-{disk.serial}' is not a valid node name: expected {n}, {nn}, {nnn}, "
                + "{rack}, {role} or a fact with one value such as {system.serial}."),
        Bad(
            old: "gives: { role: compute }", new: "approves: true",
            message: "line 39: rules[1]: a rule that approves must name what has to match; add at least one fact to "
                + "'match'"),
        Bad(
            old: "gives: { role: compute }", new: "order: 5",
            message: "line 39: rules[1]: the rule gives nothing; add 'gives' or 'approves: true'"),
        Bad(old: "  name: lab\n", new: "", message: "line 2: site: 'name' is missing"),
        Bad(old: "  name: lab\n", new: "  name: lab\n  name: b\n", message: "line 2: the key 'name' stands here twice"),
        Bad(old: "site:\n", new: "site: [\n", message: "line 3: not YAML: did not find expected ',' or ']'"),
    ]

    @Test(arguments: bad) func whatIsWrongIsToldWithItsLine(bad: Bad) throws {
        let text = goodSite.split(separator: bad.old, maxSplits: 1, omittingEmptySubsequences: false)
        try #require(text.count == 2)
        let error = try #require(throws: SiteError.self) {
            try SiteFile(yaml: text[0] + bad.new + text[1])
        }
        #expect(error.problems.map(\.description) == [bad.message])
    }

    @Test func unknownFactsNameTheKnownOnes() throws {
        let error = try #require(throws: SiteError.self) {
            try SiteFile(yaml: goodSite.split(separator: "system.serial").joined(separator: "system.colour"))
        }
        let problem = try #require(error.problems.first)
        #expect(problem.line == 32)
        #expect(problem.message.hasPrefix("unknown fact; known are system.serial, system.uuid"))
    }

    @Test func allProblemsAreToldAtOnce() throws {
        let text = "site: { name: A }\nsegments: []\nrules:\n  - name: B\n    gives: { name: C }\n"
        let error = try #require(throws: SiteError.self) { try SiteFile(yaml: text) }
        #expect(error.problems.map(\.path) == ["site.name", "rules[0].name", "rules[0]", "rules[0].gives.name"])
    }

    @Test(arguments: ["", "- a", "site: 3", "? [1]\n: 2", "\u{0}", "site: &a [*a]"]) func noTextCrashes(text: String) {
        #expect(throws: SiteError.self) { try SiteFile(yaml: text) }
    }

    @Test(arguments: [
        ("gives: { dataDisks: {} }", "names no disk"),
        ("gives: { dataDisks: { all: true, match: [ { serial: S } ] } }", "not both"),
        ("gives: { dataDisks: { match: [ {} ] } }", "fits every disk"),
        ("gives: { dataDisks: { match: [ { colour: red } ] } }", "colour"),
        ("gives: { dataDisks: { match: [ { sizeMin: 2 GiB, sizeMax: 1 GiB } ] } }", "less than sizeMin"),
        ("gives: { dataDisks: { all: true, pool: Bad_Name } }", "pool name"),
        ("gives: { role: network, dataDisks: { all: true } }", "only storage nodes"),
    ])
    func wrongDataDisksAreRefused(_ rule: String, _ words: String) {
        let text = "site: { name: lab }\nrules:\n  - name: r\n    \(rule)\n"
        let error = #expect(throws: SiteError.self) { try SiteFile(yaml: text) }
        #expect(error?.publicMessage.contains(words) == true, "\(error?.publicMessage ?? "")")
        #expect(error?.problems.first?.line != nil)
    }
}

/// Segments beyond the simplest: relays, reservations, several pools, proxy mode.
@Suite struct SiteSegmentTests {
    private static func site(_ segment: String) -> String {
        "site: { name: lab }\nsegments:\n"
            + segment.split(separator: "\n").map { "  \($0)\n" }.joined()
    }

    static let relayed = """
        - name: hall-2
          relays: [10.80.0.1, 10.80.0.2]
          network: 10.80.0.0/24
          server: 10.77.0.1
          pools: [10.80.0.50-10.80.0.99, { start: 10.80.0.120, end: 10.80.0.130 }]
          reservations:
            - { mac: "52:54:00:80:00:01", address: 10.80.0.20, hostname: gate }
            - { mac: "52:54:00:80:00:02", address: 10.80.0.60 }
          router: 10.80.0.1
          ntp: [10.77.0.9]
          mtu: 1450
          routes: [{ to: 10.90.0.0/16, via: 10.80.0.2 }]
        """

    @Test func relayedSegmentsAreRead() throws {
        let spec = try #require(try SiteFile(yaml: Self.site(Self.relayed)).document.segments.first).spec
        #expect(spec.interface == nil)
        #expect(spec.relays.map(\.description) == ["10.80.0.1", "10.80.0.2"])
        #expect(spec.pools.map(\.start.description) == ["10.80.0.50", "10.80.0.120"])
        #expect(spec.reservations.map(\.hostname) == ["gate", nil])
        #expect(spec.ntpServers.map(\.description) == ["10.77.0.9"])
        #expect(spec.mtu == 1450)
        #expect(spec.routes.map(\.to.description) == ["10.90.0.0/16"])
    }

    @Test func theExampleOfAllKeysIsRight() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try #require(
            FileManager.default.contents(atPath: root.appending(path: "Inventory/segments.yaml").path))
        let site = try SiteFile(yaml: String(decoding: text, as: UTF8.self)).document
        #expect(site.segments.map(\.spec.mode) == [.server, .server, .proxy])
    }

    @Test func aProxySegmentNeedsNoPool() throws {
        let text = "- { name: office, interface: eth1, mode: proxy, network: 10.9.0.0/24, server: 10.9.0.2 }"
        let spec = try #require(try SiteFile(yaml: Self.site(text)).document.segments.first).spec
        #expect(spec.mode == .proxy && spec.pools.isEmpty)
    }

    @Test(
        arguments: [
            ("  relays: [10.80.0.1, 10.80.0.2]\n", "", "'interface' is missing"),
            ("server: 10.77.0.1", "server: 10.80.0.9", "10.80.0.9 is on the segment's own network"),
            ("[10.80.0.1, 10.80.0.2]", "[10.80.0.1, 10.80.0.1]", "stands here twice"),
            ("[10.80.0.1, 10.80.0.2]", "[10.80.0.55]", "holds the relay's address 10.80.0.55"),
            ("start: 10.80.0.120", "start: 10.80.0.90", "overlaps with 10.80.0.50-10.80.0.99"),
            ("address: 10.80.0.20", "address: 10.81.0.20", "10.81.0.20 is not in 10.80.0.0/24"),
            ("address: 10.80.0.20", "address: 10.80.0.60", "10.80.0.60 is kept by reservations[0] already"),
            ("address: 10.80.0.20", "address: 10.80.0.1", "the server, the router or a relay"),
            ("00:02\"", "00:01\"", "has the address of reservations[0] already"),
            ("hostname: gate", "hostname: a gate", "'a gate' is not a valid host name"),
            ("mtu: 1450", "mtu: 100", "100 is not between 576 and 9216"),
            ("to: 10.90.0.0/16", "to: 10.80.0.0/16", "overlaps with the segment's own network"),
            ("router: 10.80.0.1", "mode: proxy", "another server gives the addresses"),
            ("router: 10.80.0.1", "mode: both", "expected server or proxy"),
            ("router: 10.80.0.1", "pool: 10.80.0.5-10.80.0.6", "give either 'pool' or 'pools', not both"),
        ])
    func whatDoesNotFitIsTold(old: String, new: String, message: String) throws {
        #expect(Self.relayed.contains(old))
        let text = Self.site(Self.relayed.replacing(old, with: new))
        let error = try #require(throws: SiteError.self) { try SiteFile(yaml: text) }
        #expect(error.publicMessage.contains(message))
    }
}
