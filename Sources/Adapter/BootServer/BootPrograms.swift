import FoundationEssentials
import Primitives

/// The programs that firmware without iPXE of its own is sent, and the one that starts a disk's loader.
///
/// They are read when the conductor starts and served from memory by TFTP and HTTP under their names; there is no way
/// from a request to a file.
public struct BootPrograms: Sendable {
    /// A program that machines load before anything else.
    public enum Name: String, Hashable, Sendable, CaseIterable {
        /// iPXE on a BIOS's network stack.
        case biosIPXE = "undionly.kpxe"
        /// iPXE on the network stack of UEFI firmware for x86-64.
        case uefiIPXE = "snponly.efi"
        /// Starts the loader on a deployed machine's disk, for x86-64 UEFI.
        case uefiLocalDisk = "local.efi"
        /// Debian's shim, signed by Microsoft; under Secure Boot.
        case signedShim = "shimx64.efi"
        /// Debian's GRUB for network boot, signed by Debian, under the name that shim asks for.
        case signedGRUB = "grubx64.efi"

        /// Whether it is needed on segments with `secureBoot` only.
        public var isSigned: Bool { self == .signedShim || self == .signedGRUB }
    }

    /// The most bytes of a program.
    public static let sizeMax = 8 << 20

    private let contents: [Name: [UInt8]]

    /// Programs with their bytes.
    public init(_ contents: [Name: [UInt8]]) { self.contents = contents }

    /// Reads each program from its file. What cannot be read is left out and named in `problems`, with the reason.
    public static func load(_ files: [Name: String]) -> (programs: BootPrograms, problems: [(name: Name, why: String)])
    {
        var contents: [Name: [UInt8]] = [:]
        var problems: [(name: Name, why: String)] = []
        for name in Name.allCases {
            guard let path = files[name] else { continue }
            guard let data = FileManager.default.contents(atPath: path), !data.isEmpty else {
                // Most sites do without; whoever asks for it all the same is told of in the log.
                if name.isSigned { continue }
                problems.append((name, "\(path) cannot be read"))
                continue
            }
            guard data.count <= sizeMax else {
                problems.append((name, "\(path) is over \(sizeMax >> 20) MiB"))
                continue
            }
            contents[name] = Array(data)
        }
        return (BootPrograms(contents), problems)
    }

    /// A program's bytes; nil when there are none.
    public subscript(name: Name) -> [UInt8]? { contents[name] }

    /// The program of exactly this name.
    public func bytes(named name: String) -> [UInt8]? { Name(rawValue: name).flatMap { contents[$0] } }
}
