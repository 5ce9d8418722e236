import Primitives

/// The operators' API: JSON over HTTPS below `/fleet/v1`, with a bearer token but for the version document and `ready`.
public enum FleetPath {
    /// The type of the operators' API in the cloud's catalog.
    public static let serviceType = "fleet"
    /// The version document.
    public static let root = "/fleet/v1"
    /// Whether this conductor can be given work: 200, or 503 and why not. Needs no token.
    public static let ready = "/fleet/v1/ready"
    /// The conductor's own figures for Prometheus.
    public static let metrics = "/metrics"

    /// A path below the root, each part escaped.
    public static func below(_ parts: String...) -> String {
        parts.reduce(root) { $0 + "/" + $1.percentEncoded }
    }
}

/// The most that the API takes in one request or gives in one answer.
public enum FleetLimit {
    /// Bytes of a JSON body.
    public static let bodySize = ByteCount.mebibytes(1)
    /// Bytes of a request with digests to look for.
    public static let digestListSize = ByteCount.mebibytes(4)
    /// Digests of one request.
    public static let digestCount = 50_000
    /// Bytes of a batch of blobs.
    public static let batchSize = ByteCount.mebibytes(64)
    /// Bytes of one blob in a batch.
    public static let batchBlobSize = ByteCount.mebibytes(64)
    /// Bytes of a blob that is sent alone.
    public static let blobSize = ByteCount.gibibytes(2)
    /// Entries of one page.
    public static let pageCount = 500
    /// Nodes of one answer with figures.
    public static let topCount = 5000
    /// Lines of a log in one answer.
    public static let logLineCount = 5000
    /// Watches at once.
    public static let watchCount = 64
}

/// The version document: what answers here. Needs no token.
public struct VersionDocument: Codable, Sendable, Hashable {
    /// `muster`.
    public var product: String
    /// The conductor's version.
    public var version: String
    /// The API's path, `/fleet/v1`.
    public var api: String
    /// Rises when the API gets more paths or fields.
    public var revision: Int

    /// A version document.
    public init(version: String) {
        product = "muster"
        self.version = version
        api = FleetPath.root
        revision = 1
    }
}

/// The body of every error answer: `{"error":{"code":"…","message":"…"}}`.
public struct ErrorReply: Codable, Sendable, Hashable {
    /// The error.
    public var error: Content

    /// Code and message.
    public struct Content: Codable, Sendable, Hashable {
        /// For programs, for example `not_found`.
        public var code: String
        /// What is wrong and what to do; for people.
        public var message: String

        /// An error's content.
        public init(code: String, message: String) {
            self.code = code
            self.message = message
        }
    }

    /// An error.
    public init(code: String, message: String) { error = Content(code: code, message: message) }
}
