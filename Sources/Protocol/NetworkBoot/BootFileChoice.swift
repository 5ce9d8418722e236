import Primitives

/// The processor and firmware of a network boot client (RFC 4578 option 93; IANA "processor architecture types").
public enum BootArchitecture: Hashable, Sendable {
    /// 0.
    case bios
    /// 6.
    case uefi32
    /// 7 and 9.
    case uefi64
    /// 11.
    case uefiARM64
    /// 16.
    case uefi64HTTP
    /// 19.
    case uefiARM64HTTP
    /// Any other number.
    case other(UInt16)

    /// The architecture with IANA's number.
    public init(_ number: UInt16) {
        self =
            switch number {
            case 0: .bios
            case 6: .uefi32
            case 7, 9: .uefi64
            case 11: .uefiARM64
            case 16: .uefi64HTTP
            case 19: .uefiARM64HTTP
            default: .other(number)
            }
    }

    /// Whether the firmware is UEFI.
    public var isUEFI: Bool {
        switch self {
        case .uefi32, .uefi64, .uefiARM64, .uefi64HTTP, .uefiARM64HTTP: true
        case .bios, .other: false
        }
    }
}

/// What a client is offered to boot.
public enum BootFileChoice: Hashable, Sendable {
    /// The URL of a boot script, in `file` and option 67: the client is iPXE.
    case script(BootURL)
    /// The name of a program on the TFTP server of the answer: the client is firmware that does PXE.
    case program(String)
    /// The URL of a program, with vendor class `HTTPClient`: the client is firmware that does UEFI HTTP boot.
    case programURL(BootURL)
    /// Nothing: the client is no network boot client, or one that has no boot program here.
    case none

    /// iPXE on a BIOS's network stack, as Debian's package ipxe names it.
    public static let biosProgram = "undionly.kpxe"
    /// iPXE on UEFI firmware's network stack, x86-64.
    public static let uefiProgram = "snponly.efi"
    /// The first program under Secure Boot, x86-64: shim, which loads `signedLoader` from beside it.
    public static let signedProgram = "shimx64.efi"
    /// GRUB as shim asks for it.
    public static let signedLoader = "grubx64.efi"

    /// The choice for a client by its architecture (option 93), user classes (option 77) and vendor class (option 60).
    ///
    /// `signed` sends UEFI's own PXE to programs that Secure Boot lets start; they start without it as well. DHCP does not
    /// tell whether a machine enforces it.
    ///
    /// iPXE says `iPXE` in its user class, as firmware ROM and when chain-loaded alike. Firmware is sent iPXE first:
    /// PXE clients (vendor class `PXEClient…`) by TFTP, UEFI HTTP boot (`HTTPClient…`) by the URL of `uefiProgram`
    /// on the server and port of `script`.
    public static func choose(
        architecture: BootArchitecture?, userClasses: [[UInt8]], vendorClass: String?, script: BootURL,
        signed: Bool = false
    ) -> BootFileChoice {
        if userClasses.contains(Array("iPXE".utf8)) { return .script(script) }
        let vendorClass = vendorClass ?? ""
        switch architecture {
        case .bios where vendorClass.hasPrefix("PXEClient"): return .program(biosProgram)
        case .uefi64 where vendorClass.hasPrefix("PXEClient"): return .program(signed ? signedProgram : uefiProgram)
        case .uefi64HTTP where vendorClass.hasPrefix("HTTPClient"):
            let url = try? BootURL(host: script.host, port: script.port, path: programPath + uefiProgram)
            return url.map(BootFileChoice.programURL) ?? .none
        default: return .none
        }
    }

    /// Where the boot HTTP server has programs.
    public static let programPath = "/boot/programs/"
}
