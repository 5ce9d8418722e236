import Glibc
import Logging
import NIOCore
import NIOPosix
import Primitives
import Subprocess
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import BootServer

/// Real TFTP clients against the server, on the loopback interface.
@Suite(.serialized) struct TFTPServerTests {
    /// Not a whole number of any block size that is used here, and then one that is.
    private static let files: [String: [UInt8]] = {
        var random = SeededRandom(seed: 8)
        func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) } }
        return ["snponly.efi": bytes(174_081), "even": bytes(1024), "boot/x.efi": bytes(5)]
    }()

    private func run(
        limits: TFTPServer.Limits = .init(), _ body: @escaping @Sendable (Int) async throws -> Void
    ) async throws {
        let (ports, told) = AsyncStream.makeStream(of: Int.self)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let server = TFTPServer(
            address: try IPv4Address("127.0.0.1"), port: 0, files: { Self.files[$0] }, limits: limits, logger: logger,
            onListening: { told.yield($0) })
        try await withDeadline(.seconds(60)) {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await server.run() }
                var iterator = ports.makeAsyncIterator()
                let port = try #require(await iterator.next())
                defer { group.cancelAll() }
                try await body(port)
            }
        }
    }

    private func client(_ command: [String]) async throws -> (status: TerminationStatus, output: [UInt8], text: String)
    {
        let result = try await Subprocess.run(
            .name(command[0]), arguments: Arguments(Array(command.dropFirst())), output: .bytes(limit: 1 << 20),
            error: .string(limit: 65536))
        return (result.terminationStatus, result.standardOutput, result.standardError)
    }

    @Test(arguments: ["snponly.efi", "even", "boot/x.efi"])
    func `curl, busybox and atftp get files with all options`(_ name: String) async throws {
        try await run { port in
            let folder = try TemporaryDirectory("tftp")
            defer { withExtendedLifetime(folder) {} }
            let file = folder.appending("got")
            let atftp = ["atftp", "--get", "--remote-file", name, "--local-file", file]
            let commands: [[String]] = [
                ["curl", "-sS", "--tftp-no-options", "-o", file, "tftp://127.0.0.1:\(port)/\(name)"],
                ["curl", "-sS", "--tftp-blksize", "1468", "-o", file, "tftp://127.0.0.1:\(port)//\(name)"],
                ["busybox", "tftp", "-g", "-r", name, "-l", file, "127.0.0.1", "\(port)"],
                ["busybox", "tftp", "-g", "-b", "1468", "-r", "/\(name)", "-l", file, "127.0.0.1", "\(port)"],
                atftp + ["127.0.0.1", "\(port)"],
                atftp + ["--option", "blksize 1428", "--option", "windowsize 8", "127.0.0.1", "\(port)"],
                atftp + ["--option", "tsize", "--option", "windowsize 64", "127.0.0.1", "\(port)"],
            ]
            for command in commands {
                unlink(file)
                let result = try await client(command)
                #expect(result.status == .exited(0), "\(command): \(result.text)")
                let got = try? await client(["cat", file]).output
                #expect(got == Self.files[name], "\(command): \(got?.count ?? -1) bytes")
            }
        }
    }

    @Test func `what is not there, leads upwards or is to be written is refused at once`() async throws {
        try await run { port in
            for name in ["none", "../etc/passwd", "%2fetc%2fpasswd", "SNPONLY.EFI"] {
                let result = try await client(["curl", "-sS", "--path-as-is", "tftp://127.0.0.1:\(port)/\(name)"])
                #expect(result.status == .exited(68), "\(name): \(result.text)")
            }
            let write = try await client(["curl", "-sS", "-T", "/etc/hostname", "tftp://127.0.0.1:\(port)/even"])
            #expect(write.status == .exited(69), "\(write.text)")
        }
    }

    @Test func `one client has so many transfers at once, and a repeated request is one transfer`() async throws {
        var limits = TFTPServer.Limits()
        limits.clientTransferCountMax = 2
        try await run(limits: limits) { port in
            let request: [UInt8] = [0, 1] + Array("snponly.efi\0octet\0".utf8)
            var answers: [[UInt8]] = []
            let server = try SocketAddress(ipAddress: "127.0.0.1", port: port)
            var sockets: [DatagramSocket.Channel] = []
            for _ in 0..<3 {
                sockets.append(
                    try await DatagramSocket.open(
                        host: try IPv4Address("127.0.0.1"), port: 0, sizeMax: 2000,
                        group: MultiThreadedEventLoopGroup.singleton))
            }
            for socket in sockets {
                let data = ByteBuffer(bytes: request)
                for _ in 0..<2 {
                    try await socket.channel.writeAndFlush(AddressedEnvelope(remoteAddress: server, data: data)).get()
                }
                let answer = try await socket.executeThenClose { inbound, _ in
                    try await inbound.first { _ in true }.map { Array($0.data.readableBytesView) }
                }
                answers.append(try #require(answer))
            }
            #expect(answers.map { Array($0.prefix(4)) } == [[0, 3, 0, 1], [0, 3, 0, 1], [0, 5, 0, 0]])
        }
    }
}
