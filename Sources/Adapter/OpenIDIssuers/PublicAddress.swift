import Glibc
import Primitives

/// Which addresses are of the public Internet (IANA's special-purpose address registries, RFC 6890).
enum PublicAddress {
    private static let special: [IPv4Network] = [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/3",
    ].compactMap { try? IPv4Network($0) }

    /// Of an address as a text; what is no address is not public.
    static func isPublic(_ text: String) -> Bool {
        if let address = try? IPv4Address(text) { return !special.contains { $0.contains(address) } }
        var bytes = [UInt8](repeating: 0, count: 16)
        guard inet_pton(AF_INET6, text, &bytes) == 1 else { return false }
        // Only global unicast, 2000::/3, and of that not what holds an IPv4 address or is for documents.
        guard bytes[0] & 0xE0 == 0x20 else { return false }
        switch (bytes[0], bytes[1]) {
        case (0x20, 0x02), (0x3F, 0xFF): return false
        case (0x20, 0x01): return bytes[2] >= 0x02 && !(bytes[2] == 0x0D && bytes[3] == 0xB8)
        default: return true
        }
    }
}
