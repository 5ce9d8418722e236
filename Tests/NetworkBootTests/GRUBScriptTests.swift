import NetworkBoot
import Primitives
import Testing

@Suite("GRUB's configuration under Secure Boot")
struct GRUBScriptTests {
    private static let host = IPv4Address(bytes: [10, 77, 0, 1])
    private static let mac = MACAddress(bytes: [0x52, 0x54, 0x00, 0x77, 0x00, 0x01])

    @Test("discovery: what iPXE is told, over TFTP")
    func discovery() throws {
        func url(_ path: String) throws -> BootURL { try BootURL(host: Self.host, port: 8080, path: path) }
        let boot = try DiscoveryBoot(
            kernel: url("/boot/discovery/vmlinuz"), initrd: url("/boot/discovery/initrd.zst"), retry: url("/boot/ipxe"),
            conductor: .init(
                address: Self.host, httpPort: 8080, tlsPort: 8443,
                caFingerprint: Digest(bytes: Array(repeating: 0xAB, count: 32)),
                time: Timestamp(millisecondsSinceEpoch: 1_795_000_000_999)),
            bootInterface: Self.mac)
        let digest = String(repeating: "ab", count: 32)
        #expect(
            GRUBScript.text(.discovery(boot)) == """
                echo Muster: loading the discovery system
                linux /boot/discovery/vmlinuz muster.server=10.77.0.1 muster.http=8080 muster.port=8443 \
                muster.ca=\(digest) muster.time=1795000000 BOOTIF=01-52-54-00-77-00-01 console=tty0 \
                console=ttyS0,115200
                initrd /boot/discovery/initrd.zst
                boot

                """)
    }

    @Test("local disk: the loader on the node's ESP")
    func localDisk() {
        let text = GRUBScript.text(.localDisk(chainLoader: nil))
        #expect(text.contains("search --no-floppy --fs-uuid --set=disk 4D55-5354\n"))
        #expect(text.hasSuffix("chainloader ($disk)/EFI/BOOT/BOOTX64.EFI\nboot\n"))
    }

    @Test("wait: within limits", arguments: [(30, 30), (0, 1), (1_000_000, 3600)])
    func wait(seconds: Int, shown: Int) throws {
        let retry = try BootURL(host: Self.host, port: 80, path: "/boot/ipxe")
        #expect(GRUBScript.text(.wait(seconds: seconds, retry: retry)).hasSuffix("sleep \(shown)\n"))
    }

    @Test("a machine's file is known by its address and by nothing else")
    func names() {
        #expect(GRUBScript.machine(ofFile: "grub/m/52:54:00:77:00:01.cfg") == Self.mac)
        for name in [
            "grub/m/.cfg", "grub/m/52:54:00:77:00:01", "grub/m/52:54:00:77:00.cfg", "m/52:54:00:77:00:01.cfg",
            "grub/m/52:54:00:77:00:01;boot.cfg", "grub/m/$x.cfg", "grub/m/../../etc/passwd.cfg", "", "grub/m/cfg",
        ] { #expect(GRUBScript.machine(ofFile: name) == nil, "\(name)") }
    }

    @Test("segments with Secure Boot send UEFI's own PXE to shim, and nothing else is changed")
    func choice() throws {
        let script = try BootURL(host: Self.host, port: 80, path: "/boot/ipxe")
        func choose(_ number: UInt16, _ vendor: String, _ classes: [[UInt8]] = []) -> BootFileChoice {
            .choose(
                architecture: BootArchitecture(number), userClasses: classes, vendorClass: vendor, script: script,
                signed: true)
        }
        #expect(choose(7, "PXEClient:Arch:00007:UNDI:003000") == .program("shimx64.efi"))
        #expect(choose(0, "PXEClient:Arch:00000:UNDI:002001") == .program("undionly.kpxe"))
        #expect(choose(7, "PXEClient:Arch:00007:UNDI:003010", [Array("iPXE".utf8)]) == .script(script))
    }
}
