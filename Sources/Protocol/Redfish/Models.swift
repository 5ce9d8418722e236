import FoundationEssentials
import Primitives

// What is used of the Redfish data model (DSP0268). Members that are absent, or of a type that they should not have,
// are nil; members that are not known are skipped.

/// A resource that can be read from a service.
public protocol RedfishResource: Sendable {
    /// The text that `@odata.type` has after `#`, for example `ComputerSystem`; nil: anything.
    static var typeName: String { get }
    /// Decodes the members that are used.
    init(from decoder: any Decoder) throws
}

/// The entry to a service (DSP0268 ServiceRoot).
public struct ServiceRoot: RedfishResource, Decodable, Hashable {
    public static let typeName = "ServiceRoot"

    /// The version of the protocol.
    public let redfishVersion: String?
    /// The manufacturer of the BMC.
    public let vendor: String?
    /// The collection of systems.
    public let systems: ResourcePath?
    /// The collection of sessions; nil: the service has none.
    public let sessions: ResourcePath?
    /// Its accounts; nil: none can be seen.
    public let accounts: ResourcePath?

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: MemberName.self)
        redfishVersion = container.text("RedfishVersion")
        vendor = container.text("Vendor")
        systems = container.link("Systems")
        accounts = container.link("AccountService")
        sessions = (try? container.nestedContainer(keyedBy: MemberName.self, forKey: "Links"))?.link("Sessions")
    }
}

/// A collection of links (DSP0266 section 7.7).
public struct ResourceCollection: RedfishResource, Decodable, Hashable {
    public static let typeName = "Collection"
    /// The most members that are looked at.
    public static let memberCountMax = 1000

    /// The members, at most `memberCountMax`.
    public let members: [ResourcePath]

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: MemberName.self)
        let links = try container.decode([Lenient<Link>].self, forKey: "Members")
        members = links.prefix(Self.memberCountMax).compactMap { $0.value?.path }
    }
}

/// A machine (DSP0268 ComputerSystem).
public struct ComputerSystem: RedfishResource, Decodable, Hashable {
    public static let typeName = "ComputerSystem"

    /// Its path as it says itself.
    public let path: ResourcePath?
    /// Its identifier in the collection.
    public let id: String
    /// The SMBIOS UUID as given.
    public let uuid: String?
    /// The serial number.
    public let serialNumber: String?
    /// The manufacturer.
    public let manufacturer: String?
    /// The model.
    public let model: String?
    /// The power.
    public let powerState: Power?
    /// The boot override.
    public let boot: Boot?
    /// How to reset it.
    public let reset: ResetAction?
    /// The chassis that it is in.
    public let chassis: [ResourcePath]
    /// The BMCs that manage it.
    public let managers: [ResourcePath]
    /// Its virtual drives; nil: it has none, or its BMC has them.
    public let virtualMedia: ResourcePath?
    /// The resource's version, where the body has it.
    public let etag: EntityTag?

    /// Values of `PowerState`; what is not one of them is nil.
    public enum Power: String, Sendable, Hashable, Decodable {
        case on = "On"
        case off = "Off"
        case poweringOn = "PoweringOn"
        case poweringOff = "PoweringOff"
        case paused = "Paused"
    }

    /// The object `Boot`.
    public struct Boot: Sendable, Hashable {
        /// What is booted in place of the normal order.
        public let target: String?
        /// `Once`, `Continuous` or `Disabled`.
        public let enabled: String?
        /// What the target may be; nil: it does not say.
        public let allowableTargets: [String]?
    }

    /// The action `#ComputerSystem.Reset`.
    public struct ResetAction: Sendable, Hashable {
        /// Where to post it.
        public let target: ResourcePath
        /// What it can do; nil: it does not say.
        public let allowableTypes: [String]?
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: MemberName.self)
        id = try container.decode(String.self, forKey: "Id").printable(limit: 128)
        path = try? container.decodeIfPresent(ResourcePath.self, forKey: "@odata.id")
        uuid = container.text("UUID")
        serialNumber = container.text("SerialNumber")
        manufacturer = container.text("Manufacturer")
        model = container.text("Model")
        powerState = try? container.decodeIfPresent(Power.self, forKey: "PowerState")
        virtualMedia = container.link("VirtualMedia")
        etag = container.text("@odata.etag").flatMap(EntityTag.init)
        let links = try? container.nestedContainer(keyedBy: MemberName.self, forKey: "Links")
        chassis = links?.links("Chassis") ?? []
        managers = links?.links("ManagedBy") ?? []
        boot = (try? container.nestedContainer(keyedBy: MemberName.self, forKey: "Boot")).map { boot in
            Boot(
                target: boot.text("BootSourceOverrideTarget"), enabled: boot.text("BootSourceOverrideEnabled"),
                allowableTargets: boot.texts("BootSourceOverrideTarget@Redfish.AllowableValues"))
        }
        reset = (try? container.nestedContainer(keyedBy: MemberName.self, forKey: "Actions"))
            .flatMap { try? $0.nestedContainer(keyedBy: MemberName.self, forKey: "#ComputerSystem.Reset") }
            .flatMap { action in
                guard let target = try? action.decode(ResourcePath.self, forKey: "target") else { return nil }
                return ResetAction(
                    target: target, allowableTypes: action.texts("ResetType@Redfish.AllowableValues"))
            }
    }
}

/// A BMC (DSP0268 Manager).
public struct ManagementController: RedfishResource, Decodable, Hashable {
    public static let typeName = "Manager"

    /// Its model.
    public let model: String?
    /// Its firmware's version.
    public let firmwareVersion: String?
    /// The virtual drives of the system that it manages.
    public let virtualMedia: ResourcePath?

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: MemberName.self)
        virtualMedia = container.link("VirtualMedia")
        model = container.text("Model")
        firmwareVersion = container.text("FirmwareVersion")
    }
}

/// An object with the member `@odata.id`.
struct Link: Decodable {
    let path: ResourcePath

    init(from decoder: any Decoder) throws {
        path = try decoder.container(keyedBy: MemberName.self).decode(ResourcePath.self, forKey: "@odata.id")
    }
}

/// Any value; nil when it is not of the type.
struct Lenient<Value: Decodable>: Decodable {
    let value: Value?

    init(from decoder: any Decoder) throws { value = try? Value(from: decoder) }
}

/// A member's name.
struct MemberName: CodingKey, ExpressibleByStringLiteral {
    let stringValue: String
    var intValue: Int? { nil }

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
    init(stringLiteral value: String) { stringValue = value }
}

extension KeyedDecodingContainer where Key == MemberName {
    /// A text without surrounding blanks, made printable and cut to 256 characters; nil when it is empty or no text.
    func text(_ name: MemberName) -> String? {
        guard let text = try? decodeIfPresent(String.self, forKey: name) else { return nil }
        let trimmed = text.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()
        return trimmed.isEmpty ? nil : String(trimmed).printable(limit: 256)
    }

    /// At most 64 texts; what is no text is skipped.
    func texts(_ name: MemberName) -> [String]? {
        guard let values = try? decodeIfPresent([Lenient<String>].self, forKey: name) else { return nil }
        return values.prefix(64).compactMap { $0.value?.printable(limit: 64) }
    }

    /// At most 16 links.
    func links(_ name: MemberName) -> [ResourcePath] {
        guard let values = try? decodeIfPresent([Lenient<Link>].self, forKey: name) else { return [] }
        return values.prefix(16).compactMap { $0.value?.path }
    }

    func number(_ name: MemberName) -> Double? {
        guard let value = try? decodeIfPresent(Double.self, forKey: name), value.isFinite else { return nil }
        return value
    }

    func link(_ name: MemberName) -> ResourcePath? { (try? decodeIfPresent(Link.self, forKey: name))?.path }
}
