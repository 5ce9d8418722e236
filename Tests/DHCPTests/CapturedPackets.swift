import Primitives

@testable import DHCP

/// Messages as firmware sends them, built byte by byte.
enum Captured {
    static let mac = MACAddress(bytes: [0x52, 0x54, 0x00, 0x77, 0x00, 0x01])
    /// 01234567-89ab-cdef-0123-456789abcdef as every client puts it on the wire.
    static let uuidOption: [UInt8] = [
        97, 17, 0x00, 0x67, 0x45, 0x23, 0x01, 0xAB, 0x89, 0xEF, 0xCD, 0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF,
    ]

    /// The 240 bytes before the options, of a request.
    static func head(flags: UInt16 = 0, file: [UInt8] = [], name: [UInt8] = []) -> [UInt8] {
        var bytes: [UInt8] = [1, 1, 6, 0, 0xDE, 0xAD, 0xBE, 0xEF, 0, 4, UInt8(flags >> 8), UInt8(flags & 0xFF)]
        bytes += [UInt8](repeating: 0, count: 16) + mac.bytes + [UInt8](repeating: 0, count: 10)
        bytes += name + [UInt8](repeating: 0, count: 64 - name.count)
        bytes += file + [UInt8](repeating: 0, count: 128 - file.count)
        return bytes + [99, 130, 83, 99]
    }

    static func text(_ code: UInt8, _ text: String) -> [UInt8] { [code, UInt8(text.utf8.count)] + Array(text.utf8) }

    /// The DISCOVER of iPXE in a BIOS network card's ROM; option 77 has no length byte.
    static let ipxeBIOS: [UInt8] =
        head() + [53, 1, 1, 57, 2, 0x05, 0xC0, 93, 2, 0, 0, 94, 3, 1, 2, 1]
        + text(60, "PXEClient:Arch:00000:UNDI:002001") + text(77, "iPXE")
        + [
            55, 24, 1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175, 203,
            0,
        ]
        + [175, 15, 0xB1, 5, 1, 0x1A, 0xF4, 0x10, 0x00, 0xEB, 3, 1, 0, 0, 0x17, 1, 1]
        + [61, 7, 1] + mac.bytes + uuidOption + [255]

    /// The DISCOVER of OVMF's own PXE client.
    static let ovmfPXE: [UInt8] =
        head(flags: 0x8000) + [53, 1, 1, 57, 2, 0x05, 0xC0, 55, 4, 1, 3, 43, 67] + uuidOption
        + [94, 3, 1, 3, 0, 93, 2, 0, 7] + text(60, "PXEClient:Arch:00007:UNDI:003000") + [255]

    /// The DISCOVER of OVMF's HTTP boot.
    static let ovmfHTTP: [UInt8] =
        head(flags: 0x8000) + [53, 1, 1, 57, 2, 0x05, 0xC0] + uuidOption
        + [94, 3, 1, 3, 0, 93, 2, 0, 16] + text(60, "HTTPClient:Arch:00016:UNDI:003000") + [255]
}
