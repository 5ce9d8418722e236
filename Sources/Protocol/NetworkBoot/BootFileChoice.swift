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
    /// Nothing: the client is no network boot client, or one that has no boot program here.
    case none

    /// The choice for a client by its architecture (option 93) and user classes (option 77).
    ///
    /// iPXE says `iPXE` in its user class, as firmware ROM and when chain-loaded alike. Clients without it need a boot
    /// program by TFTP or UEFI HTTP boot first, which is not offered.
    public static func choose(
        architecture: BootArchitecture?, userClasses: [[UInt8]], script: BootURL
    ) -> BootFileChoice {
        userClasses.contains(Array("iPXE".utf8)) ? .script(script) : .none
    }
}
