import HTTPTypes
import Hummingbird
import HummingbirdCore
import ImageChunks
import Logging
import NetworkBoot
import NIOCore
import NIOPosix
import Primitives

/// The plain-HTTP server that machines boot from: scripts, kernels, ramdisks, the CA certificate, image chunks.
///
/// | Path | Answer |
/// |---|---|
/// | `GET /boot/ipxe?mac=M&uuid=U&serial=S` | the boot script; `mac` is required |
/// | `GET, HEAD /boot/programs/<name>` | a program of `BootPrograms` |
/// | `GET, HEAD /boot/<image>/vmlinuz`, `/boot/<image>/initrd.zst` | a file of a boot image, ranges possible |
/// | `GET, HEAD /boot/blobs/<digest>` | a public blob, ranges possible |
/// | `GET, HEAD /boot/media/<token>/boot.iso` | the medium of a BMC, ranges possible |
/// | `GET, HEAD /boot/ca.pem` | the CA certificate |
/// | `GET, HEAD /images/<manifest digest>/chunks?from=N` | chunk N and all after it, each as a `ChunkFrame` |
///
/// Errors are one line of plain text. When too many streams are open the answer is 503 with `Retry-After`.
public struct BootHTTP: Sendable {
    let content: BootContent
    let limits: Limits
    let logger: Logger
    let addresses: AddressLimit
    let imageStreams: PlaceLimit
    let fileStreams: PlaceLimit
    let counters: BootCounters

    /// The most there may be of each.
    public struct Limits: Hashable, Sendable {
        /// Image streams at once.
        public var imageStreamCountMax = 16
        /// Kernel and ramdisk downloads at once.
        public var fileStreamCountMax = 64
        /// Connections at once.
        public var connectionCountMax = 1024
        /// Bytes of path and query.
        public var targetSizeMax = 2048
        /// Bytes of all header fields.
        public var headerSizeMax = 16 * 1024
        /// Seconds after which a client that takes nothing, or asks nothing, is disconnected.
        public var stallTimeout = Duration.seconds(60)
        /// How long a new client may take for the head of its first request.
        public var firstRequestTimeout = FirstRequestDeadline.timeout

        /// The defaults.
        public init() {}
    }

    /// A server of `content`; `addresses` has a place for each connection.
    public init(
        content: BootContent, limits: Limits = Limits(), addresses: AddressLimit = AddressLimit(64),
        counters: BootCounters = BootCounters(), logger: Logger
    ) {
        self.addresses = addresses
        self.counters = counters
        self.content = content
        self.limits = limits
        self.logger = logger
        imageStreams = PlaceLimit(limits.imageStreamCountMax)
        fileStreams = PlaceLimit(limits.fileStreamCountMax)
    }

    /// The whole server as a service. `port` 0 takes a free one; `onListening` is given the port.
    public func application(
        host: String, port: Int, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        onListening: @escaping @Sendable (Int) async -> Void = { _ in }
    ) -> some ApplicationProtocol {
        let router = Router(context: BootHTTPContext.self)
        addRoutes(to: router)
        let timeout = TimeAmount.milliseconds(limits.stallTimeout.milliseconds)
        let (limits, addresses) = (limits, addresses)
        let server = HTTPServerBuilder { responder in
            let configuration = HTTP1Channel.Configuration(
                additionalChannelHandlers: [
                    FirstRequestDeadline(timeout: limits.firstRequestTimeout), StalledWriteHandler(timeout: timeout),
                ], idleTimeout: timeout,
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: limits.headerSizeMax, maxHeaderListSize: limits.headerSizeMax,
                    maxHeaderFieldCount: 64))
            return BoundedChannel(HTTP1Channel(responder: responder, configuration: configuration), addresses)
        }
        return Application(
            router: router, server: server,
            configuration: .init(
                address: .hostname(host, port: port),
                availableConnectionsDelegate: MaximumAvailableConnections(limits.connectionCountMax)),
            onServerRunning: { channel in await onListening(channel.localAddress?.port ?? 0) },
            eventLoopGroupProvider: .shared(group), logger: logger)
    }

    /// Adds the routes of the table to a router.
    public func addRoutes(to router: Router<BootHTTPContext>) {
        router.add(middleware: BootCounterMiddleware(counters: counters))
        router.add(middleware: HeadAnswers<BootHTTPContext>())
        router.add(middleware: TargetLimit<BootHTTPContext>(sizeMax: limits.targetSizeMax))
        router.get("/boot/ipxe") { request, context in await script(request, context) }
        for method in [HTTPRequest.Method.get, .head] {
            router.on("/boot/ca.pem", method: method) { _, _ in await authority() }
            router.on("/boot/programs/:name", method: method) { _, context in program(context) }
            router.on("/boot/blobs/:digest", method: method) { request, context in
                await blob(request, context)
            }
            router.on("/boot/media/:token/boot.iso", method: method) { request, context in
                await medium(request, context)
            }
            for name in BootFileName.allCases {
                router.on("/boot/:image/\(name.rawValue)", method: method) { request, context in
                    await file(request, context, name)
                }
            }
            router.on("/images/:manifest/chunks", method: method) { request, context in
                await chunks(request, context)
            }
        }
    }

    private func script(_ request: Request, _ context: BootHTTPContext) async -> Response {
        do {
            let query = request.uri.queryParameters
            guard let mac = query["mac"] else {
                throw InvalidValue(
                    "boot request", "", expected: "the query parameter mac, as in ?mac=52:54:00:77:00:01")
            }
            let boot = BootRequest(
                mac: try MACAddress(mac), uuid: try query["uuid"].map(Self.uuid),
                serial: try query["serial"].map(Self.serial), remoteAddress: context.remoteAddress)
            var response = Self.text(.ok, await content.decide(boot).text)
            response.headers[.cacheControl] = "no-store"
            return response
        } catch {
            return refuse(error)
        }
    }

    private func authority() async -> Response {
        do {
            var response = Self.text(.ok, try await content.authorityPEM())
            response.headers[.contentType] = "application/x-pem-file"
            return response
        } catch {
            return refuse(error)
        }
    }

    private func program(_ context: BootHTTPContext) -> Response {
        guard let name = context.parameters.get("name"), let bytes = content.programs.bytes(named: name) else {
            return Self.notFound("boot program of this name")
        }
        let response = Response(
            status: .ok, headers: [.contentType: "application/efi"], body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
        return response
    }

    private static func uuid(_ text: Substring) throws(InvalidValue) -> String {
        let digits = text.filter { $0 != "-" }
        guard text.utf8.count == 36, let bytes = Hex.decode(digits), bytes.count == 16,
            UUIDText.format(bytes) == text.lowercased()
        else {
            throw InvalidValue("uuid", String(text), expected: "a UUID such as 01234567-89ab-cdef-0123-456789abcdef")
        }
        return text.lowercased()
    }

    private static func serial(_ text: Substring) throws(InvalidValue) -> String {
        guard text.count <= 64, String(text).hasOnlyPrintableScalars else {
            throw InvalidValue("serial", String(text), expected: "at most 64 printable characters")
        }
        return String(text)
    }

    /// A line of text.
    static func text(_ status: HTTPResponse.Status, _ text: String) -> Response {
        Response(
            status: status, headers: [.contentType: "text/plain; charset=utf-8"],
            body: .init(byteBuffer: ByteBuffer(string: text)))
    }

    /// The answer for an error: 400 for a wrong value, else 500 with the cause in the log only.
    func refuse(_ error: any Error) -> Response {
        if let invalid = error as? InvalidValue { return Self.text(.badRequest, invalid.publicMessage + "\n") }
        logger.warning("a boot request failed", metadata: ["error": "\(error)"])
        return Self.text(.internalServerError, "The conductor could not read what was asked for; its log says why.\n")
    }

    static func notFound(_ what: String) -> Response { text(.notFound, "There is no \(what) here.\n") }

    static func busy(_ what: String) -> Response {
        var response = text(.serviceUnavailable, "Too many \(what) at once; try again in 5 seconds.\n")
        response.headers[.retryAfter] = "5"
        return response
    }
}

/// What a request brings with it.
public struct BootHTTPContext: RequestContext {
    public var coreContext: CoreRequestContextStorage
    /// The client's address, as text.
    public let remoteAddress: String?
    let channel: any Channel

    public init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        channel = source.channel
        remoteAddress = source.channel.remoteAddress?.ipAddress
    }
}

/// Leaves out the body of every answer to HEAD, refusals too (RFC 9110 section 9.3.2): a client that keeps the connection
/// would take it for the next answer.
struct HeadAnswers<Context: RequestContext>: RouterMiddleware {
    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let response = try await next(request, context)
        return request.method == .head ? response.createHeadResponse() : response
    }
}

/// Refuses requests whose path and query are too long.
struct TargetLimit<Context: RequestContext>: RouterMiddleware {
    let sizeMax: Int

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        guard request.uri.string.utf8.count <= sizeMax else {
            return BootHTTP.text(.uriTooLong, "The path and query may have at most \(sizeMax) bytes.\n")
        }
        return try await next(request, context)
    }
}
