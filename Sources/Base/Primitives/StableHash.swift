/// A hash that is the same in every process and version, for orders and choices that must not change; nothing that has to
/// withstand an attacker: FNV-1a, 64 bits (draft-eastlake-fnv).
public enum StableHash {
    /// The hash of nothing.
    public static let start: UInt64 = 0xcbf2_9ce4_8422_2325

    /// The hash of bytes that follow those of which `hash` is.
    public static func of(_ bytes: some Sequence<UInt8>, after hash: UInt64 = start) -> UInt64 {
        bytes.reduce(hash) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }

    /// The hash of a text's UTF-8.
    public static func of(_ text: String) -> UInt64 { of(text.utf8) }
}
