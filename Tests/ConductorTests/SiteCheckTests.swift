import AgentProtocol
import BareMetal
import CatalogBareMetal
import FleetContract
import Foundation
import Glibc
import Primitives
import TestSupport
import Testing

@testable import ConductorServer

/// What goes wrong around a conductor, each provoked, and what the check says to do.
@Suite struct SiteCheckTests {
    private static let now = Timestamp(millisecondsSinceEpoch: 1_795_000_000_000)
    private static let loopback = IPv4Address(0x7F00_0001)
    private static let server = IPv4Address(0x0A4D_0001)

    private static func site(_ change: (inout SiteUnderCheck) -> Void = { _ in }) throws -> SiteUnderCheck {
        var site = SiteUnderCheck(
            site: Site.Spec(name: "lab", sshKeys: []),
            segments: [
                CheckedSegment(
                    name: "boot", interface: "br0", network: try IPv4Network("10.77.0.0/24"), server: server)
            ],
            bmcs: [], roles: [.network], ports: [CheckedPort(what: "DHCP", transport: .udp, number: 67)])
        site.site.ntpServers = ["10.77.0.1"]
        change(&site)
        return site
    }

    /// Surroundings in which all is well.
    static func around(_ change: (inout CheckSurroundings) -> Void = { _ in }) -> CheckSurroundings {
        var around = CheckSurroundings(
            clock: ManualWallClock(now),
            interfaces: {
                ["br0": InterfaceFacts(isUp: true, hasCarrier: true, mtu: 1500, addresses: [server: 24])]
            },
            foreignServers: { _, _ in [] }, holder: { _ in .ourselves },
            ask: { _, _, question in
                guard let answer = SNTPStub.answer(question, ahead: 0) else { throw QuestionError.noAnswer }
                return answer
            }, addresses: { _ in [] },
            hardwareClock: { now }, identify: { _, _ in throw BMCError.cancelled }, reach: { _ in .answers },
            stateDirectory: "/state", freeSpace: { _ in .gibibytes(100) },
            images: { ImageFacts(hasRamdisk: true, roles: [.network], missing: []) },
            authority: (now.advanced(by: .seconds(-3600)), now.advanced(by: .seconds(3600 * 24 * 365))))
        change(&around)
        return around
    }

    private static func facts(
        up: Bool = true, carrier: Bool = true, mtu: Int = 1500, addresses: [IPv4Address: Int] = [server: 24]
    ) -> @Sendable () -> [String: InterfaceFacts] {
        { ["br0": InterfaceFacts(isUp: up, hasCarrier: carrier, mtu: mtu, addresses: addresses)] }
    }

    @Test func whatIsWellIsToldSo() async throws {
        let rows = await SiteChecker().findings(try Self.site(), Self.around())
        #expect(rows.filter { $0.outcome == .failed || $0.outcome == .warning } == [])
        #expect(
            Set(rows.map(\.check)) == [
                "interface", "MTU", "foreign DHCP", "port", "clock", "DNS", "BMC", "disk space", "images", "CA",
            ])
    }

    /// What is changed, the check that must fail by it, what it found, and a part of what it says to do.
    struct Failing: Sendable, CustomTestStringConvertible {
        var problem: SiteCheckReply.Problem
        var outcome = SiteCheckReply.Outcome.failed
        var check: String
        var found: String
        var change: String
        var site: @Sendable (inout SiteUnderCheck) -> Void = { _ in }
        var around: @Sendable (inout CheckSurroundings) -> Void = { _ in }
        var testDescription: String { found }
    }

    static let failing: [Failing] = [
        Failing(
            problem: .interfaceMissing, check: "interface", found: "there is no interface 'br7'",
            change: "there are br0",
            site: { $0.segments[0].interface = "br7" }),
        Failing(
            problem: .interfaceDown, check: "interface", found: "br0 is down", change: "ip link set br0 up",
            around: { $0.interfaces = facts(up: false) }),
        Failing(
            problem: .interfaceWithoutCarrier, check: "interface", found: "br0 has no carrier", change: "cable",
            around: { $0.interfaces = facts(carrier: false) }),
        Failing(
            problem: .serverAddressMissing, check: "interface", found: "br0 does not have 10.77.0.1 but no address",
            change: "ip address add 10.77.0.1/24 dev br0", around: { $0.interfaces = facts(addresses: [:]) }),
        Failing(
            problem: .prefixLengthDiffers, check: "interface",
            found: "br0 has 10.77.0.1/16, the segment is 10.77.0.0/24", change: "prefix length",
            around: { $0.interfaces = facts(addresses: [server: 16]) }),
        Failing(
            problem: .mtuTooSmall, check: "MTU", found: "br0 has 1400, 1500 are needed for machines that boot",
            change: "ip link set br0 mtu 1500",
            around: { $0.interfaces = facts(mtu: 1400) }),
        Failing(
            problem: .mtuTooSmall, check: "MTU",
            found: "br0 has 1500, 1550 are needed for the overlay with its headers",
            change: "ip link set br0 mtu 1550, and the same on the switch's port; or a smaller mtu in the site file",
            site: { $0.site.overlay = .init(vni: 1, mtu: 1500) }),
        Failing(
            problem: .otherDHCPServer, check: "foreign DHCP",
            found: "another server gives addresses: 10.77.0.9 (offers 10.77.0.60)",
            change: "set 'mode: proxy' on the segment",
            around: {
                $0.foreignServers = { _, _ in
                    [ForeignServer(text: "10.77.0.9 (offers 10.77.0.60)", givesAddresses: true)]
                }
            }),
        Failing(
            problem: .segmentNotAsked, check: "foreign DHCP",
            found: "nobody could be asked on br0: nothing came back in time", change: "root",
            around: { $0.foreignServers = { _, _ in throw QuestionError.noAnswer } }),
        Failing(
            problem: .relayDoesNotAnswer, check: "relay", found: "10.88.0.1 does not answer a ping", change: "giaddr",
            site: { $0.segments[0].relays = [IPv4Address(0x0A58_0001)] }, around: { $0.reach = { _ in .silent } }),
        Failing(
            problem: .relayWithoutRoute, check: "relay", found: "there is no route to 10.88.0.1", change: "add a route",
            site: { $0.segments[0].relays = [IPv4Address(0x0A58_0001)] }, around: { $0.reach = { _ in .noRoute } }),
        Failing(
            problem: .portHeld, check: "port", found: "DHCP: dnsmasq (4711) has it", change: "ss -ulnp sport = :67",
            around: { $0.holder = { _ in .others("dnsmasq (4711)") } }),
        Failing(
            problem: .hostClockWrong, check: "clock", found: "the host's clock shows 2001-09-09T01:46:40Z",
            change: "timedatectl",
            around: { around in
                let time = Timestamp(millisecondsSinceEpoch: 1_000_000_000_000)
                around.clock = ManualWallClock(time)
                around.authority = (time, time.advanced(by: .seconds(3600 * 24 * 365)))
                around.hardwareClock = { time }
                around.ask = { _, _, question in
                    SNTPStub.answer(question, ahead: time.since(now).milliseconds) ?? []
                }
            }),
        Failing(
            problem: .timeServerUnknown, check: "clock", found: "the name has no IPv4 address", change: "mend DNS",
            site: { $0.site.ntpServers = ["ntp.example"] }),
        Failing(
            problem: .diskSpaceTooSmall, check: "disk space", found: "1 GiB free, at least 2 GiB are needed",
            change: "larger disk",
            around: { $0.freeSpace = { _ in .gibibytes(1) } }),
        Failing(
            problem: .ramdiskMissing, check: "images", found: "there is no kernel and ramdisk for machines to boot",
            change: "muster image push-ramdisk",
            around: { $0.images = { ImageFacts(hasRamdisk: false, roles: [.network], missing: []) } }),
        Failing(
            problem: .roleImageMissing, check: "images", found: "there is no image for the role",
            change: "--role compute",
            site: { $0.roles = [.compute] }),
        Failing(
            problem: .blobMissing, check: "images", found: "the manifest of image x is not in the store",
            change: "push it again",
            around: {
                $0.images = { ImageFacts(hasRamdisk: true, roles: [.network], missing: ["the manifest of image x"]) }
            }),
        Failing(
            problem: .authorityEnded, check: "CA", found: "it ended on 2026-11-18T10:06:40Z",
            change: "enrol the nodes anew",
            around: { $0.authority.notAfter = now.advanced(by: .seconds(-3600)) }),
        Failing(
            problem: .authorityNotYetValid, check: "CA",
            found: "it is not valid before 2026-11-18T12:26:40Z, and the clock shows 2026-11-18T11:06:40Z",
            change: "set the host's clock", around: { $0.authority.notBefore = now.advanced(by: .seconds(4800)) }),
        Failing(
            problem: .bmcLoginRefused, check: "BMC",
            found: "The BMC refuses the user or the password. Correct them in the BMC's entry of the site "
                + "file and apply it.", change: "correct 'username' or the password of 'b1'",
            site: { $0.bmcs = [bmc("b1")] }, around: { $0.identify = { _, _ in throw BMCError.badCredentials } }),
        Failing(
            problem: .bmcPasswordUnknown, check: "BMC", found: "there is no secret", change: "name its password",
            site: { site in
                site.bmcs = [bmc("b1")]
                site.bmcs[0].password = nil
                site.bmcs[0].passwordProblem = "there is no secret"
            }),
        Failing(
            problem: .otherBootServer, outcome: .warning, check: "foreign DHCP",
            found: "another server tells machines what to boot: 10.77.0.9", change: "switch its network boot off",
            around: { $0.foreignServers = { _, _ in [ForeignServer(text: "10.77.0.9", givesAddresses: false)] } }),
        Failing(
            problem: .proxyWithoutServer, check: "foreign DHCP",
            found: "the segment is in proxy mode, and no DHCP server answers", change: "take 'mode: proxy' away",
            site: { $0.segments[0].isProxy = true }),
        Failing(
            problem: .hardwareClockOff, outcome: .warning, check: "clock",
            found: "it shows 2026-11-18T13:06:40Z, the host's clock 2026-11-18T11:06:40Z", change: "hwclock --systohc",
            around: { $0.hardwareClock = { now.advanced(by: .seconds(7200)) } }),
        Failing(
            problem: .timeServerNotNamed, outcome: .warning, check: "clock",
            found: "none is named, so nobody vouches for the conductor's time", change: "'ntp'",
            site: { $0.site.ntpServers = nil }),
        Failing(
            problem: .clockOff, check: "clock", found: "the host's clock is 90000 ms behind", change: "set-ntp true",
            around: { $0.ask = { _, _, question in SNTPStub.answer(question, ahead: 90_000) ?? [] } }),
        Failing(
            problem: .timeServerDoesNotAnswer, check: "clock", found: "no time from it: there is no route to it",
            change: "UDP port 123", around: { $0.ask = { _, _, _ in throw QuestionError.noRoute } }),
        Failing(
            problem: .timeServerDoesNotAnswer, outcome: .warning, check: "clock",
            found: "no time from it: nothing came back in time", change: "UDP port 123",
            site: { $0.nodeTimeServers = ["10.90.0.1"] },
            around: { around in
                around.ask = { host, _, question in
                    guard host == server else { throw QuestionError.noAnswer }
                    return SNTPStub.answer(question, ahead: 0) ?? []
                }
            }),
        Failing(
            problem: .nameServerRefuses, check: "DNS",
            found: "it answers for lab.example with REFUSED: it does not serve this network",
            change: "name another in 'dns'", site: { $0.segments[0].take(dnsServer: loopback, domain: "lab.example") },
            around: { around in
                around.ask = { _, _, question in
                    SNTPStub.answer(question, ahead: 0) ?? question.replacing(2, 0x81).replacing(3, 5)
                }
            }),
        Failing(
            problem: .nameServerDoesNotAnswer, check: "DNS",
            found: "no answer for lab.example: nothing came back in time", change: "UDP port 53",
            site: { $0.segments[0].take(dnsServer: loopback, domain: "lab.example") }),
        Failing(
            problem: .bmcUnreachable, check: "BMC", found: BMCError.unreachable(cause: "no route").publicMessage,
            change: "check 'address' of 'b1'", site: { $0.bmcs = [bmc("b1")] },
            around: { $0.identify = { _, _ in throw BMCError.unreachable(cause: "no route") } }),
        Failing(
            problem: .bmcCertificateUntrusted, check: "BMC", found: BMCError.tlsUntrusted(found: nil).publicMessage,
            change: "certificateDigest", site: { $0.bmcs = [bmc("b1")] },
            around: { $0.identify = { _, _ in throw BMCError.tlsUntrusted(found: nil) } }),
        Failing(
            problem: .bmcTooSlow, check: "BMC", found: "it did not answer in time", change: "cable",
            site: { $0.bmcs = [bmc("b1")] }),
        Failing(
            problem: .bmcFails, check: "BMC", found: BMCError.protocolViolation("no system").publicMessage,
            change: "correct the entry of 'b1'", site: { $0.bmcs = [bmc("b1")] },
            around: { $0.identify = { _, _ in throw BMCError.protocolViolation("no system") } }),
        Failing(
            problem: .diskSpaceUnknown, check: "disk space", found: "what is free there cannot be told",
            change: "look at the disk", around: { $0.freeSpace = { _ in nil } }),
        Failing(
            problem: .diskSpaceScarce, outcome: .warning, check: "disk space", found: "5 GiB free",
            change: "free some space", around: { $0.freeSpace = { _ in .gibibytes(5) } }),
        Failing(
            problem: .bootProgramMissing, check: "images", found: "local.efi cannot be read", change: "build.sh",
            around: { around in
                let program = MissingProgram(
                    name: "local.efi", consequence: "local.efi cannot be read", change: "run Images/boot/build.sh")
                around.images = {
                    ImageFacts(hasRamdisk: true, roles: [.network], missing: [], missingPrograms: [program])
                }
            }),
        Failing(
            problem: .authorityEndsSoon, outcome: .warning, check: "CA", found: "it ends on 2026-11-19T11:06:40Z",
            change: "plan for a new one", around: { $0.authority.notAfter = now.advanced(by: .seconds(86_400)) }),
    ]

    private static func bmc(_ name: String) -> CheckedBMC {
        CheckedBMC(
            name: name,
            spec: BMC.Spec(address: "https://10.77.0.2", system: nil, username: "admin", passwordSecret: "x"),
            password: SecretText("secret"))
    }

    @Test(arguments: failing) func eachFailureSaysWhatToChange(_ failing: Failing) async throws {
        let rows = await SiteChecker().findings(try Self.site(failing.site), Self.around(failing.around))
        let failed = rows.filter { $0.outcome == .failed || $0.outcome == .warning || $0.problem != nil }
        #expect(failed.map(\.found) == [failing.found])
        #expect(failed.map(\.check) == [failing.check])
        #expect(failed.map(\.outcome) == [failing.outcome])
        #expect(failed.map(\.problem) == [failing.problem.rawValue])
        #expect(failed.first?.change?.contains(failing.change) == true, "\(failed.first?.change ?? "nothing")")
    }

    /// Those of the enumeration that another test provokes, by its name.
    private static let elsewhere: [SiteCheckReply.Problem: String] = [
        .siteNotApplied: "siteChecksCompareWithWhatWasApplied",
        .bmcNotAsked: "manyBMCsAreAskedAFewAtATimeAndBoundedInTime",
    ]

    @Test func everyFailureThereIsIsProvokedByATest() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
        let texts = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".swift") }
            .map { try String(contentsOfFile: folder.appending(path: $0).path, encoding: .utf8) }
        for problem in SiteCheckReply.Problem.allCases {
            if let name = Self.elsewhere[problem] {
                let isThere = texts.contains { $0.contains("func \(name)(") && $0.contains(".\(problem.rawValue)") }
                #expect(isThere, "\(problem): there is no test '\(name)' that names it")
            } else {
                #expect(Self.failing.contains { $0.problem == problem }, "nothing provokes \(problem)")
            }
        }
    }

    @Test func aClockThatIsWrongIsMeasuredByAnExchange() async throws {
        for (ahead, outcome) in [(0, SiteCheckReply.Outcome.ok), (90_000, .failed), (-5000, .failed)] {
            try await UDPStub.with {
                SNTPStub.answer($0, ahead: Int64(ahead))
            } _: { stub in
                let site = try Self.site { $0.site.ntpServers = ["127.0.0.1"] }
                let around = Self.around { around in
                    around.ask = { host, _, question in try await UDPQuestion.ask(host, stub.port, question) }
                }
                let rows = await SiteChecker(checks: [ClockCheck()]).findings(site, around)
                #expect(rows.last?.outcome == outcome, "\(rows)")
                if ahead == 90_000 { #expect(rows.last?.found == "the host's clock is 90000 ms behind") }
                if ahead == -5000 { #expect(rows.last?.found == "the host's clock is 5000 ms ahead") }
            }
        }
    }

    @Test func timeServersThatAreOfNoUseAreTold() async throws {
        let bad: [(@Sendable ([UInt8]) -> [UInt8]?, String)] = [
            ({ $0 }, "what came back is not a time server's answer"),
            ({ question in SNTPStub.answer(question, ahead: 0).map { $0.replacing(1, 16) } }, "is not set yet"),
            ({ question in SNTPStub.answer(question, ahead: 0).map { $0.replacing(1, 0) } }, "refuses"),
            ({ question in SNTPStub.answer(question, ahead: 0).map { $0.replacing(25, 9) } }, "another question"),
        ]
        for (reply, words) in bad {
            try await UDPStub.with(reply) { stub in
                let around = Self.around { around in
                    around.ask = { host, _, question in try await UDPQuestion.ask(host, stub.port, question) }
                }
                let site = try Self.site { $0.site.ntpServers = ["127.0.0.1"] }
                let row = await SiteChecker(checks: [ClockCheck()]).findings(site, around).last
                #expect(row?.outcome == .failed)
                #expect(row?.found.contains(words) == true, "\(row?.found ?? "")")
            }
        }
        #expect(SNTP.decoded(SNTP.encoded(Self.now)[...]).since(Self.now).milliseconds.magnitude <= 1)
    }

    @Test(arguments: [(UInt8(0), true), (3, true), (2, false), (5, false)])
    func nameServersHaveToAnswer(_ code: UInt8, _ isGood: Bool) async throws {
        try await UDPStub.with { question in
            question.replacing(2, 0x81).replacing(3, code)
        } _: { stub in
            let around = Self.around { around in
                around.ask = { host, _, question in try await UDPQuestion.ask(host, stub.port, question) }
            }
            let site = try Self.site { site in
                site.segments[0].dnsServers = [Self.loopback]
                site.segments[0].domain = "lab.example"
            }
            let row = try #require(await SiteChecker(checks: [DNSCheck()]).findings(site, around).first)
            #expect((row.outcome == .ok) == isGood, "\(row)")
            #expect(row.found.contains("lab.example"))
        }
    }

    @Test func whereNobodyListensIsTold() async throws {
        var port: UInt16 = 0
        try await UDPStub.with({ _ in nil }) { port = $0.port }
        let closed = port
        let around = Self.around { around in
            around.ask = { host, _, question in
                try await UDPQuestion.ask(host, closed, question, patience: .milliseconds(500))
            }
        }
        let site = try Self.site { $0.segments[0].dnsServers = [Self.loopback] }
        let row = await SiteChecker(checks: [DNSCheck()]).findings(site, around).first
        #expect(row?.outcome == .failed)
        #expect(row?.found == "no answer for the root zone: nobody listens there")
        await #expect(throws: QuestionError.noAnswer) {
            try await UDPStub.with({ _ in nil }) { stub in
                _ = try await UDPQuestion.ask(Self.loopback, stub.port, [1], patience: .milliseconds(20))
            }
        }
    }

    @Test func manyBMCsAreAskedAFewAtATimeAndBoundedInTime() async throws {
        let around = Self.around { around in
            around.identify = { spec, _ in
                if spec.username == "slow" { try await Task.sleep(for: .seconds(3600)) }
                return BMCIdentification(system: "1", serial: "S", manufacturer: "Acme", model: "R1")
            }
        }
        let many = try Self.site { $0.bmcs = (0..<100).map { Self.bmc("b\($0)") } }
        let rows = await SiteChecker(checks: [BMCCheck()]).findings(many, around)
        #expect(rows.map(\.found) == ["100 of 100 answer and take their passwords"])
        let slow = try Self.site { site in
            site.bmcs = [Self.bmc("a"), Self.bmc("b")]
            site.bmcs[1].spec.username = "slow"
        }
        let told = await SiteChecker(checks: [BMCCheck()], deadline: .milliseconds(50)).findings(slow, around)
        #expect(told.map(\.outcome) == [.ok, .failed])
        #expect(told.map(\.found) == ["it answers: Acme R1, serial S", "it did not answer in time"])
        let stuck = try Self.site { site in
            site.bmcs = (0..<20).map { Self.bmc("b\($0)") }
            for index in site.bmcs.indices { site.bmcs[index].spec.username = "slow" }
        }
        let left = await SiteChecker(checks: [BMCCheck()], deadline: .milliseconds(50)).findings(stuck, around)
        #expect(left.map(\.problem).dropLast().allSatisfy { $0 == SiteCheckReply.Problem.bmcTooSlow.rawValue })
        #expect(left.last?.problem == SiteCheckReply.Problem.bmcNotAsked.rawValue)
        #expect(left.last?.found == "4 could not be asked in time")
    }

    // MARK: This host

    @Test func thisHostIsRead() async throws {
        let lo = try #require(HostFacts.interfaces()["lo"])
        #expect(lo.isUp)
        #expect(lo.mtu > 0)
        #expect(lo.addresses[Self.loopback] == 8)
        #expect(try #require(HostFacts.freeSpace("/")) > ByteCount(bytes: 0))
        #expect(HostFacts.freeSpace("/there/is/no/such/folder") == nil)
        #expect(await HostFacts.addresses(of: "127.0.0.1") == [Self.loopback])
        #expect(await Ping.reach(Self.loopback) == .answers)
    }

    @Test func portsAreOursOrOthers() async throws {
        try await UDPStub.with({ _ in nil }) { stub in
            let port = CheckedPort(what: "x", transport: .udp, number: Int(stub.port))
            #expect(HostFacts.holder(of: port) == .ourselves)
            let table = """
                  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
                   7: 00000000:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0 0
                """
            let dhcp = CheckedPort(what: "DHCP", transport: .udp, number: 67)
            #expect(SocketTable.owner(of: dhcp, in: [table], own: [4711]) == .ourselves)
            #expect(SocketTable.owner(of: dhcp, in: [table], own: []) == .others(inode: 4711))
            #expect(SocketTable.owner(of: port, in: [table], own: []) == .nobody)
        }
    }
}

extension CheckedSegment {
    fileprivate mutating func take(dnsServer: IPv4Address, domain: String) {
        dnsServers = [dnsServer]
        self.domain = domain
    }
}

/// Answers as a time server does.
enum SNTPStub {
    /// The answer to `question` of a server whose clock is `ahead` milliseconds before the test's.
    static func answer(_ question: [UInt8], ahead: Int64) -> [UInt8]? {
        guard question.count == 48 else { return nil }
        var answer = [UInt8](repeating: 0, count: 48)
        answer[0] = 4 << 3 | 4
        answer[1] = 2
        answer.replaceSubrange(24..<32, with: question[40..<48])
        let time = SNTP.encoded(Timestamp(millisecondsSinceEpoch: 1_795_000_000_000 + ahead))
        answer.replaceSubrange(32..<40, with: time)
        answer.replaceSubrange(40..<48, with: time)
        return answer
    }
}

extension [UInt8] {
    func replacing(_ index: Int, _ byte: UInt8) -> [UInt8] {
        var copy = self
        copy[index] = byte
        return copy
    }
}
