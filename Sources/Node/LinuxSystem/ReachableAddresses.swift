import Primitives

extension Netlink {
    /// The IPv4 addresses of interfaces without loopback; the first is the one that tunnels begin at unless they have
    /// an address of their own, and so the one that other nodes have to be told.
    ///
    /// First come those of the interface with the default route, then those that a VXLAN device sends from, so that a
    /// default route that is lost moves no tunnel. Those inside of overlays come last.
    public func reachableAddresses() throws(SystemError) -> [LinkAddress] {
        let interfaces = try links()
        let all = try addresses().filter { $0.address.value >> 24 != 127 }
        let name = DefaultRoute.interface()
        let routed = interfaces.first { $0.name == name }?.index
        let tunnels = interfaces.filter { $0.kind == "vxlan" }
        let overlays = Set(tunnels.flatMap { [$0.index, $0.master ?? $0.index] })
        let ends = Set(tunnels.compactMap { $0.vxlan?.local })
        func rank(_ entry: LinkAddress) -> Int {
            if overlays.contains(entry.index) { return 3 }
            if entry.index == routed { return 0 }
            return ends.contains(entry.address) ? 1 : 2
        }
        return (0...3).flatMap { wanted in all.filter { rank($0) == wanted } }
    }
}

/// The kernel's IPv4 routes as procfs shows them.
public enum DefaultRoute {
    /// The interface of the route to 0.0.0.0/0; nil when there is none.
    public static func interface(_ table: String? = SystemFile.text("/proc/thread-self/net/route")) -> String? {
        for line in (table ?? "").split(separator: "\n").dropFirst() {
            let fields = line.split { $0 == "\t" || $0 == " " }
            if fields.count >= 8, fields[1] == "00000000", fields[7] == "00000000" { return String(fields[0]) }
        }
        return nil
    }
}
