import HTTPTypes
import Hummingbird
import HummingbirdCore
import ImageChunks
import Logging
import NIOCore
import Primitives

extension BootHTTP {
    private static let pieceSize = 256 * 1024

    func blob(_ request: Request, _ context: BootHTTPContext) async -> Response {
        do {
            let digest = try Digest(hex: context.parameters.get("digest") ?? "")
            guard try await content.isPublic(digest) else { return Self.notFound("such file") }
            return try await file(request, context, digest)
        } catch {
            return refuse(error)
        }
    }

    func file(_ request: Request, _ context: BootHTTPContext, _ name: BootFileName) async -> Response {
        do {
            guard let image = context.parameters.get("image"), let digest = try await content.file(image, name) else {
                return Self.notFound("boot image of this name")
            }
            return try await file(request, context, digest)
        } catch {
            return refuse(error)
        }
    }

    func medium(_ request: Request, _ context: BootHTTPContext) async -> Response {
        do {
            let token = context.parameters.get("token") ?? ""
            guard let medium = await content.medium(token) else { return Self.notFound("such medium") }
            return try await file(request, context, medium.image, filledIn: medium)
        } catch {
            return refuse(error)
        }
    }

    /// A blob, or the one range of it that is asked for; a medium's place is filled in.
    private func file(
        _ request: Request, _ context: BootHTTPContext, _ digest: Digest, filledIn medium: BootContent.Medium? = nil
    ) async throws -> Response {
        guard let size = try await content.blobs.size(of: digest) else { return Self.notFound("such file") }
        var headers: HTTPFields = [
            .contentType: "application/octet-stream", .acceptRanges: "bytes", .eTag: "\"\(digest)\"",
        ]
        var range = 0..<size
        var status = HTTPResponse.Status.ok
        switch ByteRange.parse(request.headers[.range], size: size) {
        case .whole: break
        case .part(let part):
            (range, status) = (part, .partialContent)
            headers[.contentRange] = "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(size)"
        case .unsatisfiable:
            headers[.contentRange] = "bytes */\(size)"
            headers[.contentType] = nil
            return Response(status: .rangeNotSatisfiable, headers: headers)
        }
        headers[.contentLength] = String(range.count)
        if let medium {
            headers[.contentType] = "application/x-iso9660-image"
            // The image's own digest would name the same bytes for every conductor.
            let own = medium.bytes.withUnsafeBytes { ChunkDigest(of: $0) }.digest
            headers[.eTag] = "\"\(digest)-\(own.hex.prefix(16))\""
        }
        guard request.method != .head else { return Response(status: status, headers: headers) }
        guard let slot = fileStreams.take() else { return Self.busy("downloads") }
        let blobs = content.blobs
        let body = ResponseBody(contentLength: range.count) { [range] writer in
            defer { withExtendedLifetime(slot) {} }
            var offset = range.lowerBound
            while offset < range.upperBound {
                let count = Int(min(UInt64(Self.pieceSize), range.upperBound - offset))
                var piece = try await blobs.read(digest, at: offset, count: count)
                medium?.fill(&piece, at: offset)
                try await context.write(piece, to: &writer)
                offset += UInt64(count)
            }
            try await writer.finish(nil)
        }
        return Response(status: status, headers: headers, body: body)
    }

    /// The chunks of an image from one on, each as a frame, in disk order.
    func chunks(_ request: Request, _ context: BootHTTPContext) async -> Response {
        do {
            let digest = try Digest(hex: context.parameters.get("manifest") ?? "")
            guard let manifest = try await content.manifest(digest) else { return Self.notFound("such image") }
            let count = manifest.chunks.count
            let text = request.uri.queryParameters["from"] ?? "0"
            guard let first = Int(text), (0...count).contains(first) else {
                throw InvalidValue("first chunk", String(text), expected: "a number from 0 to \(count)")
            }
            let chunks = manifest.chunks[first...]
            let length = chunks.reduce(0) { $0 + ChunkFrame.headerLength + $1.storedLength }
            let headers: HTTPFields = [
                .contentType: "application/octet-stream", .contentLength: String(length),
            ]
            guard request.method != .head else { return Response(status: .ok, headers: headers) }
            guard let slot = imageStreams.take() else { return Self.busy("image streams") }
            // A stream that breaks off at a chunk begins again there: what is wrong with that one is told here.
            let begun: ByteBuffer?
            do { begun = chunks.isEmpty ? nil : try await frame(first, chunks[first]) } catch {
                return Self.unreadable(chunk: first, of: digest, error)
            }
            let body = ResponseBody(contentLength: length) { writer in
                defer { withExtendedLifetime(slot) {} }
                if let begun { try await context.write(begun, to: &writer) }
                for index in chunks.indices.dropFirst() {
                    let next: ByteBuffer
                    do { next = try await frame(index, chunks[index]) } catch {
                        // A client that did not get all chunks before this one would ask for those again, and not be
                        // told what is wrong here.
                        try await context.drain()
                        throw error
                    }
                    try await context.write(next, to: &writer)
                }
                try await writer.finish(nil)
            }
            return Response(status: .ok, headers: headers, body: body)
        } catch {
            return refuse(error)
        }
    }

    /// A refusal, not a fault that may pass: asking again does not mend a chunk.
    private static func unreadable(chunk: Int, of image: Digest, _ error: any Error) -> Response {
        let why = (error as? any UserFacingError)?.publicMessage ?? "It cannot be read; the conductor's log says why."
        return text(
            .conflict,
            "Chunk \(chunk) of the image \(image) is not to be had from the conductor. \(why) Push the image again "
                + "(muster image push), then deploy the node again.\n")
    }

    private func frame(_ index: Int, _ chunk: ImageChunk) async throws -> ByteBuffer {
        do {
            let stored = try await content.blobs.read(chunk.blob, at: 0, count: chunk.storedLength)
            var frame = ByteBuffer()
            frame.reserveCapacity(ChunkFrame.headerLength + chunk.storedLength)
            frame.writeBytes(ChunkFrame.header(index: index, storedLength: chunk.storedLength))
            frame.writeImmutableBuffer(stored)
            return frame
        } catch {
            logger.error(
                "an image chunk cannot be read; import the image again",
                metadata: ["chunk": "\(index)", "blob": "\(chunk.blob)", "error": "\(error)"])
            throw error
        }
    }
}

extension BootContent.Medium {
    /// Puts what stands in the place over the part of it that `piece`, which begins at `offset`, covers.
    func fill(_ piece: inout ByteBuffer, at offset: UInt64) {
        let start = max(place, offset)
        let end = min(place + UInt64(bytes.count), offset + UInt64(piece.readableBytes))
        guard start < end else { return }
        let part = bytes[Int(start - place)..<Int(end - place)]
        piece.setBytes(part, at: piece.readerIndex + Int(start - offset))
    }
}

extension BootHTTPContext {
    /// Writes a piece of a body, and returns when the connection's event loop has taken it.
    ///
    /// A writer waits only when the event loop has said that the connection takes no more. While the loop is busy it
    /// cannot say so, and a whole image would pile up in its queue; going there and back bounds that to one piece.
    fileprivate func write(_ piece: ByteBuffer, to writer: inout any ResponseBodyWriter) async throws {
        try await writer.write(piece)
        try await channel.eventLoop.submit {}.get()
    }

    /// Waits until the socket has taken all that was written: closing a connection forgets the rest. Throws when the
    /// connection ends before.
    fileprivate func drain() async throws {
        try await channel.triggerUserOutboundEvent(StalledWriteHandler.AwaitWritten()).get()
    }
}

/// What a Range header asks for (RFC 9110 section 14.2); several ranges and other units are taken as the whole.
public enum ByteRange: Hashable, Sendable {
    /// All of it.
    case whole
    /// These bytes.
    case part(Range<UInt64>)
    /// None that there are.
    case unsatisfiable

    /// Reads a header's value for something of `size` bytes.
    public static func parse(_ header: String?, size: UInt64) -> ByteRange {
        guard let header, header.hasPrefix("bytes=") else { return .whole }
        let bounds = header.dropFirst(6).split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard bounds.count == 2 else { return .whole }
        if bounds[0].isEmpty {
            guard let count = UInt64(bounds[1]) else { return .whole }
            return count == 0 || size == 0 ? .unsatisfiable : .part(size - min(count, size)..<size)
        }
        guard let first = UInt64(bounds[0]) else { return .whole }
        var last = UInt64.max - 1
        if !bounds[1].isEmpty {
            guard let given = UInt64(bounds[1]), given >= first else { return .whole }
            last = min(given, last)
        }
        return first < size ? .part(first..<min(last + 1, size)) : .unsatisfiable
    }
}
