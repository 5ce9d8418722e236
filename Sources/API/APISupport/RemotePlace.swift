import Primitives

/// Whom an address stands for where callers are bounded.
public enum RemotePlace {
    /// An IPv4 address by itself, an IPv6 address with all of its network (64 bits), which is one customer's.
    public static func of(_ address: String?) -> String {
        guard let address else { return "-" }
        guard address.utf8.contains(UInt8(ascii: ":")), !address.utf8.contains(UInt8(ascii: ".")) else {
            return address
        }
        let gap = address.firstRange(of: "::")
        let before = address[..<(gap?.lowerBound ?? address.endIndex)].split(separator: ":")
        let after = gap.map { address[$0.upperBound...].split(separator: ":") } ?? []
        let zeros = Array(repeating: Substring("0"), count: max(0, 8 - before.count - after.count))
        return (before + zeros + after).prefix(4).joined(separator: ":")
    }
}
