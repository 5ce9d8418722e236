import Crypto
import Primitives
import ResourceModel

/// What is asked for of one noun of the identity API; its `IdentityEntry` is the resource.
public protocol IdentitySpec: Codable, Sendable, Hashable {
    /// The kind's stored name, for example `identity.user`.
    static var kind: String { get }
    /// The version of the stored form that this program writes.
    static var schemaVersion: Int { get }
    /// Bytes of a document.
    static var documentSizeMax: ByteCount { get }
}

extension IdentitySpec {
    public static var schemaVersion: Int { 1 }
    public static var documentSizeMax: ByteCount { .kibibytes(16) }
}

/// A noun of the identity API. Nobody but its API writes it, so there is no status.
///
/// The resource's name is its identifier where that is one of ours (32 hexadecimal digits), or `CatalogName.of` an
/// identifier that callers choose.
public struct IdentityEntry<Spec: IdentitySpec>: Resource {
    public static var kind: String { Spec.kind }
    public static var schemaVersion: Int { Spec.schemaVersion }
    public static var documentSizeMax: ByteCount { Spec.documentSizeMax }

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// A new entry.
    public init(name: String, created: Timestamp, spec: Spec) {
        metadata = Metadata(name: name, schemaVersion: Spec.schemaVersion, created: created)
        self.spec = spec
        status = NoStatus()
    }

    /// The resource's name.
    public var id: String { metadata.name }
}

/// Names under which things are stored whose identifiers callers choose.
public enum CatalogName {
    /// The prefix of names that are digests.
    static let digestPrefix = "sha256~"

    /// `identifier` itself where a key may be called so, else its digest; no two identifiers get one name.
    public static func of(_ identifier: String) -> String {
        isProper(identifier.utf8) ? identifier : digestPrefix + digest(of: identifier)
    }

    private static func isProper(_ text: String.UTF8View) -> Bool {
        guard (1...100).contains(text.count), !text.starts(with: digestPrefix.utf8) else { return false }
        return text.allSatisfy { byte in
            byte >= 0x21 && byte <= 0x7E && byte != UInt8(ascii: "/") && byte != UInt8(ascii: ",")
        }
    }

    /// SHA-256 of a text's UTF-8, in hexadecimal digits.
    static func digest(of text: String) -> String { Hex.encode(Array(SHA256.hash(data: Array(text.utf8)))) }

    /// The name of what joins several things.
    public static func joining(_ names: String...) -> String { names.map(of).joined(separator: ",") }
}
