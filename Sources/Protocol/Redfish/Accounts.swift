import FoundationEssentials
import Primitives

/// The service's accounts and what their passwords have to be (DSP0268 AccountService).
public struct AccountService: RedfishResource, Decodable, Hashable {
    public static let typeName = "AccountService"

    /// The fewest characters of a password; nil: it does not say.
    public let passwordLengthMin: Int?
    /// The most characters of a password; nil: it does not say.
    public let passwordLengthMax: Int?
    /// The collection of accounts.
    public let accounts: ResourcePath?

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: MemberName.self)
        passwordLengthMin = container.number("MinPasswordLength").flatMap { Int(exactly: $0) }
        passwordLengthMax = container.number("MaxPasswordLength").flatMap { Int(exactly: $0) }
        accounts = container.link("Accounts")
    }
}

/// One account (DSP0268 ManagerAccount).
public struct ManagerAccount: RedfishResource, Decodable, Hashable {
    public static let typeName = "ManagerAccount"

    /// The name that is logged in with, as the service has it.
    public let userName: String?
    /// The resource's version, where the body has it.
    public let etag: EntityTag?

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: MemberName.self)
        userName = (try? container.decodeIfPresent(String.self, forKey: "UserName")) ?? nil
        etag = container.text("@odata.etag").flatMap(EntityTag.init)
    }
}

extension RedfishRequest {
    /// Gives an account another password (DSP0266, ManagerAccount `Password`, which is written and never read).
    public static func changePassword(
        _ account: ResourcePath, to password: SecretText, ifMatch: EntityTag?
    ) -> RedfishRequest {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes]
        let body = try? encoder.encode(["Password": password.revealed])
        return RedfishRequest(method: .patch, path: account, body: body.map { Array($0) }, ifMatch: ifMatch)
    }
}
