import FoundationEssentials
import HTTPTypes
import Hummingbird
import NIOCore
import Primitives

extension Request {
    /// Reads and decodes the body; throws `APIError` 413 over `limit` bytes, 415 for another content type, and 400
    /// that names the field that is wrong.
    public func decode<T: Decodable>(
        _ type: T.Type, limit: Int = RequestLimits.bodySizeMax
    ) async throws -> T {
        if let contentType = headers[.contentType] {
            let mediaType = contentType.prefix { $0 != ";" && $0 != " " }.lowercased()
            guard mediaType == "application/json" else {
                throw APIError(
                    .unsupportedMediaType, "unsupported_media_type",
                    "The body must be application/json, not '\(mediaType.printable(limit: 80))'.")
            }
        }
        let buffer: ByteBuffer
        do {
            buffer = try await wholeBody(upTo: limit)
        } catch is NIOTooManyBytesError {
            throw APIError.bodyTooLarge(limit: limit)
        }
        do {
            return try JSONDecoder().decode(type, from: Data(buffer.readableBytesView))
        } catch let error as DecodingError {
            throw APIError(error)
        }
    }
}

extension Request {
    /// The whole body; throws `APIError` 408 when it has not come within `RequestLimits.bodyTimeout`: who sends a byte now
    /// and then would hold a place for ever.
    public func wholeBody(upTo limit: Int) async throws -> ByteBuffer {
        let body = body
        return try await withThrowingTaskGroup(of: ByteBuffer.self) { group in
            group.addTask { try await body.collect(upTo: limit) }
            group.addTask {
                try await Task.sleep(for: RequestLimits.bodyTimeout)
                throw APIError(
                    .requestTimeout, "too_slow", "The body did not come within \(RequestLimits.bodyTimeout).")
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { return ByteBuffer() }
            return first
        }
    }
}

extension Response {
    /// An answer with `value` as JSON; members are in the order of their names.
    public static func json(_ value: some Encodable, status: HTTPResponse.Status = .ok) -> Response {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            return json(bytes: Array(try encoder.encode(value)), status: status)
        } catch {
            let text = #"{"error":{"code":"internal","message":"The answer cannot be encoded."}}"#
            return json(bytes: Array(text.utf8), status: .internalServerError)
        }
    }

    /// An answer with JSON that is encoded already.
    public static func json(bytes: [UInt8], status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status, headers: [.contentType: "application/json", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }
}

extension APIError {
    /// A 400 that names the field by its path, for example `spec.disks[1].serial`.
    init(_ error: DecodingError) {
        let message =
            switch error {
            case .keyNotFound(let key, let context):
                "The field '\(Self.path(context.codingPath + [key]))' is missing."
            case .typeMismatch(let type, let context):
                "The field '\(Self.path(context.codingPath))' must be \(Self.name(of: type))."
            case .valueNotFound(let type, let context):
                "The field '\(Self.path(context.codingPath))' is null and must be \(Self.name(of: type))."
            case .dataCorrupted(let context) where context.codingPath.isEmpty:
                "The body is not valid JSON."
            case .dataCorrupted(let context):
                "The field '\(Self.path(context.codingPath))' is wrong: \(context.debugDescription.printable(limit: 300))"
            @unknown default:
                "The body cannot be decoded."
            }
        self.init(.badRequest, "invalid_body", message)
    }

    private static func path(_ keys: [any CodingKey]) -> String {
        var text = ""
        for key in keys {
            if let index = key.intValue {
                text += "[\(index)]"
            } else {
                text += text.isEmpty ? key.stringValue : ".\(key.stringValue)"
            }
        }
        return text.isEmpty ? "(the whole body)" : text.printable(limit: 200)
    }

    private static func name(of type: any Any.Type) -> String {
        switch "\(type)" {
        case "String": "a text"
        case "Bool": "true or false"
        case "Double", "Float": "a number"
        case let name where name.hasPrefix("Int") || name.hasPrefix("UInt"): "a whole number"
        case let name where name.hasPrefix("Array"): "an array"
        case let name where name.hasPrefix("Dictionary"): "an object"
        case let name: "a \(name)"
        }
    }
}
