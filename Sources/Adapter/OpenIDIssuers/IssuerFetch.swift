import AsyncHTTPClient
import FoundationEssentials
import Identity
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Primitives

/// Fetches the documents of identity providers over HTTPS.
///
/// A name is looked up once, its address is judged, and the connection goes to that one; so a name that changes its
/// address meanwhile leads nowhere else. Redirects are not followed. Time and size are bounded.
public struct IssuerFetch: IssuerDocuments {
    /// Bytes of a document.
    public static let sizeMax = 256 << 10

    private let time: Duration
    /// The authorities of issuers with a file of them, by the issuer.
    private let authorities: [String: [NIOSSLCertificate]]

    /// Reads the authorities' files; throws `IssuerSettingsError` for one that cannot be used.
    public init(_ settings: IssuerSettings, path: String, time: Duration = .seconds(10)) throws(IssuerSettingsError) {
        self.time = time
        var authorities: [String: [NIOSSLCertificate]] = [:]
        for issuer in settings.issuers.values {
            guard let file = issuer.caFile else { continue }
            guard let found = try? NIOSSLCertificate.fromPEMFile(file), !found.isEmpty else {
                throw IssuerSettingsError(
                    path: path, problem: "the caFile '\(file.printable(limit: 200))' has no certificates in PEM")
            }
            authorities[issuer.url] = found
        }
        self.authorities = authorities
    }

    public func document(
        at address: String, of issuer: IssuerSettings.Issuer
    ) async throws(IssuerFetchError) -> [UInt8] {
        guard let parts = URLComponents(string: address), parts.scheme == "https", let host = parts.host else {
            throw IssuerFetchError("'\(address.printable(limit: 200))' is no https address")
        }
        do {
            return try await Deadline.within(time) {
                let target = try await Self.address(of: host, issuer)
                return try await get(address, issuer, overrides: [host: target])
            }
        } catch let error as IssuerFetchError {
            throw error
        } catch is NIOTooManyBytesError {
            throw IssuerFetchError("\(address) is larger than \(Self.sizeMax) bytes")
        } catch {
            throw IssuerFetchError("\(address): \("\(error)".printable(limit: 300))")
        }
    }

    private func get(
        _ address: String, _ issuer: IssuerSettings.Issuer, overrides: [String: String]
    ) async throws -> [UInt8] {
        var tls = TLSConfiguration.makeClientConfiguration()
        if let found = authorities[issuer.url] { tls.trustRoots = .certificates(found) }
        var configuration = HTTPClient.Configuration(
            tlsConfiguration: tls, redirectConfiguration: .disallow, timeout: .init(connect: .seconds(3)))
        configuration.httpVersion = .http1Only
        configuration.dnsOverride = overrides
        configuration.connectionPool.retryConnectionEstablishment = false
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        // A server that does not end TLS as it should holds this up for seconds, and nobody has to wait for it.
        defer { Task { try? await client.shutdown() } }
        var request = HTTPClientRequest(url: address)
        request.headers = ["Accept": "application/json", "User-Agent": "muster"]
        let response = try await client.execute(request, deadline: .now() + .milliseconds(time.milliseconds))
        guard response.status == .ok else {
            throw IssuerFetchError(
                "\(address) answers \(response.status.code); give the issuer's own address, as no redirect is followed")
        }
        return Array(try await response.body.collect(upTo: Self.sizeMax).readableBytesView)
    }

    /// The address that the system prefers for a host, if it may be spoken to.
    private static func address(of host: String, _ issuer: IssuerSettings.Issuer) async throws -> String {
        let bare = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
        let found = try await NIOThreadPool.singleton.runIfActive {
            try SocketAddress.makeAddressResolvingHost(bare, port: 443)
        }
        guard let address = found.ipAddress else { throw IssuerFetchError("there is no address of \(host)") }
        guard issuer.allowsPrivateAddresses || PublicAddress.isPublic(address) else {
            throw IssuerFetchError(
                "\(host) is at \(address), which is not of the public Internet; "
                    + "set 'allowPrivateAddresses: true' for \(issuer.url) if that is right")
        }
        return address
    }
}

/// Work that ends at a deadline.
private enum Deadline {
    static func within<Result: Sendable>(
        _ time: Duration, _ work: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        try await withThrowingTaskGroup(of: Result.self) { group in
            group.addTask { try await work() }
            group.addTask {
                try await Task.sleep(for: time)
                throw IssuerFetchError("no whole answer within \(time)")
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw CancellationError() }
            return first
        }
    }
}
