import FoundationEssentials
import Primitives
import ResourceModel

/// A password, key or token, stored as a sealed envelope only; no API answers with it.
public struct Secret: Resource {
    public static let kind = "identity.secret"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: SecretSpec
    public var status: SecretStatus

    /// A sealed secret.
    public init(name: String, created: Timestamp, spec: SecretSpec) {
        metadata = Metadata(name: name, schemaVersion: Self.schemaVersion, created: created)
        self.spec = spec
        status = SecretStatus()
    }
}

/// What a secret is for, and its envelope.
public struct SecretSpec: Codable, Sendable, Hashable {
    /// For people, for example `password of the BMC of rack1-n1`.
    public var purpose: String
    /// The sealed text.
    public var envelope: SecretEnvelope

    /// A secret's specification.
    public init(purpose: String, envelope: SecretEnvelope) {
        self.purpose = purpose
        self.envelope = envelope
    }
}

/// A text sealed with a data key of its own, which is sealed with the master key (AES-256-GCM, NIST SP 800-38D).
public struct SecretEnvelope: Codable, Sendable, Hashable {
    /// Names the master key: the first 16 hexadecimal digits of its SHA-256 digest.
    public var keyID: String
    /// The data key sealed with the master key: nonce, ciphertext and tag in one.
    public var wrappedKey: Data
    /// The 12-byte nonce of `ciphertext`.
    public var nonce: Data
    /// The sealed text, then its 16-byte tag.
    public var ciphertext: Data

    /// An envelope.
    public init(keyID: String, wrappedKey: Data, nonce: Data, ciphertext: Data) {
        self.keyID = keyID
        self.wrappedKey = wrappedKey
        self.nonce = nonce
        self.ciphertext = ciphertext
    }
}

/// What is known of a stored secret.
public struct SecretStatus: Codable, Sendable, Hashable {
    /// When its data key was last wrapped anew for another master key.
    public var rewrapped: Timestamp?

    /// Never wrapped anew.
    public init() {}
}
