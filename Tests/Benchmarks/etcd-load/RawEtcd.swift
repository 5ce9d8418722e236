import FoundationEssentials
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import StoreEtcd

/// The least that speaks to etcd: one connection to the first member and the generated stubs.
final class RawEtcd: Sendable {
    private let client: GRPCClient<HTTP2ClientTransport.Posix>
    private let connections: Task<Void, Never>

    init(_ configuration: EtcdConfiguration) throws {
        let rest = configuration.endpoints[0].split(separator: "/").last ?? ""
        guard let tls = configuration.tls, let colon = rest.lastIndex(of: ":"),
            let port = Int(rest[rest.index(after: colon)...])
        else { throw LoadError("the bare stubs need https://ADDRESS:PORT") }
        let client = GRPCClient(
            transport: try HTTP2ClientTransport.Posix(
                target: .ipv4(address: String(rest[..<colon]), port: port),
                transportSecurity: .mTLS(
                    certificateChain: [.file(path: tls.certificate, format: .pem)],
                    privateKey: .file(path: tls.key, format: .pem)
                ) { $0.trustRoots = .certificates([.file(path: tls.authority, format: .pem)]) }))
        self.client = client
        connections = Task { try? await client.runConnections() }
    }

    func close() { connections.cancel() }

    /// The revision that last changed `key`, 0 when it is not there; a linearizable read.
    func revision(of key: Data) async throws -> Int64 {
        var request = Etcdserverpb_RangeRequest()
        request.key = key
        return try await Etcdserverpb_KV.Client(wrapping: client).range(request).kvs.first?.modRevision ?? 0
    }

    /// Writes if nobody has since `revision`; returns the new one.
    func write(_ key: Data, _ value: Data, after revision: Int64) async throws -> Int64 {
        var request = Etcdserverpb_TxnRequest()
        var compare = Etcdserverpb_Compare()
        compare.key = key
        compare.target = .mod
        compare.result = .equal
        compare.modRevision = revision
        request.compare = [compare]
        var put = Etcdserverpb_RequestOp()
        put.requestPut.key = key
        put.requestPut.value = value
        request.success = [put]
        let response = try await Etcdserverpb_KV.Client(wrapping: client).txn(request)
        guard response.succeeded else { throw LoadError("a write of one's own was refused") }
        return response.header.revision
    }
}
