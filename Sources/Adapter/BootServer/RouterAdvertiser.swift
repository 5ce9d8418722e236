import CLinux
import Glibc
import Logging
import NIOCore
import NIOPosix
import Primitives
import ServiceLifecycle

/// Sends router advertisements on one interface, every 10 seconds and when asked, so that iPXE does not wait for an
/// IPv6 router that is not there (see `RouterAdvertisement`).
///
/// The interface needs IPv6 and a link-local address; while it has none this waits.
public struct RouterAdvertiser: Service {
    private let interface: String
    private let prefix: RouterAdvertisement.Prefix?
    private let group: any EventLoopGroup
    private let logger: Logger

    private static let interval = Duration.seconds(10)
    private static let answersPerSecondMax = 20

    /// An advertiser on `interface`.
    public init(
        interface: String, prefix: RouterAdvertisement.Prefix? = nil, logger: Logger,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) {
        self.interface = interface
        self.prefix = prefix
        self.group = group
        self.logger = logger
    }

    /// Advertises until cancelled or shut down; what fails is logged and tried again.
    public func run() async throws {
        var lastError = ""
        while !Task.isCancelled, !Task.isShuttingDownGracefully {
            do {
                try await cancelWhenGracefulShutdown { try await serve() }
            } catch is CancellationError {
                return
            } catch {
                let text = "\(error)"
                let level: Logger.Level = text == lastError ? .debug : .warning
                logger.log(level: level, "no router advertisements", metadata: ["why": "\(text)"])
                lastError = text
            }
            try? await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(2)) }
        }
    }

    private func serve() async throws {
        let link = try Link(interface)
        let descriptor = OwnedDescriptor(try link.openRouter())
        let message = RouterAdvertisement(sourceMAC: link.mac, prefix: prefix).bytes
        let copy = dup(descriptor.number)
        guard copy >= 0 else { throw LinkError("copy a descriptor", interface: interface, errno: errno) }
        let socket = try await DatagramSocket.open(copy, sizeMax: 2048, group: group)
        try await socket.executeThenClose { inbound, _ in
            // Whichever ends first ends the other.
            try await withThrowingTaskGroup(of: Void.self) { group in
                defer { group.cancelAll() }
                group.addTask {
                    while true {
                        try Self.send(message, descriptor, link)
                        try await Task.sleep(for: Self.interval)
                    }
                }
                group.addTask { try await answer(inbound, message, descriptor, link) }
                try await group.next()
            }
            try Task.checkCancellation()
            throw LinkError.noInterface(interface)
        }
    }

    private func answer(
        _ inbound: NIOAsyncChannelInboundStream<AddressedEnvelope<ByteBuffer>>, _ message: [UInt8],
        _ descriptor: OwnedDescriptor, _ link: Link
    ) async throws {
        var window = ContinuousClock.now
        var count = 0
        for try await envelope in inbound {
            guard RouterAdvertisement.isSolicitation(Array(envelope.data.readableBytesView)) else { continue }
            let now = ContinuousClock.now
            if now - window >= .seconds(1) { (window, count) = (now, 0) }
            count += 1
            guard count <= Self.answersPerSecondMax else { continue }
            try Self.send(message, descriptor, link)
        }
    }

    private static func send(_ message: [UInt8], _ descriptor: OwnedDescriptor, _ link: Link) throws(LinkError) {
        let error = clinux_router_send(descriptor.number, link.index, message, message.count)
        // A full queue is passed over: the next advertisement is soon enough.
        guard error == 0 || error == EAGAIN || error == ENOBUFS else {
            throw LinkError("send a router advertisement on \(link.name)", interface: link.name, errno: error)
        }
    }
}
