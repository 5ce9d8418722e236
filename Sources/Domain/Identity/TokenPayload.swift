import Primitives

/// What an identity token says: whose it is, for what, since when and until when.
public struct TokenPayload: Sendable, Hashable {
    /// What the token's roles are for.
    public enum Scope: Sendable, Hashable {
        case unscoped
        case project(String)
        case domain(String)
        case system
    }

    /// The identity provider that vouched for the user, and what it said of them.
    public struct Federation: Sendable, Hashable {
        /// The provider's identifier.
        public var identityProvider: String
        /// The protocol's identifier, for example `openid`.
        public var `protocol`: String
        /// The groups that the mapping gave, beside those the user is a member of.
        public var groupIDs: [String]

        /// What `identityProvider` said by `protocol`.
        public init(identityProvider: String, protocol: String, groupIDs: [String]) {
            self.identityProvider = identityProvider
            self.protocol = `protocol`
            self.groupIDs = groupIDs
        }
    }

    /// The user.
    public var userID: String
    /// How the user has proved who they are, for example `password`, `totp`; an order and repeats are kept.
    public var methods: [String]
    /// What the token is for.
    public var scope: Scope
    /// When it was made.
    public var issued: Timestamp
    /// When it ends. A token made from another one ends with that.
    public var expires: Timestamp
    /// The token's own identifier in audit records.
    public var auditID: String
    /// The first token that this one comes from; equal to `auditID` for a first token.
    public var auditChainID: String
    /// The trust that it was made from.
    public var trustID: String?
    /// The application credential that it was made from.
    public var applicationCredentialID: String?
    /// The OAuth 1.0a access token that it was made from.
    public var accessTokenID: String?
    /// Who vouched for a federated user.
    public var federation: Federation?

    /// Whether it was got by what somebody has lent or left with a program: a trust, an application credential, an access
    /// token, an EC2 credential. Such a token makes nothing that outlives the loan, and no other token.
    public var isDelegated: Bool {
        trustID != nil || applicationCredentialID != nil || accessTokenID != nil || isOfEC2Credential
    }

    /// Whether it was got by an EC2 credential.
    public var isOfEC2Credential: Bool { methods.contains(Self.ec2Method) }

    /// How far the clocks of conductors may differ: a token may be made so much later than now.
    static let clockSlack: Duration = .seconds(60)

    /// The method of tokens that were got by an EC2 credential.
    static let ec2Method = "ec2credential"

    /// A token's payload.
    public init(
        userID: String, methods: [String], scope: Scope, issued: Timestamp, expires: Timestamp, auditID: String,
        auditChainID: String, trustID: String? = nil, applicationCredentialID: String? = nil,
        accessTokenID: String? = nil, federation: Federation? = nil
    ) {
        self.userID = userID
        self.methods = methods
        self.scope = scope
        self.issued = issued
        self.expires = expires
        self.auditID = auditID
        self.auditChainID = auditChainID
        self.trustID = trustID
        self.applicationCredentialID = applicationCredentialID
        self.accessTokenID = accessTokenID
        self.federation = federation
    }
}

// MARK: - The bytes inside the seal
//
//   1  flags: bits 0-1 the scope (unscoped, project, domain, system), then one bit for each part that may be missing
//   2  methods that are known, one bit each in the order of `knownMethods`; the top bit: a list of names follows instead
//   n  issued, in milliseconds since 1970; then the milliseconds until `expires`
//   n  user, scope's identifier, audit, chain (if another), trust, application credential, access token, federation
//
// Numbers are LEB128, signed ones in zigzag. An identifier is a form byte and its bytes (see `IdentifierForm`).
extension TokenPayload {
    private struct Flags: OptionSet {
        let rawValue: UInt8
        static let chain = Flags(rawValue: 1 << 2)
        static let trust = Flags(rawValue: 1 << 3)
        static let applicationCredential = Flags(rawValue: 1 << 4)
        static let accessToken = Flags(rawValue: 1 << 5)
        static let federation = Flags(rawValue: 1 << 6)
        static let scopeMask: UInt8 = 0b11
        static let all: UInt8 = 0b0111_1111
    }

    /// The methods with a bit of their own. New ones are added at the end: tokens live through an upgrade.
    static let knownMethods = [
        "password", "token", "application_credential", "totp", "oauth1", "mapped", "openid", "saml2", "external",
        "trust", "oauth2_credential", "ec2credential",
    ]
    /// The most methods or groups that are read.
    static let listCountMax = 1024
    private static let namedMethods: UInt16 = 1 << 15

    /// The payload's compact form.
    package var encoded: [UInt8] {
        var writer = PayloadWriter()
        let (scopeCode, scopeID): (UInt8, String?) =
            switch scope {
            case .unscoped: (0, nil)
            case .project(let id): (1, id)
            case .domain(let id): (2, id)
            case .system: (3, nil)
            }
        var flags: Flags = []
        if auditChainID != auditID { flags.insert(.chain) }
        if trustID != nil { flags.insert(.trust) }
        if applicationCredentialID != nil { flags.insert(.applicationCredential) }
        if accessTokenID != nil { flags.insert(.accessToken) }
        if federation != nil { flags.insert(.federation) }
        writer.byte(flags.rawValue | scopeCode)
        encodeMethods(to: &writer)
        writer.signed(issued.millisecondsSinceEpoch)
        writer.signed(expires.millisecondsSinceEpoch &- issued.millisecondsSinceEpoch)
        writer.identifier(userID)
        if let scopeID { writer.identifier(scopeID) }
        writer.identifier(auditID)
        if flags.contains(.chain) { writer.identifier(auditChainID) }
        for id in [trustID, applicationCredentialID, accessTokenID] {
            if let id { writer.identifier(id) }
        }
        if let federation {
            writer.identifier(federation.identityProvider)
            writer.identifier(federation.protocol)
            writer.list(federation.groupIDs)
        }
        return writer.bytes
    }

    private func encodeMethods(to writer: inout PayloadWriter) {
        var bits: UInt16 = 0
        var last = -1
        for method in methods {
            // A bit tells neither an order nor a repeat: what has another one is written out.
            guard let index = Self.knownMethods.firstIndex(of: method), index > last else {
                writer.sixteen(Self.namedMethods)
                return writer.list(methods)
            }
            bits |= 1 << UInt16(index)
            last = index
        }
        writer.sixteen(bits)
    }

    /// Reads the compact form; nil for bytes that are not one, as a whole.
    package init?(decoding bytes: [UInt8]) {
        var reader = PayloadReader(bytes)
        guard let first = reader.byte(), first & ~Flags.all == 0 else { return nil }
        let flags = Flags(rawValue: first & ~Flags.scopeMask)
        guard let methods = Self.decodeMethods(&reader), let issued = reader.signed(), let length = reader.signed(),
            let userID = reader.identifier()
        else { return nil }
        self.methods = methods
        self.userID = userID
        self.issued = Timestamp(millisecondsSinceEpoch: issued)
        expires = Timestamp(millisecondsSinceEpoch: issued &+ length)
        switch first & Flags.scopeMask {
        case 0: scope = .unscoped
        case 3: scope = .system
        case let code:
            guard let id = reader.identifier() else { return nil }
            scope = code == 1 ? .project(id) : .domain(id)
        }
        guard let auditID = reader.identifier() else { return nil }
        self.auditID = auditID
        auditChainID = auditID
        func optional(_ flag: Flags) -> String?? {
            guard flags.contains(flag) else { return .some(nil) }
            return reader.identifier().map(Optional.some)
        }
        guard let chain = optional(.chain), let trust = optional(.trust),
            let credential = optional(.applicationCredential), let accessToken = optional(.accessToken)
        else { return nil }
        if let chain { auditChainID = chain }
        trustID = trust
        applicationCredentialID = credential
        accessTokenID = accessToken
        if flags.contains(.federation) {
            guard let provider = reader.identifier(), let name = reader.identifier(), let groups = reader.list() else {
                return nil
            }
            federation = Federation(identityProvider: provider, protocol: name, groupIDs: groups)
        }
        guard reader.isAtEnd else { return nil }
    }

    private static func decodeMethods(_ reader: inout PayloadReader) -> [String]? {
        guard let bits = reader.sixteen() else { return nil }
        if bits == namedMethods { return reader.list() }
        guard bits >> UInt16(knownMethods.count) == 0 else { return nil }
        return knownMethods.indices.compactMap { bits & 1 << UInt16($0) == 0 ? nil : knownMethods[$0] }
    }
}
