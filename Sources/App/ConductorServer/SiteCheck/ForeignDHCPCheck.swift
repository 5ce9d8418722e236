import CatalogBareMetal
import FleetContract
import Primitives

/// Whether another DHCP server answers on a segment.
struct ForeignDHCPCheck: SiteCheck {
    static let name = "foreign DHCP"

    func findings(_ site: SiteUnderCheck, _ around: CheckSurroundings) async -> [SiteCheckReply.Row] {
        let interfaces = around.interfaces()
        let own = Set(interfaces.values.flatMap(\.addresses.keys) + site.segments.map(\.server))
        return await withTaskGroup(of: (Int, SiteCheckReply.Row).self) { group in
            for (index, segment) in site.segments.enumerated() {
                guard let interface = segment.interface, interfaces[interface]?.isUp == true else { continue }
                group.addTask { (index, await finding(segment, interface, own, around)) }
            }
            return await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    private func finding(
        _ segment: CheckedSegment, _ interface: String, _ own: Set<IPv4Address>, _ around: CheckSurroundings
    ) async -> SiteCheckReply.Row {
        let found: [ForeignServer]
        do { found = try await around.foreignServers(interface, own) } catch {
            return row(
                segment.name, .failed(.segmentNotAsked), "nobody could be asked on \(interface): \(text(error))",
                change: "mend the interface; the conductor must run as root")
        }
        let leasing = found.filter(\.givesAddresses)
        let names = found.map(\.text).joined(separator: "; ")
        switch (segment.isProxy, leasing.isEmpty) {
        case (false, true) where found.isEmpty: return row(segment.name, .ok, "nobody else answers on \(interface)")
        case (false, true):
            return row(
                segment.name, .warning(.otherBootServer), "another server tells machines what to boot: \(names)",
                change: "switch its network boot off, or machines may boot from it")
        case (false, false):
            return row(
                segment.name, .failed(.otherDHCPServer), "another server gives addresses: \(names)",
                change: "switch its DHCP off, or set 'mode: proxy' on the segment, so that the conductor only tells "
                    + "machines what to boot")
        case (true, true):
            return row(
                segment.name, .failed(.proxyWithoutServer), "the segment is in proxy mode, and no DHCP server answers",
                change: "start the segment's DHCP server, or take 'mode: proxy' away and give a pool")
        case (true, false): return row(segment.name, .ok, "\(names); the conductor only tells what to boot")
        }
    }
}
