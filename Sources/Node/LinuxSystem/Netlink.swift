import CNetlink
import Glibc
import Primitives

/// A network interface as the kernel has it.
public struct Link: Hashable, Sendable {
    /// The kernel's number for it.
    public var index: Int32
    /// Its name.
    public var name: String
    /// What it is, for example `bridge` or `vxlan`; nil for hardware.
    public var kind: String?
    /// Its hardware address; nil: it has none of 6 bytes.
    public var hardware: MACAddress?
    /// Whether it is administratively up.
    public var isUp: Bool
    /// The largest packet in bytes.
    public var mtu: UInt32
    /// The index of the bridge or bond that it belongs to.
    public var master: Int32?
    /// The number of the group of interfaces that it is in, which tells who made it; 0 unless somebody set it.
    public var group: UInt32
    /// What a VXLAN device tunnels.
    public var vxlan: VXLAN?

    /// An interface.
    public init(
        index: Int32, name: String, kind: String?, hardware: MACAddress? = nil, isUp: Bool, mtu: UInt32,
        master: Int32? = nil, group: UInt32 = 0, vxlan: VXLAN? = nil
    ) {
        self.index = index
        self.name = name
        self.kind = kind
        self.hardware = hardware
        self.isUp = isUp
        self.mtu = mtu
        self.master = master
        self.group = group
        self.vxlan = vxlan
    }

    /// The settings of a VXLAN device (RFC 7348).
    public struct VXLAN: Hashable, Sendable {
        /// The network identifier.
        public var id: UInt32
        /// The address that it sends from.
        public var local: IPv4Address?
        /// The UDP port that it sends to.
        public var port: UInt16
        /// Whether it learns the tunnel end of an address from traffic.
        public var isLearning: Bool

        /// Settings; 4789 is the port that IANA gave.
        public init(id: UInt32, local: IPv4Address?, port: UInt16 = 4789, isLearning: Bool = false) {
            self.id = id
            self.local = local
            self.port = port
            self.isLearning = isLearning
        }
    }
}

/// An IPv4 address of an interface.
public struct LinkAddress: Hashable, Sendable {
    /// The interface.
    public var index: Int32
    /// The address.
    public var address: IPv4Address
    /// 0 to 32.
    public var prefixLength: Int
}

/// A route-netlink socket (rtnetlink(7)) of the network namespace that the calling thread was in at `init`.
///
/// For one thread at a time. All methods throw `SystemError`.
public final class Netlink {
    // SAFETY: the socket belongs to this object alone and is freed with it.
    private let socket: OpaquePointer

    /// Connects.
    public init() throws(SystemError) {
        guard let socket = nl_socket_alloc() else { throw SystemError("open a netlink socket", errno: ENOMEM) }
        let code = nl_connect(socket, NETLINK_ROUTE)
        guard code == 0 else {
            nl_socket_free(socket)
            throw Self.error("open a netlink socket", code)
        }
        self.socket = socket
    }

    deinit { nl_socket_free(socket) }

    /// All interfaces, by index.
    public func links() throws(SystemError) -> [Link] {
        var cache: OpaquePointer?
        try check("list the interfaces", rtnl_link_alloc_cache(socket, AF_UNSPEC, &cache))
        defer { nl_cache_free(cache) }
        var links: [Link] = []
        var object = nl_cache_get_first(cache)
        while let current = object {
            links.append(Link(object: current))
            object = nl_cache_get_next(current)
        }
        return links.sorted { $0.index < $1.index }
    }

    /// All IPv4 addresses of interfaces.
    public func addresses() throws(SystemError) -> [LinkAddress] {
        var cache: OpaquePointer?
        try check("list the addresses", rtnl_addr_alloc_cache(socket, &cache))
        defer { nl_cache_free(cache) }
        var addresses: [LinkAddress] = []
        var object = nl_cache_get_first(cache)
        while let current = object {
            if let local = rtnl_addr_get_local(current), let address = IPv4Address(netlink: local) {
                addresses.append(
                    LinkAddress(
                        index: rtnl_addr_get_ifindex(current), address: address,
                        prefixLength: Int(nl_addr_get_prefixlen(local))))
            }
            object = nl_cache_get_next(current)
        }
        return addresses
    }

    /// Makes a bridge, which is down, in a group of interfaces.
    public func createBridge(_ name: String, mtu: UInt32, group: UInt32 = 0) throws(SystemError) {
        guard let link = rtnl_link_bridge_alloc() else { throw SystemError("create \(name)", errno: ENOMEM) }
        try create(link, name, mtu, group)
    }

    /// Makes a VXLAN device, which is down, in a group of interfaces.
    public func createVXLAN(_ name: String, _ settings: Link.VXLAN, mtu: UInt32, group: UInt32 = 0) throws(SystemError)
    {
        guard let link = rtnl_link_vxlan_alloc() else { throw SystemError("create \(name)", errno: ENOMEM) }
        rtnl_link_vxlan_set_id(link, settings.id)
        rtnl_link_vxlan_set_port(link, UInt32(settings.port))
        rtnl_link_vxlan_set_learning(link, settings.isLearning ? 1 : 0)
        if let local = settings.local {
            let address = local.netlinkAddress()
            rtnl_link_vxlan_set_local(link, address)
            nl_addr_put(address)
        }
        try create(link, name, mtu, group)
    }

    private func create(
        _ link: OpaquePointer, _ name: String, _ mtu: UInt32, _ group: UInt32
    ) throws(SystemError) {
        defer { rtnl_link_put(link) }
        rtnl_link_set_name(link, name)
        rtnl_link_set_mtu(link, mtu)
        if group != 0 { rtnl_link_set_group(link, group) }
        try check("create \(name)", rtnl_link_add(socket, link, NLM_F_CREATE | NLM_F_EXCL))
    }

    /// Deletes the interface, and all that the kernel ties to it.
    public func delete(index: Int32) throws(SystemError) {
        try withLink(index) { link in rtnl_link_delete(socket, link) }
    }

    /// Sets an interface up or down.
    public func setUp(_ isUp: Bool, index: Int32) throws(SystemError) {
        try change(index) { link in
            isUp
                ? rtnl_link_set_flags(link, UInt32(IFF_UP))
                : rtnl_link_unset_flags(link, UInt32(IFF_UP))
        }
    }

    /// Sets the largest packet of an interface.
    public func setMTU(_ mtu: UInt32, index: Int32) throws(SystemError) {
        try change(index) { rtnl_link_set_mtu($0, mtu) }
    }

    /// Puts an interface into a group of interfaces.
    public func setGroup(_ group: UInt32, index: Int32) throws(SystemError) {
        try change(index) { rtnl_link_set_group($0, group) }
    }

    /// Puts an interface into a bridge; nil takes it out.
    public func setMaster(_ master: Int32?, index: Int32) throws(SystemError) {
        try change(index) { rtnl_link_set_master($0, master ?? 0) }
    }

    /// Gives an interface an address.
    public func addAddress(_ address: IPv4Address, prefixLength: Int, index: Int32) throws(SystemError) {
        guard let entry = rtnl_addr_alloc() else { throw SystemError("add \(address)", errno: ENOMEM) }
        defer { rtnl_addr_put(entry) }
        let local = address.netlinkAddress(prefixLength: prefixLength)
        defer { nl_addr_put(local) }
        rtnl_addr_set_ifindex(entry, index)
        rtnl_addr_set_local(entry, local)
        try check("add \(address)/\(prefixLength)", rtnl_addr_add(socket, entry, NLM_F_EXCL))
    }

    // MARK: Tunnel ends

    /// Where a VXLAN device floods to: its entries for the address 00:00:00:00:00:00.
    public func floodPeers(index: Int32) throws(SystemError) -> [IPv4Address] {
        var request = ndmsg()
        request.ndm_family = UInt8(AF_BRIDGE)
        let collector = FloodPeers(index: index)
        // SAFETY: `collector` outlives the calls that the callback is made in, and the callback is replaced behind them.
        let context = Unmanaged.passUnretained(collector).toOpaque()
        nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, FloodPeers.received, context)
        defer { nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_DEFAULT, nil, nil) }
        let sent = nl_send_simple(
            socket, Int32(RTM_GETNEIGH), NLM_F_DUMP, &request, MemoryLayout<ndmsg>.size)
        try check("list the tunnel ends", min(sent, 0))
        try check("list the tunnel ends", nl_recvmsgs_default(socket))
        withExtendedLifetime(collector) {}
        return collector.peers.sorted()
    }

    /// Adds a tunnel end to flood to.
    public func addFloodPeer(_ peer: IPv4Address, index: Int32) throws(SystemError) {
        try withFloodPeer(peer, index) { entry in
            rtnl_neigh_add(socket, entry, NLM_F_CREATE | NLM_F_APPEND)
        }
    }

    /// Takes a tunnel end away.
    public func removeFloodPeer(_ peer: IPv4Address, index: Int32) throws(SystemError) {
        try withFloodPeer(peer, index) { rtnl_neigh_delete(socket, $0, 0) }
    }

    private func withFloodPeer(
        _ peer: IPv4Address, _ index: Int32, _ body: (OpaquePointer) -> Int32
    ) throws(SystemError) {
        guard let entry = rtnl_neigh_alloc() else { throw SystemError("set a tunnel end", errno: ENOMEM) }
        defer { rtnl_neigh_put(entry) }
        var zero = [UInt8](repeating: 0, count: 6)
        let hardware = nl_addr_build(AF_LLC, &zero, 6)
        defer { nl_addr_put(hardware) }
        let address = peer.netlinkAddress()
        defer { nl_addr_put(address) }
        rtnl_neigh_set_ifindex(entry, index)
        rtnl_neigh_set_lladdr(entry, hardware)
        // The family comes after the address, which libnl refuses in an entry of another family.
        rtnl_neigh_set_dst(entry, address)
        rtnl_neigh_set_family(entry, AF_BRIDGE)
        rtnl_neigh_set_state(entry, NUD_NOARP | NUD_PERMANENT)
        rtnl_neigh_set_flags(entry, UInt32(NTF_SELF))
        try check("set the tunnel end \(peer)", body(entry))
    }

    // MARK: Calls

    private func change(_ index: Int32, _ set: (OpaquePointer) -> Void) throws(SystemError) {
        guard let changes = rtnl_link_alloc() else { throw SystemError("change interface \(index)", errno: ENOMEM) }
        defer { rtnl_link_put(changes) }
        set(changes)
        try withLink(index) { link in rtnl_link_change(socket, link, changes, 0) }
    }

    private func withLink(_ index: Int32, _ body: (OpaquePointer) -> Int32) throws(SystemError) {
        guard let link = rtnl_link_alloc() else { throw SystemError("change interface \(index)", errno: ENOMEM) }
        defer { rtnl_link_put(link) }
        rtnl_link_set_ifindex(link, index)
        try check("change interface \(index)", body(link))
    }

    private func check(_ action: String, _ code: Int32) throws(SystemError) {
        if code < 0 { throw Self.error(action, code) }
    }

    private static func error(_ action: String, _ code: Int32) -> SystemError {
        SystemError(action, errno: 0, detail: nl_geterror(code).map { String(cString: $0) } ?? "netlink error \(code)")
    }
}

/// Gathers the answers to a dump of forwarding entries.
private final class FloodPeers {
    let index: Int32
    var peers: [IPv4Address] = []

    init(index: Int32) { self.index = index }

    /// Called by libnl for each message.
    static let received: nl_recvmsg_msg_cb_t = { message, context in
        guard let message, let context else { return Int32(NL_SKIP.rawValue) }
        nl_msg_parse(
            message,
            { object, context in
                guard let object, let context else { return }
                // SAFETY: the context is the collector that `floodPeers` keeps alive.
                let collector = Unmanaged<FloodPeers>.fromOpaque(context).takeUnretainedValue()
                guard rtnl_neigh_get_ifindex(object) == collector.index, let hardware = rtnl_neigh_get_lladdr(object),
                    nl_addr_iszero(hardware) == 1, let end = rtnl_neigh_get_dst(object),
                    let peer = IPv4Address(netlink: end)
                else { return }
                collector.peers.append(peer)
            }, context)
        return Int32(NL_OK.rawValue)
    }
}

extension Link {
    fileprivate init(object: OpaquePointer) {
        index = rtnl_link_get_ifindex(object)
        name = rtnl_link_get_name(object).map { String(cString: $0) } ?? ""
        kind = rtnl_link_get_type(object).map { String(cString: $0) }
        hardware = rtnl_link_get_addr(object).flatMap { MACAddress(netlink: $0) }
        isUp = rtnl_link_get_flags(object) & UInt32(IFF_UP) != 0
        mtu = rtnl_link_get_mtu(object)
        let master = rtnl_link_get_master(object)
        self.master = master > 0 ? master : nil
        group = rtnl_link_get_group(object)
        vxlan = rtnl_link_is_vxlan(object) != 0 ? VXLAN(object: object) : nil
    }
}

extension Link.VXLAN {
    fileprivate init(object: OpaquePointer) {
        var number: UInt32 = 0
        id = rtnl_link_vxlan_get_id(object, &number) == 0 ? number : 0
        port = rtnl_link_vxlan_get_port(object, &number) == 0 ? UInt16(truncatingIfNeeded: number) : 0
        isLearning = rtnl_link_vxlan_get_learning(object) == 1
        var address: OpaquePointer?
        if rtnl_link_vxlan_get_local(object, &address) == 0, let found = address {
            local = IPv4Address(netlink: found)
            nl_addr_put(found)
        } else {
            local = nil
        }
    }
}

extension MACAddress {
    fileprivate init?(netlink address: OpaquePointer) {
        guard nl_addr_get_len(address) == 6, let bytes = nl_addr_get_binary_addr(address) else { return nil }
        self.init(bytes: UnsafeRawBufferPointer(start: bytes, count: 6))
    }
}

extension IPv4Address {
    fileprivate init?(netlink address: OpaquePointer) {
        // libnl gives the address in a forwarding entry the entry's family.
        guard [AF_INET, AF_BRIDGE].contains(nl_addr_get_family(address)), nl_addr_get_len(address) == 4,
            let bytes = nl_addr_get_binary_addr(address)
        else { return nil }
        self.init(bytes: UnsafeRawBufferPointer(start: bytes, count: 4))
    }

    /// The address for libnl; whoever calls puts it back.
    fileprivate func netlinkAddress(prefixLength: Int = 32) -> OpaquePointer? {
        var raw = bytes
        let address = nl_addr_build(AF_INET, &raw, 4)
        nl_addr_set_prefixlen(address, Int32(prefixLength))
        return address
    }
}
