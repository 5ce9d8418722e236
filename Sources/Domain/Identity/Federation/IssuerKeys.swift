import FoundationEssentials
import Primitives

/// Gets documents of identity providers; what it may reach is its own to bound.
public protocol IssuerDocuments: Sendable {
    /// The body at an `https` address that belongs to `issuer`; throws `IssuerFetchError`.
    func document(
        at address: String, of issuer: IssuerSettings.Issuer
    ) async throws(IssuerFetchError) -> [UInt8]
}

/// Why a document of an identity provider could not be had.
public struct IssuerFetchError: Error, Hashable {
    /// For the log.
    public let why: String

    /// A reason.
    public init(_ why: String) { self.why = why }
}

/// The keys that issuers publish (OpenID Connect Discovery 1.0 section 4; JWK sets, RFC 7517 section 5).
///
/// They are fetched when they are first needed and anew after an hour. A token that names another key is a reason to look
/// again, once a minute at most, however many such tokens come; so is a provider that did not answer.
actor IssuerKeys {
    /// How long keys are believed; a key that was withdrawn is good for no longer.
    static let lifetime = Duration.seconds(3600)
    /// The time between two tries.
    static let pause = Duration.seconds(60)
    /// The most keys of an issuer that are looked at.
    static let countMax = 100

    private struct Entry {
        var keys: [VerificationKey] = []
        /// When these were fetched.
        var fetched: Timestamp?
        /// When it was last tried.
        var tried: Timestamp?
        var problem: FederationError?
        var pending: Task<Void, Never>?
    }

    private let documents: any IssuerDocuments
    private let clock: any WallClock
    private let report: @Sendable (FederationError) -> Void
    private var entries: [String: Entry] = [:]

    init(
        documents: any IssuerDocuments, clock: any WallClock, report: @escaping @Sendable (FederationError) -> Void
    ) {
        self.documents = documents
        self.clock = clock
        self.report = report
    }

    /// Those keys of `issuer` that may have signed `token`, none when it has no such key; throws
    /// `FederationError.unavailable`.
    func candidates(
        for token: SignedToken, of issuer: IssuerSettings.Issuer
    ) async throws(FederationError) -> [VerificationKey] {
        if let found = known(token, issuer), !found.isEmpty { return found }
        if let pending = entries[issuer.url]?.pending {
            await pending.value
        } else if isTime(entries[issuer.url]?.tried, Self.pause) {
            entries[issuer.url, default: Entry()].tried = clock.now
            // It serves all who wait, so it does not end with the first of them.
            let fetch = Task { await refresh(issuer) }
            entries[issuer.url]?.pending = fetch
            await fetch.value
        }
        if let found = known(token, issuer) { return found }
        throw entries[issuer.url]?.problem ?? .unavailable(issuer: issuer.url, why: "they were not fetched")
    }

    /// The keys that fit; nil: there are none that are new enough to be believed.
    private func known(_ token: SignedToken, _ issuer: IssuerSettings.Issuer) -> [VerificationKey]? {
        guard let entry = entries[issuer.url], let fetched = entry.fetched, !isTime(fetched, Self.lifetime) else {
            return nil
        }
        return entry.keys.filter { $0.fits(token) }
    }

    /// Whether `pause` is over since `time`; also when the clock was set back before it.
    private func isTime(_ time: Timestamp?, _ pause: Duration) -> Bool {
        guard let time else { return true }
        let passed = clock.now.since(time)
        return passed >= pause || passed < .zero
    }

    private func refresh(_ issuer: IssuerSettings.Issuer) async {
        do {
            let keys = try await fetch(issuer)
            entries[issuer.url]?.keys = keys
            entries[issuer.url]?.fetched = clock.now
            entries[issuer.url]?.problem = nil
        } catch {
            let problem = FederationError.unavailable(issuer: issuer.url, why: error.why)
            entries[issuer.url]?.problem = problem
            report(problem)
        }
        entries[issuer.url]?.pending = nil
    }

    private func fetch(_ issuer: IssuerSettings.Issuer) async throws(IssuerFetchError) -> [VerificationKey] {
        let base = issuer.url.hasSuffix("/") ? String(issuer.url.dropLast()) : issuer.url
        let discovery = try await object(at: "\(base)/.well-known/openid-configuration", issuer)
        guard discovery["issuer"]?.string == issuer.url else {
            throw IssuerFetchError("its discovery document is of another issuer")
        }
        guard let address = discovery["jwks_uri"]?.string, SecureAddress.isValid(address) else {
            throw IssuerFetchError("its discovery document has no 'jwks_uri' that is an https address")
        }
        let listed = try await object(at: address, issuer)["keys"]?.array ?? []
        let keys = listed.prefix(Self.countMax).compactMap(VerificationKey.init)
        guard !keys.isEmpty else { throw IssuerFetchError("\(address) has no key for signatures that is taken here") }
        return keys
    }

    private func object(
        at address: String, _ issuer: IssuerSettings.Issuer
    ) async throws(IssuerFetchError) -> [String: JSONValue] {
        let body = try await documents.document(at: address, of: issuer)
        guard let object = (try? JSONDecoder().decode(JSONValue.self, from: Data(body)))?.object else {
            throw IssuerFetchError("\(address) is no JSON object")
        }
        return object
    }
}
