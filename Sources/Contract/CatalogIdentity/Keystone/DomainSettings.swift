import Primitives

/// A domain's own settings (Keystone API v3, "Domain configuration"); the name is the domain's. Nothing here follows them.
public typealias DomainSettings = IdentityEntry<DomainSettingsSpec>

/// Settings by group.
public struct DomainSettingsSpec: IdentitySpec {
    public static let kind = "identity.domainsettings"

    /// Settings by name, by group.
    public var groups: [String: [String: JSONValue]]

    /// Settings.
    public init(groups: [String: [String: JSONValue]]) { self.groups = groups }
}
