import APISupport
import BlobPeers
import BlobStore
import BootServer
import CatalogBareMetal
import CatalogIdentity
import HTTPTypes
import Hummingbird
import Identity
import Logging
import NIOCore
import Primitives
import ResourceModel

/// The key that a site's conductors know each other by.
enum PeerKey {
    private static let secret = "peer-key"

    /// The key; made at the first start of the site's first conductor. Throws `VaultError`.
    static func open(in vault: SecretVault) async throws(VaultError) -> SecretText {
        try await vault.open(secret, purpose: "conductors to each other") {
            SecretText(Hex.encode(RandomBytes.system(32)))
        }
    }
}

/// What conductors ask of each other, on the port of the operators' API and by a key of their own: no operator's token and
/// no rule of the policy opens these.
///
/// | path | what |
/// |---|---|
/// | `GET, HEAD /peer/v1/blobs/<digest>` | a blob that is here, ranges possible; never fetched for the asking peer |
/// | `POST /peer/v1/blobs/wanted` | `WantedBlobs`, answered with `HeldBlobs` |
struct PeerRoutes: Sendable {
    private static let pieceSize = 256 * 1024
    private static let questionSizeMax = 64 * 1024

    let blobs: SiteBlobs
    let key: SecretText
    let audit: AuditLog
    let logger: Logger

    func addRoutes(to router: Router<FleetRequestContext>) {
        router.get(RouterPath("\(HTTPBlobPeers.path)/:digest")) { request, context in
            _ = try peer(of: request)
            return try await blob(request, context)
        }
        router.head(RouterPath("\(HTTPBlobPeers.path)/:digest")) { request, context in
            do {
                _ = try peer(of: request)
                return try await blob(request, context)
            } catch {
                // An answer to HEAD has no body, a refusal neither (RFC 9110 section 9.3.2).
                return APIError(error, requestID: context.requestID).response.createHeadResponse()
            }
        }
        router.post(RouterPath("\(HTTPBlobPeers.path)/wanted")) { request, context in
            let peer = try peer(of: request)
            return try await wanted(request, context, by: peer)
        }
    }

    /// The conductor that asks; throws `APIError` 401 for whoever has not the key.
    private func peer(of request: Request) throws(APIError) -> String {
        let given = request.headers[.authorization] ?? ""
        guard ConstantTime.equal(Array(given.utf8), Array("Bearer \(key.revealed)".utf8)) else {
            throw APIError(.unauthorized, "unauthorized", "This is for the site's conductors only.")
        }
        let name = HTTPField.Name(HTTPBlobPeers.nameHeader).flatMap { request.headers[$0] } ?? "?"
        return name.printable(limit: 80)
    }

    private func blob(_ request: Request, _ context: FleetRequestContext) async throws -> Response {
        let digest = try Digest(hex: try context.parameters.require("digest"))
        let file = try await blobs.local.offPool { (blobs) throws(BlobError) in try blobs.open(digest) }
        var headers: HTTPFields = [.contentType: "application/octet-stream", .acceptRanges: "bytes"]
        var range = 0..<file.size
        var status = HTTPResponse.Status.ok
        switch ByteRange.parse(request.headers[.range], size: file.size) {
        case .whole: break
        case .part(let part):
            (range, status) = (part, .partialContent)
            headers[.contentRange] = "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(file.size)"
        case .unsatisfiable:
            headers[.contentRange] = "bytes */\(file.size)"
            return Response(status: .rangeNotSatisfiable, headers: headers)
        }
        headers[.contentLength] = String(range.count)
        guard request.method != .head else { return Response(status: status, headers: headers) }
        let local = blobs.local
        let body = ResponseBody(contentLength: range.count) { [range] writer in
            var offset = range.lowerBound
            while offset < range.upperBound {
                let (start, count) = (offset, Int(min(UInt64(Self.pieceSize), range.upperBound - offset)))
                let piece = try await local.offPool { (_) throws(BlobError) in try file.read(at: start, count: count) }
                try await writer.write(ByteBuffer(bytes: piece))
                offset += UInt64(count)
            }
            try await writer.finish(nil)
        }
        return Response(status: status, headers: headers, body: body)
    }

    private func wanted(
        _ request: Request, _ context: FleetRequestContext, by peer: String
    ) async throws -> Response {
        let question = try await request.decode(WantedBlobs.self, limit: Self.questionSizeMax)
        let lacking = try await blobs.local.offPool { $0.missing(from: question.digests) }
        let answer = try await blobs.answer(question)
        let copied = Set(lacking).intersection(answer.held).count
        if copied > 0, let subject = question.subject {
            // What a peer's operator brings is on this conductor's disk now; inventories come and go without an event, as
            // registrations do.
            try await audit.record(
                AuditEventSpec(
                    who: "conductor:\(peer)", from: context.remoteAddress, requestID: context.requestID, verb: "copy",
                    resource: ResourceKey(kind: "blob", name: blobs.name), outcome: .ok,
                    summary: "\(copied) blobs of \(subject.printable(limit: 100))"))
        }
        return .json(answer)
    }
}
