import Crypto
import Primitives
import ResourceModel

/// What is asked for of one noun of the identity API; its `IdentityEntry` is the resource.
public protocol IdentitySpec: Codable, Sendable, Hashable {
    /// The kind's stored name, for example `identity.user`.
    static var kind: String { get }
    /// The version of the stored form that this program writes.
    static var schemaVersion: Int { get }
}

extension IdentitySpec {
    public static var schemaVersion: Int { 1 }
}

/// A noun of the identity API. Nobody but its API writes it, so there is no status.
///
/// The resource's name is its identifier where that is one of ours (32 hexadecimal digits), or `CatalogName.of` an
/// identifier that callers choose.
public struct IdentityEntry<Spec: IdentitySpec>: Resource {
    public static var kind: String { Spec.kind }
    public static var schemaVersion: Int { Spec.schemaVersion }

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
        let isProper =
            (1...100).contains(identifier.utf8.count) && !identifier.hasPrefix(digestPrefix)
            && !identifier.contains(",")
            && identifier.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "/") }
        return isProper ? identifier : digestPrefix + digest(of: identifier)
    }

    /// SHA-256 of a text's UTF-8, in hexadecimal digits.
    static func digest(of text: String) -> String { Hex.encode(Array(SHA256.hash(data: Array(text.utf8)))) }

    /// The name of what joins several things.
    public static func joining(_ names: String...) -> String { names.map(of).joined(separator: ",") }
}
