import Primitives

/// Compares the UUID that a BMC tells with the one that the firmware tells.
public enum SystemUUID {
    /// Whether both may be the same machine's: they are equal, or equal but for the order of bytes.
    ///
    /// SMBIOS stores the first three fields little-endian, RFC 9562 big-endian, and IPMI v2.0 section 20.8 the whole UUID
    /// from its last byte to its first; BMCs' firmware does any of the three.
    static func isSame(_ bmc: String, _ firmware: String) -> Bool {
        spellings(bmc).contains(spelling(firmware))
    }

    /// The texts, each as `spelling` has it, that the firmware of the machine may have for what its BMC tells.
    public static func spellings(_ bmc: String) -> Set<String> {
        guard let one = bytes(bmc) else { return [bmc.lowercased()] }
        let swapped = swappingFields(one)
        let reversed = [UInt8](one.reversed())
        return Set([one, swapped, reversed, swappingFields(reversed), swapped.reversed()].map { Hex.encode($0) })
    }

    /// What the firmware tells, as one text for all ways to write it.
    public static func spelling(_ firmware: String) -> String {
        bytes(firmware).map { Hex.encode($0) } ?? firmware.lowercased()
    }

    /// The 16 bytes as written; nil when the text is no UUID.
    private static func bytes(_ text: String) -> [UInt8]? {
        let digits = text.compactMap { $0 == "-" ? nil : $0.hexDigitValue }
        guard digits.count == 32, text.filter({ $0 != "-" }).count == 32 else { return nil }
        return stride(from: 0, to: 32, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }

    private static func swappingFields(_ bytes: [UInt8]) -> [UInt8] {
        Array(bytes[0..<4].reversed() + bytes[4..<6].reversed() + bytes[6..<8].reversed() + bytes[8...])
    }
}
