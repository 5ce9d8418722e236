import CatalogBareMetal
import Glibc
import Primitives

/// An interface of this host, and one of its addresses.
struct LocalLink: Hashable, Sendable {
    var interface: String
    var address: IPv4Address
}

/// On which interface of this host a segment is; pure.
///
/// The site names one interface, as the first conductor's host calls it. On the host of another conductor it is the one
/// with an address in the segment's network, whatever it is called there.
enum LocalSegments {
    /// The segment as this host has it; nil: the host is not on it. `exists` tells whether there is an interface of a name.
    static func localized(
        _ spec: Segment.Spec, links: [LocalLink], exists: (String) -> Bool = { if_nametoindex($0) != 0 }
    ) -> Segment.Spec? {
        guard let named = spec.interface else { return spec }
        let near = links.filter { spec.network.contains($0.address) }.map(\.interface)
        guard !near.contains(named) else { return spec }
        guard let own = near.min() ?? (exists(named) ? named : nil) else { return nil }
        var local = spec
        local.interface = own
        return local
    }
}
