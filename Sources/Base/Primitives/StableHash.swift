/// A hash that is the same in every process and version, for orders and choices that must not change; nothing that has to
/// withstand an attacker.
public enum StableHash {
    /// FNV-1a, 64 bits (draft-eastlake-fnv), of the text's UTF-8.
    public static func of(_ text: String) -> UInt64 {
        text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}
