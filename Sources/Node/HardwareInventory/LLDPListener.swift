import AgentProtocol
import CLinux
import Glibc
import LLDP
import LinuxSystem
import Primitives
import Synchronization

/// Hears what switches say of themselves on each Ethernet card (LLDP), from when it is made on.
///
/// The kernel keeps the frames; nobody waits for them. A card on which nothing comes costs a socket. Needs root; what
/// cannot be listened to is left out.
public final class LLDPListener: Sendable {
    private static let ethernet = "1"
    private static let cardCountMax = 64
    /// The most frames that are read of a card at a time.
    private static let frameCountMax = 32
    private static let frameSizeMax = 1600

    /// Descriptors by the cards' names.
    private let sockets: [String: Int32]
    private let heard = Mutex<[String: InventoryReport.Neighbour]>([:])

    /// Listens on the cards of hardware that there are now.
    public convenience init() {
        let folder = "/sys/class/net"
        self.init(
            interfaces: SystemFile.names(in: folder).filter { name in
                SystemFile.linkName("\(folder)/\(name)/device/driver") != nil
                    && SystemFile.text("\(folder)/\(name)/type", limit: 16) == Self.ethernet
            })
    }

    /// Listens on these interfaces.
    init(interfaces: [String]) {
        var sockets: [String: Int32] = [:]
        for name in interfaces.sorted().prefix(Self.cardCountMax) {
            let socket = clinux_lldp_listener(if_nametoindex(name))
            if socket >= 0 { sockets[name] = socket }
        }
        self.sockets = sockets
    }

    /// The newest that each card has heard, by its name; returns at once. A neighbour that has said that it goes is none.
    public func neighbours() -> [String: InventoryReport.Neighbour] {
        heard.withLock { heard in
            for (name, socket) in sockets {
                guard let found = Self.newest(socket) else { continue }
                heard[name] =
                    found.timeToLive > 0
                    ? InventoryReport.Neighbour(switchName: found.switchName, port: found.port) : nil
            }
            return heard
        }
    }

    private static func newest(_ socket: Int32) -> LLDPNeighbour? {
        var newest: LLDPNeighbour?
        var buffer = [UInt8](repeating: 0, count: frameSizeMax)
        for _ in 0..<frameCountMax {
            let count = clinux_receive(socket, &buffer, buffer.count)
            // A card that goes down says so once.
            if count == -Int(ENETDOWN) || count == -Int(EINTR) { continue }
            guard count >= 0 else { break }
            guard count <= buffer.count else { continue }
            if let neighbour = try? LLDPNeighbour(Array(buffer[..<count])) { newest = neighbour }
        }
        return newest
    }

    deinit { for socket in sockets.values { close(socket) } }
}
