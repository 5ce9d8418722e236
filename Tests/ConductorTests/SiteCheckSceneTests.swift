import FleetContract
import Foundation
import Testing

/// `muster site check` against a conductor's host on which nearly all is wrong, each thing for real: cables, servers,
/// a BMC, a full disk.
@Suite(
    .enabled(if: geteuid() == 0, "the conductor needs root"),
    .enabled(if: ["dnsmasq", "ipmi_sim"].allSatisfy(isInstalled)))
struct SiteCheckSceneTests {
    /// What is provoked here.
    static let wrong: Set<SiteCheckReply.Problem> = [
        .siteNotApplied, .interfaceMissing, .interfaceDown, .interfaceWithoutCarrier, .serverAddressMissing,
        .prefixLengthDiffers, .mtuTooSmall, .otherDHCPServer, .proxyWithoutServer, .relayDoesNotAnswer,
        .relayWithoutRoute, .portHeld, .timeServerUnknown, .timeServerDoesNotAnswer, .nameServerRefuses,
        .nameServerDoesNotAnswer, .bmcLoginRefused, .bmcUnreachable, .bmcCertificateUntrusted, .bmcFails,
        .diskSpaceTooSmall, .ramdiskMissing, .blobMissing, .roleImageMissing, .bootProgramMissing,
    ]

    /// Segments by their trouble; each has a cable of its own whose other end is in the far namespace.
    private static let site = """
        site:
          name: wrong
          sshKeyFilesEnv: MUSTER_SSH_KEY_FILE
          ntp: [ntp.invalid, 127.0.0.1]
        segments:
          - { name: missing, interface: br7, network: 10.70.0.0/24, server: 10.70.0.1, pool: { start: 10.70.0.50, end: 10.70.0.59 } }
          - { name: down, interface: down0, network: 10.71.0.0/24, server: 10.71.0.1, pool: { start: 10.71.0.50, end: 10.71.0.59 } }
          - { name: cable, interface: cable0, network: 10.72.0.0/24, server: 10.72.0.1, pool: { start: 10.72.0.50, end: 10.72.0.59 } }
          - { name: address, interface: address0, network: 10.73.0.0/24, server: 10.73.0.1, pool: { start: 10.73.0.50, end: 10.73.0.59 } }
          - { name: prefix, interface: prefix0, network: 10.74.0.0/24, server: 10.74.0.1, pool: { start: 10.74.0.50, end: 10.74.0.59 } }
          - { name: small, interface: small0, network: 10.75.0.0/24, server: 10.75.0.1, pool: { start: 10.75.0.50, end: 10.75.0.59 }, dns: [10.75.0.2, 10.75.0.3] }
          - { name: taken, interface: taken0, network: 10.76.0.0/24, server: 10.76.0.1, pool: { start: 10.76.0.50, end: 10.76.0.59 } }
          - { name: office, interface: office0, mode: proxy, network: 10.77.0.0/24, server: 10.77.0.1 }
          - { name: far, relays: [10.99.0.1, 10.75.0.4], network: 10.78.0.0/24, server: 10.75.0.1, pool: { start: 10.78.0.50, end: 10.78.0.59 } }
        bmcs:
          - { name: login, address: "ipmi://127.0.0.1:6230", username: admin, passwordEnv: MUSTER_BMC_PASSWORD }
          - { name: nobody, address: "http://127.0.0.1:1", username: admin, passwordEnv: MUSTER_BMC_PASSWORD }
          - { name: stranger, address: "https://127.0.0.1:9443", username: admin, passwordEnv: MUSTER_BMC_PASSWORD }
          - { name: no-bmc, address: "http://127.0.0.1:8080", username: admin, passwordEnv: MUSTER_BMC_PASSWORD }
        rules:
          - { name: all, match: { system.vendor: Acme }, gives: { role: compute } }

        """

    private func lay(_ scene: ConductorScene) async throws {
        try await scene.host("ip netns add \(scene.far)")
        let cables: [(name: String, here: String, there: String)] = [
            ("down0", "10.71.0.1/24", ""), ("cable0", "10.72.0.1/24", ""), ("address0", "10.73.0.9/24", ""),
            ("prefix0", "10.74.0.1/16", ""), ("small0", "10.75.0.1/24", "10.75.0.2/24"),
            ("taken0", "10.76.0.1/24", "10.76.0.2/24"), ("office0", "10.77.0.1/24", ""),
        ]
        for cable in cables {
            try await scene.ip("link add \(cable.name) type veth peer name \(cable.name) netns \(scene.far)")
            try await scene.ip("address add \(cable.here) dev \(cable.name)")
            if cable.name != "down0" { try await scene.ip("link set \(cable.name) up") }
            if !cable.there.isEmpty {
                try await scene.host("ip -n \(scene.far) address add \(cable.there) dev \(cable.name)")
            }
            if cable.name != "cable0" { try await scene.host("ip -n \(scene.far) link set \(cable.name) up") }
        }
        try await scene.ip("link set small0 mtu 1400")
        // A relay that answers ARP and no ping.
        try await scene.host("ip -n \(scene.far) address add 10.75.0.4/24 dev small0")
        try await scene.host("ip netns exec \(scene.far) sysctl -q -w net.ipv4.icmp_echo_ignore_all=1")
    }

    private func startOthers(_ scene: ConductorScene) throws {
        let plain = "dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= --bind-interfaces"
        // It gives addresses on one cable, and refuses to look up names on both.
        scene.run(
            "\(plain) --interface=taken0 --interface=small0 --dhcp-range=10.76.0.50,10.76.0.60 --leasefile-ro --no-ping "
                + "--no-resolv --no-hosts", in: scene.far)
        // It has the port of TFTP here.
        scene.run(
            "\(plain) --port=0 --listen-address=127.0.0.1 --enable-tftp --tftp-root=/nonexistent --tftp-no-fail")
        try scene.write(
            "lan.conf",
            """
            name "machine"
            set_working_mc 0x20
              startlan 1
                addr 127.0.0.1 6230
                priv_limit admin
                allowed_auths_admin none md5
                guid c4912a3fd807e14b9c35d1e6f0a7b842
              endlan
              startnow false
              user 2 true "admin" "another" admin 10 none md5

            """)
        try scene.write(
            "emu",
            """
            mc_setbmc 0x20
            mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
            mc_enable 0x20

            """)
        scene.run(
            "ipmi_sim -c \(scene.path("lan.conf")) -f \(scene.path("emu")) -n -s \(scene.path("bmc-state"))")
    }

    @Test(.timeLimit(.minutes(4))) func whatIsWrongOnAHostIsFound() async throws {
        try await ConductorScene.with("check") { scene in
            try await scene.mountState(mebibytes: 256)
            try await lay(scene)
            try startOthers(scene)
            try scene.write("site.yaml", Self.site)
            try await scene.start("muster-conductor --state-dir \(scene.state) --local-loader /nonexistent/local.efi")
            // An image whose chunks are lost afterwards.
            try scene.write("image.raw", String(repeating: "an image of a node\n", count: 100_000))
            let pushed = try await scene.type("muster image push lost --role network --file \(scene.path("image.raw"))")
            #expect(pushed.status == 0, "\(pushed.output)")
            try await scene.host("find \(scene.state)/blobs -type f -delete")

            let answer = try await scene.type("muster site check \(scene.path("site.yaml")) --json 2>/dev/null")
            #expect(answer.status == 1)
            let reply = try JSONDecoder().decode(SiteCheckReply.self, from: Data(answer.output.utf8))
            let found = Set(reply.rows.compactMap { $0.problem.flatMap(SiteCheckReply.Problem.init(rawValue:)) })
            for problem in Self.wrong.subtracting(found) {
                Issue.record("\(problem) is not found in: \(reply.rows.map { "\($0)" }.joined(separator: "\n"))")
            }
            // Each is told of what it is about, with what to do.
            func row(_ problem: SiteCheckReply.Problem, _ subject: String) -> SiteCheckReply.Row? {
                reply.rows.first { $0.problem == problem.rawValue && $0.subject == subject }
            }
            #expect(row(.portHeld, "69/udp")?.found.contains(/TFTP: dnsmasq \([0-9]+\) has it/) == true)
            #expect(row(.otherDHCPServer, "taken")?.change?.contains("set 'mode: proxy' on the segment") == true)
            #expect(row(.otherDHCPServer, "taken")?.found.contains("10.76.0.2") == true)
            #expect(row(.bmcLoginRefused, "login")?.change?.contains("the password of 'login'") == true)
            #expect(row(.mtuTooSmall, "small")?.change?.contains("ip link set small0 mtu 1500") == true)
            #expect(row(.bootProgramMissing, "local.efi")?.change?.contains("Images/boot/build.sh") == true)
            #expect(row(.relayWithoutRoute, "far")?.found.contains("10.99.0.1") == true)
            #expect(row(.relayDoesNotAnswer, "far")?.found.contains("10.75.0.4") == true)
            for row in reply.rows where row.problem != nil { #expect(row.change?.isEmpty == false, "\(row)") }
            // To people the same is told in words.
            let words = try await scene.type("muster site check \(scene.path("site.yaml"))")
            #expect(words.status == 1)
            #expect(words.output.contains("what to change") && words.output.contains("checks failed"))
        }
    }
}

/// Whether the host has a program where Debian puts it.
private func isInstalled(_ program: String) -> Bool {
    ["/usr/sbin", "/usr/bin"].contains { access("\($0)/\(program)", X_OK) == 0 }
}
