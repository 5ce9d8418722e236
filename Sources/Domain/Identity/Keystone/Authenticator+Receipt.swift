import CatalogIdentity
import Primitives

/// What a user has who has shown some of the methods that they need (Keystone API v3, "Multi-Factor Authentication").
public struct LoginReceipt: Sendable, Hashable {
    /// The receipt itself, which goes with the next request.
    public let text: String
    /// Whose it is.
    public let user: User
    /// The user's domain.
    public let domain: Project?
    /// What was shown.
    public let methods: [String]
    /// The lists of the user's rules that have any of it; one of them has to be shown as a whole.
    public let rules: [[String]]
    /// When it was made.
    public let issued: Timestamp
    /// When it ends.
    public let expires: Timestamp
}

extension Authenticator {
    /// The methods that there are.
    static let methods: Set<String> = ["password", "totp", "token", "application_credential", "oauth1"]

    /// Holds a user to the lists of methods that their options ask for; throws `AuthenticationError`.
    ///
    /// What a receipt of the same user says was shown counts. One that is not good is refused, needed or not.
    func checkFactors(_ finding: inout Finding, receipt: String?) throws(AuthenticationError) {
        if let receipt {
            for method in try methods(of: receipt, for: finding.user) where !finding.methods.contains(method) {
                finding.methods.append(method)
            }
        }
        let options = UserOptions(finding.user.spec.options ?? [:])
        guard !options.areSatisfied(by: Set(finding.methods), available: Self.methods) else { return }
        throw .moreMethods(try self.receipt(for: finding, options))
    }

    private func methods(of receipt: String, for user: User) throws(AuthenticationError) -> [String] {
        let payload: TokenPayload
        do { payload = try tokens.receiptSealer.open(receipt) } catch {
            throw .refused("the receipt is not good: \(error.diagnostic)")
        }
        guard payload.userID == user.id, clock.now < payload.expires,
            user.spec.tokensFrom.map({ payload.issued >= $0 }) ?? true
        else { throw .refused("the receipt has ended, or is another user's") }
        return payload.methods
    }

    private func receipt(for finding: Finding, _ options: UserOptions) throws(AuthenticationError) -> LoginReceipt {
        let (now, id) = (clock.now, Self.auditID(random))
        let payload = TokenPayload(
            userID: finding.user.id, methods: finding.methods, scope: .unscoped, issued: now,
            expires: now.advanced(by: settings.receiptLifetime), auditID: id, auditChainID: id)
        let text: String
        do { text = try tokens.receiptSealer.seal(payload, random: random) } catch {
            throw .refused("the receipt cannot be sealed: \(error.diagnostic)")
        }
        let rules = options.factorRules.map { Self.methods.intersection($0) }
        return LoginReceipt(
            text: text, user: finding.user, domain: directory().domain(finding.user.spec.domainID),
            methods: finding.methods,
            rules: rules.filter { !$0.isDisjoint(with: finding.methods) }.map { $0.sorted() }, issued: now,
            expires: payload.expires)
    }
}
