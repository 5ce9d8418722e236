import CLinux
import Glibc
import NIOPosix
import Primitives

/// What the conductor's host tells of itself.
enum HostFacts {
    /// All interfaces with their addresses (getifaddrs(3), netdevice(7)).
    static func interfaces() -> [String: InterfaceFacts] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [:] }
        defer { freeifaddrs(list) }
        var result: [String: InterfaceFacts] = [:]
        var next = list
        while let entry = next {
            next = entry.pointee.ifa_next
            let name = String(cString: entry.pointee.ifa_name)
            let flags = entry.pointee.ifa_flags
            var facts =
                result[name]
                ?? InterfaceFacts(
                    isUp: flags & UInt32(IFF_UP) != 0, hasCarrier: flags & UInt32(IFF_RUNNING) != 0,
                    mtu: mtu(of: name) ?? 0, addresses: [:])
            if let address = address(entry.pointee.ifa_addr), let mask = address4(entry.pointee.ifa_netmask) {
                facts.addresses[address] = mask.nonzeroBitCount
            }
            result[name] = facts
        }
        return result
    }

    private static func address(_ pointer: UnsafeMutablePointer<sockaddr>?) -> IPv4Address? {
        guard let pointer, pointer.pointee.sa_family == AF_INET else { return nil }
        return address4(pointer).map { IPv4Address($0) }
    }

    /// The 32 bits of an IPv4 address; netmasks need not tell their family.
    private static func address4(_ pointer: UnsafeMutablePointer<sockaddr>?) -> UInt32? {
        pointer?.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { UInt32(bigEndian: $0.pointee.sin_addr.s_addr) }
    }

    private static func mtu(of name: String) -> Int? {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { return nil }
        defer { close(socket) }
        var request = ifreq()
        withUnsafeMutableBytes(of: &request.ifr_ifrn) { $0.copyBytes(from: name.utf8.prefix(15)) }
        guard ioctl(socket, UInt(SIOCGIFMTU), &request) == 0 else { return nil }
        return Int(request.ifr_ifru.ifru_mtu)
    }

    /// Who has `port`, by /proc/net and this process's own descriptors.
    static func holder(of port: CheckedPort) -> PortHolder {
        let tables = ["/proc/net/\(port.transport.rawValue)", "/proc/net/\(port.transport.rawValue)6"]
        switch SocketTable.owner(of: port, in: tables.map { read($0) ?? "" }, own: sockets(of: "self")) {
        case .nobody: return .nobody
        case .ourselves: return .ourselves
        case .others(let inode): return .others(program(holding: inode))
        }
    }

    /// The program with the socket `inode`, as `name (process)`; nil when it is not among those that can be seen.
    static func program(holding inode: UInt64) -> String? {
        for process in names(in: "/proc") where process.allSatisfy(\.isNumber) {
            guard sockets(of: process).contains(inode) else { continue }
            let name = (read("/proc/\(process)/comm") ?? "").filter { !$0.isNewline }
            return "\(name.isEmpty ? "a program" : name.printable(limit: 40)) (\(process))"
        }
        return nil
    }

    /// The inodes of a process's sockets.
    private static func sockets(of process: String) -> Set<UInt64> {
        var inodes: Set<UInt64> = []
        for name in names(in: "/proc/\(process)/fd") {
            var target = [CChar](repeating: 0, count: 64)
            let count = readlink("/proc/\(process)/fd/\(name)", &target, target.count)
            let text = String(decoding: target.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text.hasPrefix("socket:["), let inode = UInt64(text.dropFirst(8).dropLast()) { inodes.insert(inode) }
        }
        return inodes
    }

    private static func names(in path: String) -> [String] {
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                })
        }
        return names.filter { !$0.hasPrefix(".") }
    }

    /// The hardware's clock in UTC; nil without one.
    static func hardwareClock() -> Timestamp? {
        guard let text = read("/sys/class/rtc/rtc0/since_epoch"),
            let seconds = Int64(text.filter { !$0.isWhitespace })
        else { return nil }
        return Timestamp(millisecondsSinceEpoch: seconds * 1000)
    }

    /// What is free for the conductor on the file system that holds `path` (statvfs(3)).
    static func freeSpace(_ path: String) -> ByteCount? {
        var info = statvfs()
        guard statvfs(path, &info) == 0 else { return nil }
        return ByteCount(bytes: UInt64(info.f_bavail) * UInt64(info.f_frsize))
    }

    /// The IPv4 addresses of `name` (getaddrinfo(3)).
    static func addresses(of name: String) async -> [IPv4Address] {
        let found = try? await NIOThreadPool.singleton.runIfActive { () -> [IPv4Address] in
            var hints = addrinfo()
            hints.ai_family = AF_INET
            hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
            var list: UnsafeMutablePointer<addrinfo>?
            guard getaddrinfo(name, nil, &hints, &list) == 0 else { return [] }
            defer { freeaddrinfo(list) }
            var result: [IPv4Address] = []
            var next = list
            while let entry = next {
                if let address = address(entry.pointee.ai_addr) { result.append(address) }
                next = entry.pointee.ai_next
            }
            return result
        }
        return found ?? []
    }

    private static func read(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while result.count < 16 << 20 {
            let count = Glibc.read(file, &buffer, buffer.count)
            guard count > 0 else { break }
            result += buffer.prefix(count)
        }
        return String(decoding: result, as: UTF8.self)
    }
}

/// The kernel's tables of sockets (proc(5), /proc/net/tcp and /proc/net/udp).
enum SocketTable {
    private static let listening = "0A"

    /// Whose sockets have a port.
    enum Owner: Hashable {
        case nobody
        case ourselves
        case others(inode: UInt64)
    }

    /// Whose `port` is by the texts of `tables`; `own` are the inodes of one's own sockets.
    static func owner(of port: CheckedPort, in tables: [String], own: Set<UInt64>) -> Owner {
        var owner = Owner.nobody
        for line in tables.flatMap({ $0.split(separator: "\n").dropFirst() }) {
            let fields = line.split(separator: " ")
            guard fields.count > 9, let colon = fields[1].lastIndex(of: ":"),
                Int(fields[1][fields[1].index(after: colon)...], radix: 16) == port.number,
                port.transport == .udp || fields[3] == listening, let inode = UInt64(fields[9])
            else { continue }
            guard own.contains(inode) else { return .others(inode: inode) }
            owner = .ourselves
        }
        return owner
    }
}
