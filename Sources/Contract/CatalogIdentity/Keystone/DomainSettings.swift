import Primitives

/// A domain's own settings (Keystone API v3, "Domain configuration"); the name is the domain's. Nothing here follows them.
public typealias DomainSettings = IdentityEntry<DomainSettingsSpec>

/// Settings by group.
public struct DomainSettingsSpec: IdentitySpec {
    public static let kind = "identity.domainsettings"

    /// Settings by name, by group.
    public var groups: [String: [String: JSONValue]]
    /// Settings that are kept as secrets, `group.name` of each in order; nil: none.
    public var secrets: [String]?

    /// Settings.
    public init(groups: [String: [String: JSONValue]]) { self.groups = groups }

    /// The name of the secret that a setting of a domain, `group.name`, is.
    public static func secretName(_ domain: String, _ setting: String) -> String {
        "domainsetting." + CatalogName.joining(domain, setting)
    }
}
