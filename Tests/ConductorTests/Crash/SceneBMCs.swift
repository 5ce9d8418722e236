import CLinux
import Foundation
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix

/// A Redfish service (DSP0266) in a namespace, with a system for each machine of a scene.
struct SceneBMCs {
    static let address = CrashBed.address
    static let port: UInt16 = 8000

    private let channel: any Channel

    /// Serves `machines` until it is closed.
    static func serve(_ machines: [CrashMachine], in namespace: String) async throws -> SceneBMCs {
        let socket = try await listen(in: namespace)
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(withErrorHandling: false)
                    try channel.pipeline.syncOperations.addHandler(
                        Handler { await answer($0, $1, $2, of: machines) })
                }
            }
            .withBoundSocket(socket).get()
        return SceneBMCs(channel: channel)
    }

    func close() async { try? await channel.close() }

    /// A socket of the namespace, made by a thread that ends in it.
    private static func listen(in namespace: String) async throws -> Int32 {
        try await withCheckedThrowingContinuation { done in
            Thread {
                let space = open("/run/netns/\(namespace)", O_RDONLY | O_CLOEXEC)
                defer { Glibc.close(space) }
                guard space >= 0, clinux_enter_network_namespace(space) == 0 else {
                    return done.resume(throwing: CrashError(what: "cannot enter \(namespace)"))
                }
                let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
                var address = sockaddr_in()
                address.sin_family = sa_family_t(AF_INET)
                address.sin_port = in_port_t(port).bigEndian
                inet_pton(AF_INET, Self.address, &address.sin_addr)
                let code = withUnsafePointer(to: &address) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
                }
                guard code == 0 else { return done.resume(throwing: CrashError(what: "cannot bind \(port)")) }
                done.resume(returning: descriptor)
            }.start()
        }
    }

    private static func answer(
        _ method: String, _ path: String, _ body: String, of machines: [CrashMachine]
    ) async -> (status: Int, body: String) {
        let root = "/redfish/v1"
        let parts = path.split(separator: "/").map(String.init)
        if parts.count <= 2 {
            return (
                200,
                """
                {"@odata.type":"#ServiceRoot.v1_5_0.ServiceRoot","@odata.id":"\(root)","Id":"RootService",
                "RedfishVersion":"1.6.0","Systems":{"@odata.id":"\(root)/Systems"}}
                """
            )
        }
        if parts.count == 3 {
            let members = machines.map { #"{"@odata.id":"\#(root)/Systems/\#($0.name)"}"# }.joined(separator: ",")
            return (
                200,
                """
                {"@odata.type":"#ComputerSystemCollection.ComputerSystemCollection","@odata.id":"\(root)/Systems",
                "Members":[\(members)]}
                """
            )
        }
        guard let machine = machines.first(where: { $0.name == parts[3] }) else { return (404, "{}") }
        switch (method, parts.count) {
        case ("GET", 4): return (200, await machine.system)
        case ("PATCH", 4):
            guard let target = body.firstMatch(of: /"BootSourceOverrideTarget":"(\w+)"/) else { return (400, "{}") }
            await machine.setOverride(String(target.output.1), isOnce: body.contains("\"Once\""))
            return (204, "")
        case ("POST", _):
            guard let type = body.firstMatch(of: /"ResetType":"(\w+)"/) else { return (400, "{}") }
            await machine.reset(String(type.output.1))
            return (204, "")
        default: return (405, "{}")
        }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let answer: @Sendable (String, String, String) async -> (status: Int, body: String)
        private var head: HTTPRequestHead?
        private var body = ""

        init(_ answer: @escaping @Sendable (String, String, String) async -> (status: Int, body: String)) {
            self.answer = answer
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): (self.head, body) = (head, "")
            case .body(let buffer): body += String(buffer: buffer)
            case .end:
                guard let head else { return }
                let (answer, body) = (answer, body)
                let promise = context.eventLoop.makePromise(of: (status: Int, body: String).self)
                promise.completeWithTask { await answer(head.method.rawValue, head.uri, body) }
                let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
                promise.futureResult.whenSuccess { Self.send($0, bound.value) }
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        private static func send(_ answer: (status: Int, body: String), _ context: ChannelHandlerContext) {
            var headers = HTTPHeaders([("Content-Type", "application/json")])
            if answer.status != 204 { headers.add(name: "Content-Length", value: "\(answer.body.utf8.count)") }
            let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: answer.status), headers: headers)
            context.write(NIOAny(HTTPServerResponsePart.head(head)), promise: nil)
            if answer.status != 204 {
                context.write(
                    NIOAny(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(string: answer.body)))), promise: nil)
            }
            context.writeAndFlush(NIOAny(HTTPServerResponsePart.end(nil)), promise: nil)
        }
    }
}
