import FoundationEssentials
import Primitives

/// The issuers of OpenID Connect whose tokens are taken, as the operator's file names them.
///
/// The API's identity providers say who may log in as whom; this says whom the conductor asks for keys, and for which
/// audience a token must have been made, without which a token for any other service would be good here.
public struct IssuerSettings: Sendable, Hashable {
    /// Bytes of a file.
    public static let sizeMax = 1 << 18
    /// The most issuers.
    public static let countMax = 64

    /// One issuer.
    public struct Issuer: Sendable, Hashable {
        /// Its identifier (`iss`), below which its discovery document is; compared as a text, to the last slash.
        public let url: String
        /// The audiences (`aud`) that tokens may be made for.
        public let audiences: Set<String>
        /// A PEM file of the only authorities that its server's certificate may come from; nil: the system's.
        public let caFile: String?
        /// Whether it may be at an address that is not of the public Internet.
        public let allowsPrivateAddresses: Bool

        /// An issuer.
        public init(url: String, audiences: Set<String>, caFile: String? = nil, allowsPrivateAddresses: Bool = false) {
            self.url = url
            self.audiences = audiences
            self.caFile = caFile
            self.allowsPrivateAddresses = allowsPrivateAddresses
        }
    }

    /// By their identifiers.
    public let issuers: [String: Issuer]

    /// These issuers; none: nobody can log in so.
    public init(_ issuers: [Issuer] = []) {
        self.issuers = Dictionary(issuers.map { ($0.url, $0) }) { $1 }
    }
}

/// What is wrong in the file of issuers.
public struct IssuerSettingsError: UserFacingError, Hashable {
    let path: String
    let line: Int?
    let problem: String

    /// A problem with the file as a whole.
    public init(path: String, line: Int? = nil, problem: String) {
        self.path = path
        self.line = line
        self.problem = problem
    }

    public var publicMessage: String {
        "The OpenID Connect settings \(path)\(line.map { ", line \($0)" } ?? "") cannot be used: \(problem)."
    }
}

/// An absolute `https` address with a host in lower case, and no user, query or fragment.
///
/// A host that can be written in one way only is judged and connected to as the same.
public enum SecureAddress {
    /// Whether `text` is one.
    public static func isValid(_ text: String) -> Bool {
        guard text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }), text.utf8.count <= 2048,
            let parts = URLComponents(string: text), let host = parts.percentEncodedHost, !host.isEmpty
        else { return false }
        let letters = "abcdefghijklmnopqrstuvwxyz0123456789.-[:]"
        return parts.scheme == "https" && host.allSatisfy(letters.contains) && parts.user == nil
            && parts.password == nil && parts.query == nil && parts.fragment == nil
    }
}
