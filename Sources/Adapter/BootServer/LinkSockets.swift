import CLinux
import Glibc
import NIOCore
import NIOPosix
import Primitives
import Synchronization

/// Why a server cannot use an interface or a port.
public enum LinkError: UserFacingError, Hashable {
    /// There is no such interface.
    case noInterface(String)
    /// The interface is down or has no cable.
    case noCarrier(String)
    /// Another program has the port.
    case portTaken(interface: String, port: UInt16)
    /// The right to do this is missing.
    case notPermitted(String)
    /// The system refused with this errno.
    case system(String, errno: Int32)

    public var publicMessage: String {
        switch self {
        case .noInterface(let name):
            "There is no network interface '\(name.printable(limit: 15))'; create it, or correct the segment's interface."
        case .noCarrier(let name):
            "The network interface '\(name.printable(limit: 15))' is down; switch it on (ip link set \(name.printable(limit: 15)) up)."
        case .portTaken(let interface, let port):
            "UDP port \(port) of \(interface) is taken: another DHCP server is running; stop it (see `ss -lunp`)."
        case .notPermitted(let what):
            "No permission to \(what): run as root or with CAP_NET_ADMIN, CAP_NET_RAW and CAP_NET_BIND_SERVICE."
        case .system(let what, let errno): "Cannot \(what): \(String(cString: strerror(errno)))."
        }
    }

    init(_ what: String, interface: String, port: UInt16 = 0, errno: Int32) {
        switch errno {
        case ENODEV, ENXIO: self = .noInterface(interface)
        case EADDRINUSE: self = .portTaken(interface: interface, port: port)
        case EPERM, EACCES: self = .notPermitted(what)
        default: self = .system(what, errno: errno)
        }
    }
}

/// An Ethernet interface of this machine as it is now.
struct Link: Sendable {
    let name: String
    let index: UInt32
    let mac: MACAddress

    /// The interface through which the kernel sends to `address`.
    init(towards address: IPv4Address) throws(LinkError) {
        var name = [CChar](repeating: 0, count: 16)
        let error = clinux_route_interface(address.value, &name)
        guard error == 0 else { throw .system("find a way to \(address)", errno: error) }
        try self.init(
            name.withUnsafeBufferPointer {
                String(decoding: $0.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            })
    }

    init(_ name: String) throws(LinkError) {
        var index: UInt32 = 0
        var bytes = [UInt8](repeating: 0, count: 6)
        let error = clinux_interface(name, &index, &bytes)
        guard error == 0 else { throw LinkError("look at interface \(name)", interface: name, errno: error) }
        self.name = name
        self.index = index
        mac = MACAddress(bytes: bytes)
    }

    /// A descriptor of a UDP socket on this interface alone.
    func openUDP(port: UInt16) throws(LinkError) -> CInt {
        let descriptor = clinux_bound_udp_socket(name, port)
        guard descriptor >= 0 else {
            throw LinkError("listen on UDP port \(port) of \(name)", interface: name, port: port, errno: -descriptor)
        }
        return descriptor
    }

    /// A descriptor of a raw ICMPv6 socket on this interface alone.
    func openRouter() throws(LinkError) -> CInt {
        let descriptor = clinux_router_socket(name, index)
        guard descriptor >= 0 else {
            throw LinkError("answer router solicitations on \(name)", interface: name, errno: -descriptor)
        }
        return descriptor
    }
}

/// A descriptor that is closed with its last reference.
final class OwnedDescriptor: Sendable {
    let number: CInt

    init(_ number: CInt) { self.number = number }

    deinit { _ = close(number) }
}

/// Sends whole Ethernet frames out of one interface.
struct FrameSender: Sendable {
    private let descriptor: OwnedDescriptor
    private let index: UInt32

    init(_ link: Link) throws(LinkError) {
        let number = clinux_packet_socket()
        guard number >= 0 else { throw LinkError("open a packet socket", interface: link.name, errno: -number) }
        descriptor = OwnedDescriptor(number)
        index = link.index
    }

    /// Whether the kernel took the frame.
    func send(_ frame: [UInt8]) -> Bool { clinux_packet_send(descriptor.number, index, frame, frame.count) == 0 }
}

/// Datagrams of a socket that was made and bound by this program.
enum DatagramSocket {
    typealias Channel = NIOAsyncChannel<AddressedEnvelope<ByteBuffer>, AddressedEnvelope<ByteBuffer>>

    /// Takes `descriptor` over. Longer datagrams than `sizeMax` are cut to it.
    static func open(_ descriptor: CInt, sizeMax: Int, group: any EventLoopGroup) async throws -> Channel {
        try await open(sizeMax: sizeMax, group: group) { try await $0.withBoundSocket(descriptor).get() }
    }

    /// A socket on one of this machine's addresses. Longer datagrams than `sizeMax` are cut to it.
    static func open(
        host: IPv4Address, port: UInt16, sizeMax: Int, group: any EventLoopGroup
    ) async throws -> Channel {
        try await open(sizeMax: sizeMax, group: group) {
            try await $0.bind(host: host.description, port: Int(port)).get()
        }
    }

    private static func open(
        sizeMax: Int, group: any EventLoopGroup, _ bind: (DatagramBootstrap) async throws -> any NIOCore.Channel
    ) async throws -> Channel {
        // The channel is wrapped by its initializer, before the first datagram is read. (DatagramBootstrap's own
        // asynchronous withBoundSocket fails with operationUnsupported.)
        let wrapped = Mutex<Channel?>(nil)
        let bootstrap = DatagramBootstrap(group: group)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: sizeMax))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let socket = try Channel(wrappingChannelSynchronously: channel)
                    wrapped.withLock { $0 = socket }
                }
            }
        _ = try await bind(bootstrap)
        guard let socket = wrapped.withLock({ $0 }) else { throw ChannelError.operationUnsupported }
        return socket
    }
}
