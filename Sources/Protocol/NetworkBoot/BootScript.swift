import Primitives

/// What a machine's iPXE is told to do.
public enum BootScript: Hashable, Sendable {
    /// Load the discovery ramdisk.
    case discovery(DiscoveryBoot)
    /// Boot from the machine's own disk.
    ///
    /// A BIOS goes on to its next boot device. UEFI firmware would end in its menu after `exit`, so it is given
    /// `chainLoader`, an EFI program that starts the disk's loader; without one it is told `exit 1`, which makes
    /// most firmware try its other boot options first.
    case localDisk(chainLoader: BootURL?)
    /// Ask again at `retry` after some seconds (1 to 3600).
    case wait(seconds: Int, retry: BootURL)

    /// The iPXE script (https://ipxe.org/scripting), lines ended by a line feed.
    public var text: String {
        let lines: [String] =
            switch self {
            case .discovery(let boot): boot.lines
            case .localDisk(let chainLoader):
                [
                    "echo Muster: booting from the local disk",
                    "iseq ${platform} efi && goto efi || exit",
                    ":efi",
                    chainLoader.map { "chain \($0) || exit 1" } ?? "exit 1",
                ]
            case .wait(let seconds, let retry):
                ["echo Muster: nothing to do for this machine yet"] + Self.again(seconds: seconds, retry)
            }
        return (["#!ipxe"] + lines).map { $0 + "\n" }.joined()
    }

    /// Sleeps and asks again, for ever.
    static func again(seconds: Int, _ url: BootURL) -> [String] {
        [":again", "sleep \(min(max(seconds, 1), 3600))", "chain --replace \(url) || goto again"]
    }
}

/// The discovery ramdisk and what it needs to find its conductor.
public struct DiscoveryBoot: Hashable, Sendable {
    /// Where the kernel is.
    public let kernel: BootURL
    /// Where the ramdisk is.
    public let initrd: BootURL
    /// Where the script is asked for again when loading failed.
    public let retry: BootURL
    /// The whole command line, in order.
    public let parameters: [KernelParameter]

    /// How the discovery agent reaches and knows its conductor.
    public struct Conductor: Hashable, Sendable {
        /// Its address on the provisioning network.
        public let address: IPv4Address
        /// Its plain-HTTP port (boot files and public chunks).
        public let httpPort: Int
        /// Its TLS port.
        public let tlsPort: Int
        /// SHA-256 of the DER form of the CA certificate.
        public let caFingerprint: Digest
        /// The time now, so that a wrong clock does not make the certificate invalid.
        public let time: Timestamp

        /// A conductor.
        public init(address: IPv4Address, httpPort: Int, tlsPort: Int, caFingerprint: Digest, time: Timestamp) {
            self.address = address
            self.httpPort = httpPort
            self.tlsPort = tlsPort
            self.caFingerprint = caFingerprint
            self.time = time
        }
    }

    /// The most bytes of a command line (the kernel's limit on x86 is 2047).
    public static let commandLineSizeMax = 1500

    /// Throws `InvalidValue` when the command line is too long or `extra` names a parameter that is set here.
    ///
    /// The contract with the discovery agent, on the kernel's command line:
    /// `muster.server=IP muster.http=PORT muster.port=TLSPORT muster.ca=SHA256HEX muster.time=UNIXSECONDS
    /// BOOTIF=01-aa-bb-cc-dd-ee-ff`, then `console=tty0 console=ttyS0,115200`: the last console is `/dev/console`.
    public init(
        kernel: BootURL, initrd: BootURL, retry: BootURL, conductor: Conductor, bootInterface: MACAddress,
        extra: [KernelParameter] = []
    ) throws(InvalidValue) {
        let hardware = "01" + bootInterface.bytes.map { "-" + Hex.encode([$0]) }.joined()
        let fixed: [KernelParameter] = [
            .trusted("initrd", Self.initrdName),
            .trusted("muster.server", conductor.address),
            .trusted("muster.http", conductor.httpPort),
            .trusted("muster.port", conductor.tlsPort),
            .trusted("muster.ca", conductor.caFingerprint),
            .trusted("muster.time", conductor.time.millisecondsSinceEpoch / 1000),
            .trusted("BOOTIF", hardware),
        ]
        let taken = Set(fixed.map(\.name))
        if let clash = extra.first(where: { taken.contains($0.name) || $0.name.hasPrefix("muster.") }) {
            throw InvalidValue("extra kernel parameter", clash.name, expected: "a name that the conductor does not set")
        }
        parameters = fixed + extra + [.trusted("console", "tty0"), .trusted("console", "ttyS0,115200")]
        self.kernel = kernel
        self.initrd = initrd
        self.retry = retry
        guard commandLine.utf8.count <= Self.commandLineSizeMax else {
            throw InvalidValue(
                "kernel command line", commandLine, expected: "at most \(Self.commandLineSizeMax) bytes")
        }
    }

    /// The parameters as one line.
    public var commandLine: String { parameters.map(\.description).joined(separator: " ") }

    /// UEFI kernels load the ramdisk by this name.
    private static let initrdName = "initrd.zst"

    var lines: [String] {
        [
            "echo Muster: loading the discovery system",
            "imgfree",
            "kernel --name vmlinuz \(kernel) \(commandLine) || goto again",
            "initrd --name \(Self.initrdName) \(initrd) || goto again",
            "boot || goto again",
        ] + BootScript.again(seconds: 5, retry)
    }
}
