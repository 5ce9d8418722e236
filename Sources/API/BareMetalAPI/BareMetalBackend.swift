import APISupport
import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel

/// All that the bare-metal API works with; filled by whoever composes the conductor.
public struct BareMetalBackend: APIBackend {
    /// Where nodes are written.
    public var store: any ResourceStore
    /// Where nodes are read; it must hold `Node`, `BMC`, `NodeImage`, `ConductorRecord`, `ConductorEndpoint` and all of
    /// `IronicAPI.cachedKinds` and `.cacheIndexes`.
    public var cache: ResourceCache
    /// Has one event of each change.
    public var audit: AuditLog
    /// The project that owns machines of which nobody has said another owner; nil: only the system does.
    public var ownerOfMachines: @Sendable (CacheSnapshot) -> String?
    /// The name of the conductor that works on nodes; nil: none does at the moment.
    public var conductor: @Sendable (CacheSnapshot) -> String?
    /// The time.
    public var clock: any WallClock
    /// Identifiers.
    public var random: RandomBytes
    /// Where failures are written.
    public var logger: Logger
    /// What lists were made of lately.
    let views = NodeViews()

    /// A backend.
    public init(
        store: any ResourceStore, cache: ResourceCache, audit: AuditLog,
        ownerOfMachines: @escaping @Sendable (CacheSnapshot) -> String? = { _ in nil },
        conductor: @escaping @Sendable (CacheSnapshot) -> String?,
        clock: any WallClock, random: RandomBytes = .system, logger: Logger
    ) {
        self.store = store
        self.cache = cache
        self.audit = audit
        self.ownerOfMachines = ownerOfMachines
        self.conductor = conductor
        self.clock = clock
        self.random = random
        self.logger = logger
    }

    /// Everything as it is now.
    public var directory: CacheSnapshot { cache.snapshot() }

    /// All nodes as `now` has them, in order of their creation.
    func nodes(_ now: CacheSnapshot) -> [NodeView] {
        views.all(now, owner: ownerOfMachines(now), conductor: conductor(now))
    }

    /// A new UUID.
    func newUUID() -> String {
        var bytes = random(16)
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        return UUIDText.format(bytes)
    }
}

typealias BareMetalPlan = ChangePlan

extension ChangePlan {
    /// Takes a word for `id`.
    mutating func take(_ word: TakenWord, for id: String, at now: Timestamp) throws {
        try take(
            TakenMark(
                metadata: Metadata(name: word.markName, schemaVersion: TakenMark.schemaVersion, created: now),
                spec: TakenMark.Spec(by: id)))
    }

    /// Gives a word up.
    mutating func free(_ word: TakenWord) { delete(TakenMark.key(word.markName)) }
}

/// What only one can have.
enum TakenWord {
    case name(String)
    case instance(String)
    case address(MACAddress)

    /// Names are taken whatever their case is, as host names are.
    var markName: String {
        switch self {
        case .name(let name): "name.\(CatalogName.of(name.lowercased()))"
        case .instance(let uuid): "instance.\(CatalogName.of(uuid))"
        case .address(let address): "address.\(address)"
        }
    }
}

extension APICall where Backend == BareMetalBackend {
    /// The version that the answer is in.
    var minor: Int { version?.minor ?? 1 }
}
