import Primitives

/// What GRUB is told under Secure Boot, where iPXE, which nobody has signed, does not start.
///
/// Debian's signed GRUB for network boot asks `(tftp,SERVER)/grub/grub.cfg`, and from there for a file of each machine. It
/// has no HTTP, so kernel and ramdisk come by TFTP too. Every word is of a type that cannot hold GRUB's own signs.
public enum GRUBScript {
    /// The configuration that is the same for all machines: each asks for its own, again and again until it boots.
    public static let entry = """
        set timeout=0
        while true; do
            source /grub/m/$net_default_mac.cfg
            sleep 5
        done

        """

    /// The name of `entry` on the TFTP server.
    public static let entryName = "grub/grub.cfg"

    /// The machine whose configuration is called `name`; nil when it is no such name.
    public static func machine(ofFile name: String) -> MACAddress? {
        let (prefix, suffix) = ("grub/m/", ".cfg")
        guard name.hasPrefix(prefix), name.hasSuffix(suffix), name.utf8.count > prefix.utf8.count + suffix.utf8.count
        else { return nil }
        return try? MACAddress(String(name.dropFirst(prefix.count).dropLast(suffix.count)))
    }

    /// The configuration of one machine, with the content of `script`.
    public static func text(_ script: BootScript) -> String {
        lines(script).map { $0 + "\n" }.joined()
    }

    private static func lines(_ script: BootScript) -> [String] {
        switch script {
        case .discovery(let boot):
            // iPXE and the kernel's EFI stub know the ramdisk by a name; GRUB gives it to the kernel itself.
            let parameters = boot.parameters.filter { $0.name != "initrd" }.map(\.description)
            return [
                "echo Muster: loading the discovery system",
                (["linux", boot.kernel.path] + parameters).joined(separator: " "),
                "initrd \(boot.initrd.path)",
                "boot",
            ]
        case .localDisk:
            // As `Images/boot/local.cfg` does: the ESP of a node image is known by its serial number.
            return [
                "search --no-floppy --file --set=disk /EFI/BOOT/BOOTX64.EFI",
                "search --no-floppy --fs-uuid --set=disk 4D55-5354",
                "echo Muster: booting from the disk $disk",
                "chainloader ($disk)/EFI/BOOT/BOOTX64.EFI",
                "boot",
            ]
        case .wait(let seconds, _):
            return ["echo Muster: nothing to do for this machine yet", "sleep \(min(max(seconds, 1), 3600))"]
        }
    }
}
