import NetworkBoot
import Primitives
import Testing

@Suite("Boot scripts")
struct BootScriptTests {
    private static let host = IPv4Address(bytes: [10, 77, 0, 1])
    private static let mac = MACAddress(bytes: [0x52, 0x54, 0x00, 0x77, 0x00, 0x01])

    private static func url(_ path: String) throws -> BootURL { try BootURL(host: host, port: 8080, path: path) }

    private static func discovery(extra: [KernelParameter] = []) throws -> DiscoveryBoot {
        try DiscoveryBoot(
            kernel: url("/boot/discovery/vmlinuz"), initrd: url("/boot/discovery/initrd.zst"),
            retry: BootURL(
                host: host, port: 8080, path: "/boot/ipxe", query: [.init("mac", mac.description)]),
            conductor: .init(
                address: host, httpPort: 8080, tlsPort: 8443,
                caFingerprint: Digest(bytes: Array(repeating: 0xAB, count: 32)),
                time: Timestamp(millisecondsSinceEpoch: 1_795_000_000_999)),
            bootInterface: mac, extra: extra)
    }

    @Test("discovery: the whole script")
    func discoveryScript() throws {
        let script = BootScript.discovery(try Self.discovery())
        let digest = String(repeating: "ab", count: 32)
        let expected = """
            #!ipxe
            echo Muster: loading the discovery system
            imgfree
            kernel --name vmlinuz http://10.77.0.1:8080/boot/discovery/vmlinuz initrd=initrd.zst \
            muster.server=10.77.0.1 muster.http=8080 muster.port=8443 muster.ca=\(digest) muster.time=1795000000 \
            BOOTIF=01-52-54-00-77-00-01 console=tty0 console=ttyS0,115200 || goto again
            initrd --name initrd.zst http://10.77.0.1:8080/boot/discovery/initrd.zst || goto again
            boot || goto again
            :again
            sleep 5
            chain --replace http://10.77.0.1:8080/boot/ipxe?mac=52:54:00:77:00:01 || goto again

            """
        #expect(script.text == expected)
    }

    @Test("local disk: BIOS leaves, UEFI chain-loads")
    func localDisk() throws {
        let script = BootScript.localDisk(chainLoader: try Self.url("/boot/local.efi"))
        #expect(
            script.text == """
                #!ipxe
                echo Muster: booting from the local disk
                iseq ${platform} efi && goto efi || exit
                :efi
                chain http://10.77.0.1:8080/boot/local.efi || exit 1

                """)
        #expect(BootScript.localDisk(chainLoader: nil).text.hasSuffix(":efi\nexit 1\n"))
    }

    @Test("wait: asks again, within limits", arguments: [(30, 30), (0, 1), (1_000_000, 3600)])
    func wait(asked: Int, seconds: Int) throws {
        let script = BootScript.wait(seconds: asked, retry: try Self.url("/boot/ipxe"))
        #expect(script.text.contains(":again\nsleep \(seconds)\nchain --replace http://10.77.0.1:8080/boot/ipxe || "))
    }

    @Test(
        "nothing that means something to a script is accepted as a value",
        arguments: [
            "a b", "a\nb", "a\r", "a\tb", "\"a", "'a", "a&&b", "a||b", "a;b", "${net0/mac}", "$a", "a`b", "a\\b",
            "a#b", "a(b", "a>b", "é", "a\u{0}", "a\u{2028}b", "&", "|",
        ])
    func refusedValues(value: String) {
        #expect(throws: InvalidValue.self) { try KernelParameter("muster.name", value) }
        #expect(throws: InvalidValue.self) { try KernelParameter(value, "x") }
        #expect(throws: InvalidValue.self) { try BootURL(host: Self.host, port: 80, path: "/" + value) }
        #expect(throws: InvalidValue.self) {
            try BootURL(host: Self.host, port: 80, path: "/", query: [.init("name", value)])
        }
    }

    @Test(
        "what consoles and addresses need is accepted",
        arguments: ["ttyS0,115200", "http://[fd77::1]/a%20b", "a=b+c@d~"])
    func acceptedValues(value: String) throws {
        #expect(try KernelParameter("console", value).description == "console=\(value)")
        #expect(try KernelParameter("quiet").description == "quiet")
    }

    @Test("limits of names, values, lines, ports and paths")
    func limits() throws {
        #expect(throws: InvalidValue.self) { try KernelParameter("") }
        #expect(throws: InvalidValue.self) { try KernelParameter(String(repeating: "a", count: 65)) }
        #expect(throws: InvalidValue.self) { try KernelParameter("a", String(repeating: "a", count: 256)) }
        #expect(throws: InvalidValue.self) { try BootURL(host: Self.host, port: 0, path: "/") }
        #expect(throws: InvalidValue.self) { try BootURL(host: Self.host, port: 65536, path: "/") }
        #expect(throws: InvalidValue.self) { try BootURL(host: Self.host, port: 80, path: "boot") }
        #expect(throws: InvalidValue.self) { try BootURL(host: Self.host, port: 80, path: "/boot/../etc") }
        let long = String(repeating: "a", count: 250)
        let many = try (0..<6).map { try KernelParameter("x\($0)", long) }
        #expect(throws: InvalidValue.self) { try Self.discovery(extra: many) }
    }

    @Test(
        "an extra parameter cannot take the place of the conductor's",
        arguments: ["muster.server", "muster.x", "initrd", "BOOTIF"])
    func reserved(name: String) throws {
        let parameter = try KernelParameter(name, "1")
        #expect(throws: InvalidValue.self) { try Self.discovery(extra: [parameter]) }
    }

    @Test("an error names the value and what is accepted, on one line")
    func message() {
        do {
            _ = try KernelParameter("muster.name", "n1\nboot")
            Issue.record("accepted")
        } catch {
            #expect(error.publicMessage.contains("n1\\u{a}boot"))
            #expect(!error.publicMessage.contains("\n"))
            #expect(error.publicMessage.contains("expected at most 255"))
        }
    }
}

@Suite("Boot file choice")
struct BootFileChoiceTests {
    @Test("iPXE gets the script on any firmware, others nothing", arguments: [nil, 0, 7, 9, 11, 16, 4711] as [UInt16?])
    func choice(number: UInt16?) throws {
        let script = try BootURL(host: IPv4Address(1), port: 80, path: "/boot/ipxe")
        let architecture = number.map(BootArchitecture.init)
        func choose(_ classes: [[UInt8]], _ vendor: String? = nil) -> BootFileChoice {
            .choose(architecture: architecture, userClasses: classes, vendorClass: vendor, script: script)
        }
        #expect(choose([Array("iPXE".utf8)]) == .script(script))
        #expect(choose([Array("x".utf8), Array("iPXE".utf8)]) == .script(script))
        #expect(choose([]) == .none)
        #expect(choose([Array("ipxe".utf8)]) == .none)
        #expect(choose([Array("iPXE".utf8)], "PXEClient:Arch:00007:UNDI:003010") == .script(script))
        let programs: [UInt16: BootFileChoice] = [
            0: .program("undionly.kpxe"), 7: .program("snponly.efi"), 9: .program("snponly.efi"),
        ]
        #expect(choose([], "PXEClient:Arch:00000:UNDI:002001") == number.flatMap { programs[$0] } ?? .none)
        let url = try BootURL(host: IPv4Address(1), port: 80, path: "/boot/programs/snponly.efi")
        #expect(choose([], "HTTPClient:Arch:00016:UNDI:003000") == (number == 16 ? .programURL(url) : .none))
    }

    @Test("firmware kinds by number")
    func architectures() {
        #expect([7, 9].map(BootArchitecture.init) == [.uefi64, .uefi64])
        #expect([6, 7, 9, 11, 16, 19].map { BootArchitecture($0).isUEFI }.allSatisfy { $0 })
        #expect(!BootArchitecture(0).isUEFI && !BootArchitecture(99).isUEFI)
    }
}
