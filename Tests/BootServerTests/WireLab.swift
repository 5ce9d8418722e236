import DHCP
import Glibc
import Logging
import Primitives
import StoreMemory
import Subprocess
import Synchronization
import TestSupport
import Testing

@testable import BootServer

/// Networks of namespaces and cables that one test makes; whatever it made goes when it ends.
///
/// Names and addresses have the process's number in them, so that several test processes do not meet.
struct WireLab: Sendable {
    let directory: TemporaryDirectory
    let number = getpid()
    /// Each network is 198.18.N.0/24 or 198.19.N.0/24.
    var octet: UInt8 { UInt8(80 + number % 150) }
    private let made = Mutex2()

    private final class Mutex2: Sendable {
        let state = Mutex<(namespaces: [String], links: [String])>(([], []))
    }

    static func with(_ body: (WireLab) async throws -> Void) async throws {
        let lab = WireLab(directory: try TemporaryDirectory("wire"))
        do { try await body(lab) } catch {
            await lab.remove()
            throw error
        }
        await lab.remove()
    }

    private func remove() async {
        // Not cancelled with the test: what was made has to go.
        await Task {
            let (namespaces, links) = made.state.withLock { $0 }
            for name in namespaces {
                for word in ((try? await run(["ip", "netns", "pids", name])) ?? "").split(separator: "\n") {
                    if let process = pid_t(word) { kill(process, SIGKILL) }
                }
                _ = try? await run(["ip", "netns", "delete", name])
            }
            for link in links { _ = try? await run(["ip", "link", "delete", link]) }
        }.value
    }

    /// An address of a network of this lab; `second` gives the other network.
    func address(_ last: UInt8, second: Bool = false) -> IPv4Address {
        IPv4Address(bytes: [198, second ? 19 : 18, octet, last])
    }

    func network(second: Bool = false) throws -> IPv4Network {
        try IPv4Network(containing: address(0, second: second), prefixLength: 24)
    }

    func namespace(_ letter: String) async throws -> String {
        let name = "muster-wire-\(number)\(letter)"
        made.state.withLock { $0.namespaces.append(name) }
        try await run(["ip", "netns", "add", name])
        try await run(["ip", "-n", name, "link", "set", "lo", "up"])
        return name
    }

    /// The name of an interface that goes with the lab.
    func link(_ letter: String) -> String {
        let name = "mdw\(number)\(letter)"
        made.state.withLock { $0.links.append(name) }
        return name
    }

    /// A cable from an interface here to `far` in `namespace`.
    func cable(_ near: String, to far: String, in namespace: String) async throws {
        try await run(["ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", namespace])
        try await run(["ip", "link", "set", near, "up"])
        try await run(["ip", "-n", namespace, "link", "set", far, "up"])
    }

    @discardableResult
    func inside(_ namespace: String, _ command: String...) async throws -> String {
        try await run(["ip", "netns", "exec", namespace] + command)
    }

    @discardableResult
    func run(_ command: [String]) async throws -> String {
        let result = try await Subprocess.run(
            .name(command[0]), arguments: Arguments(Array(command.dropFirst())),
            output: .string(limit: 65536), error: .string(limit: 65536))
        guard result.terminationStatus.isSuccess else {
            throw WireCommandFailed(
                text: "\(command.joined(separator: " ")): \(result.standardOutput) \(result.standardError)")
        }
        return result.standardOutput
    }

    /// A DHCP server of another make, which gives addresses from `first` on at `interface` in `namespace`.
    func dnsmasq(in namespace: String, on interface: String, from first: IPv4Address, to last: IPv4Address) async throws
    {
        try await inside(
            namespace, "dnsmasq", "--conf-file=/dev/null", "--port=0", "--no-ping", "--leasefile-ro",
            "--interface=\(interface)", "--bind-interfaces", "--dhcp-authoritative", "--user=root",
            "--pid-file=\(directory.appending("dnsmasq.pid"))", "--dhcp-range=\(first),\(last),255.255.255.0,2m")
    }

    var logger: Logger {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }
}

struct WireCommandFailed: Error { let text: String }

/// What a server told its handlers.
final class ServerNotes: Sendable {
    let reports = Mutex<[LeaseReport]>([])
    let isListening = Mutex(false)

    var handlers: DHCPServer.Handlers {
        .init(
            report: { report in self.reports.withLock { $0.append(report) } },
            listening: { self.isListening.withLock { $0 = true } })
    }
}

/// A client made of frames: it needs no address, and hears what goes to port 68.
struct RawClient {
    let link: Link
    private let frames: FrameSender
    private let listener: DHCPListener

    init(_ interface: String) throws {
        link = try Link(interface)
        frames = try FrameSender(link)
        listener = try DHCPListener(link)
    }

    /// An iPXE client's message of `type`.
    func message(_ type: DHCPMessageType, _ transaction: UInt32) -> DHCPPacket {
        var packet = DHCPPacket(request: type, transaction: transaction, client: link.mac, broadcast: true)
        packet.options.set(.vendorClass, text: "PXEClient:Arch:00000:UNDI:002001")
        packet.options[.userClass] = Array("iPXE".utf8)
        packet.options[.clientArchitecture] = [0, 0]
        packet.options[.clientMachineIdentifier] = DHCPOptions.machineIdentifier(uuid: Array(1...16))
        return packet
    }

    /// Sends `packet` to all, or to `to` with its MAC.
    func send(_ packet: DHCPPacket, to: UDPFrame.Endpoint? = nil) throws {
        let frame = UDPFrame(
            source: .init(mac: link.mac, address: packet.clientAddress, port: 68),
            destination: to ?? .init(mac: .broadcast, address: .broadcast, port: 67), payload: try packet.encoded())
        #expect(frames.send(frame.bytes))
    }

    /// The replies to `transaction` that come until there are `count` or the time is over.
    func replies(_ transaction: UInt32, count: Int, within time: Duration = .seconds(10)) async throws -> [DHCPPacket] {
        var found: [DHCPPacket] = []
        let end = ContinuousClock.now + time
        while found.count < count, ContinuousClock.now < end {
            found += try listener.replies().map(\.packet).filter { $0.transaction == transaction }
            try await Task.sleep(for: .milliseconds(20))
        }
        return found
    }
}
