import Primitives

/// What the conductor fills into `boot.iso`: the commands by which GRUB boots the ramdisk that is on the medium.
///
/// `Images/discovery/media.sh` keeps a place of `size` bytes for it that begins with `marker`.
public struct BootMedium: Hashable, Sendable {
    /// The bytes of the place.
    public static let size = 4096
    /// The place's first line, without its line feed.
    public static let marker = "#muster-boot-medium-1 b2c9f0d6e35a47c1"

    /// The parameters of the kernel, in order.
    public let parameters: [KernelParameter]

    /// The ramdisk finds its conductor by the same parameters as when it is booted over the network; see `DiscoveryBoot`.
    /// There is no `BOOTIF`, so that it asks for an address on every card, and no time, so that every part of the medium
    /// is the same whenever it is read.
    public init(address: IPv4Address, httpPort: Int, tlsPort: Int, caFingerprint: Digest) {
        parameters = [
            .trusted("muster.server", address), .trusted("muster.http", httpPort), .trusted("muster.port", tlsPort),
            .trusted("muster.ca", caFingerprint), .trusted("console", "tty0"), .trusted("console", "ttyS0,115200"),
        ]
    }

    /// Exactly `size` bytes: the commands, then a comment.
    public var bytes: [UInt8] {
        let line = parameters.map(\.description).joined(separator: " ")
        let commands = """
            linux /muster/vmlinuz \(line)
            initrd /muster/initrd.zst
            boot

            """
        let text = Array(commands.utf8)
        precondition(text.count < Self.size, "typed parameters fit")
        return text + [UInt8](repeating: UInt8(ascii: "#"), count: Self.size - text.count - 1) + [UInt8(ascii: "\n")]
    }
}
