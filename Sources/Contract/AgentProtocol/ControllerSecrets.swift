import Primitives

/// `controller.secrets`: a node that the control plane names has to have a certificate for the store and the site's
/// master key, and may ask for both over its stream. Key `secrets`. Neither is in the view.
public struct ControllerSecretsItem: ControllerItem {
    public static let kind = "controller.secrets"
    public static let key = "secrets"
    /// The address of its own that its certificate has to name, beside 127.0.0.1.
    public var address: IPv4Address
    /// SHA-256 of the certificate of the store's authority, in DER: the one that its certificate has to be of.
    public var authority: Digest

    /// What a controller has to have.
    public init(address: IPv4Address, authority: Digest) {
        self.address = address
        self.authority = authority
    }

    public func validate() throws(InvalidValue) {
        guard address.bytes != [0, 0, 0, 0], address != Self.loopback else {
            throw InvalidValue("address of a controller", "\(address)", expected: "one at which others reach it")
        }
    }

    /// The address at which a controller reaches its own services.
    public static let loopback = IPv4Address(0x7F00_0001)
}

/// A controller asks for what `ControllerSecretsItem` says that it has to have.
public struct ControllerSecretsRequest: Codable, Sendable, Hashable {
    /// A signing request (RFC 2986) in PEM for a key that never leaves the node. Its names are not read.
    public var signingRequest: String

    /// A request.
    public init(signingRequest: String) { self.signingRequest = signingRequest }
}

/// The conductor's answer to `ControllerSecretsRequest`.
public enum ControllerSecretsReply: Codable, Sendable, Hashable {
    /// What was asked for.
    case granted(ControllerSecrets)
    /// Why not, and what to do.
    case refused(message: String)
}

/// What makes a node a controller: who has it may read and write all that the site holds.
///
/// Its only encoded form is the message on the agent's stream, which is encrypted.
public struct ControllerSecrets: Sendable {
    /// The certificate for the store, in PEM: good as server and as client.
    public var certificate: String
    /// The certificate of the store's authority, in PEM.
    public var authority: String
    /// The content of the file with the site's master keys.
    public var masterKey: SecretText

    /// Secrets.
    public init(certificate: String, authority: String, masterKey: SecretText) {
        self.certificate = certificate
        self.authority = authority
        self.masterKey = masterKey
    }
}

extension ControllerSecrets: Hashable {
    public func hash(into hasher: inout Hasher) { hasher.combine(certificate) }
}

extension ControllerSecrets: Codable {
    private enum CodingKeys: String, CodingKey {
        case certificate
        case authority
        case masterKey
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            certificate: try container.decode(String.self, forKey: .certificate),
            authority: try container.decode(String.self, forKey: .authority),
            masterKey: try container.decode(SecretText.self, forKey: .masterKey))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(certificate, forKey: .certificate)
        try container.encode(authority, forKey: .authority)
        try container.encode(masterKey.revealed, forKey: .masterKey)
    }
}
