/// Compares the UUID that a BMC tells with the one that the firmware tells.
enum SystemUUID {
    /// Whether both may be the same machine's: they are equal, or equal but for the order of bytes.
    ///
    /// SMBIOS stores the first three fields little-endian, RFC 9562 big-endian, and IPMI v2.0 section 20.8 the whole UUID
    /// from its last byte to its first; BMCs' firmware does any of the three.
    static func isSame(_ bmc: String, _ firmware: String) -> Bool {
        guard let one = bytes(bmc), let other = bytes(firmware) else {
            return bmc.lowercased() == firmware.lowercased()
        }
        let swapped = swappingFields(one)
        let reversed = [UInt8](one.reversed())
        return [one, swapped, reversed, swappingFields(reversed), [UInt8](swapped.reversed())].contains(other)
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
