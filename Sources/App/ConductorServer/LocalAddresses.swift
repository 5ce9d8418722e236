import Glibc
import Primitives

/// This machine's own IPv4 addresses.
enum LocalAddresses {
    /// This machine's name (gethostname(2)).
    static var hostName: String {
        var bytes = [CChar](repeating: 0, count: 256)
        guard gethostname(&bytes, 255) == 0, bytes[0] != 0 else { return "conductor" }
        return String(decoding: bytes.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// All addresses of all interfaces, loopback first.
    static func all() -> [IPv4Address] {
        Set(links().map(\.address)).union([IPv4Address(0x7F00_0001)]).sorted()
    }

    /// All interfaces with an address, once for each (getifaddrs(3)).
    static func links() -> [LocalLink] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        var links: [LocalLink] = []
        var next = list
        while let entry = next {
            if let address = entry.pointee.ifa_addr, address.pointee.sa_family == AF_INET {
                let value = address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { $0.pointee.sin_addr.s_addr }
                links.append(
                    LocalLink(
                        interface: String(cString: entry.pointee.ifa_name),
                        address: IPv4Address(UInt32(bigEndian: value))))
            }
            next = entry.pointee.ifa_next
        }
        return links
    }
}

/// Finds out early that a port is taken, so that the error names it.
enum PortProbe {
    /// Throws `ConductorStartError.portTaken` for the first TCP port that cannot be bound at its address; a name stands for
    /// any address.
    static func check(_ ports: [(what: String, host: String, port: Int)]) throws(ConductorStartError) {
        for (what, host, port) in ports {
            let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            guard socket >= 0 else { continue }
            defer { close(socket) }
            var yes: Int32 = 1
            setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = in_port_t(port).bigEndian
            address.sin_addr.s_addr = ((try? IPv4Address(host)) ?? .any).value.bigEndian
            let result = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            if result != 0, errno == EADDRINUSE { throw .portTaken(what, port) }
        }
    }
}
