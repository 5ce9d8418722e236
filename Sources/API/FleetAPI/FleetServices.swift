import APISupport
import AgentProtocol
import BareMetal
import BlobStore
import CatalogBareMetal
import CatalogIdentity
import FleetContract
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel

/// All that the operators' API works with; filled by whoever composes the conductor.
public struct FleetServices: Sendable {
    /// Where specifications are written.
    public var store: any ResourceStore
    /// Where lists and nodes are read; it must hold all of `OperatorAPI.cachedKinds` and `.cacheIndexes`.
    public var cache: ResourceCache
    /// Where images are kept.
    public var blobs: SiteBlobs
    /// Seals the BMCs' passwords.
    public var vault: SecretVault
    /// Asks who may, and writes audit events.
    public var gate: Gate
    /// Tells who may do what.
    public var policy: PolicyDesk
    /// What lists of nodes were made of lately.
    let summaries = EncodedSummaries()
    /// Lists audit events.
    public var audit: AuditLog
    /// Makes and revokes operators' tokens.
    public var operators: OperatorTokens
    /// The time.
    public var clock: any WallClock
    /// What is known from minute to minute and never stored.
    public var live: LiveNodeData
    /// What the conductor tells of itself.
    public var conductor: ConductorInfo
    /// What the checks of a site find, of the one that was applied without one.
    public var siteCheck: @Sendable (SiteDocument?) async -> [SiteCheckReply.Row]
    /// The crypt(5) hash of a password.
    public var hashPassword: @Sendable (SecretText) throws -> String
    /// Notes and revokes nodes' certificates.
    public var register: CertificateRegister
    /// The nodes that hang on the authority that is being replaced.
    public var dependents: @Sendable (SiteAuthority) -> AuthorityDependents
    /// The site's controllers.
    public var controllers = ControllerServices()
    /// Names the events that the API itself writes; apart from those of node writers, and of other conductors.
    let events = EventSequence(first: .random(in: 0..<1_000_000))
    /// Where failures are written.
    public var logger: Logger

    /// Services.
    public init(
        store: any ResourceStore, cache: ResourceCache, blobs: SiteBlobs, vault: SecretVault, gate: Gate,
        policy: PolicyDesk, audit: AuditLog, operators: OperatorTokens, clock: any WallClock, live: LiveNodeData,
        conductor: ConductorInfo,
        logger: Logger,
        hashPassword: @escaping @Sendable (SecretText) throws -> String,
        siteCheck: @escaping @Sendable (SiteDocument?) async -> [SiteCheckReply.Row] = { _ in [] },
        dependents: @escaping @Sendable (SiteAuthority) -> AuthorityDependents = { _ in AuthorityDependents() }
    ) {
        register = CertificateRegister(store: store, clock: clock)
        self.dependents = dependents
        self.siteCheck = siteCheck
        self.hashPassword = hashPassword
        self.store = store
        self.cache = cache
        self.blobs = blobs
        self.vault = vault
        self.gate = gate
        self.policy = policy
        self.audit = audit
        self.operators = operators
        self.clock = clock
        self.live = live
        self.conductor = conductor
        self.logger = logger
    }
}

/// What is known of nodes from minute to minute.
public struct LiveNodeData: Sendable {
    /// How far a node's image is, as last told; nil: nothing newer than what is stored.
    public var progress: @Sendable (NodeID) -> Node.Progress?
    /// The programs whose log lines are kept.
    public var logSources: [String]
    /// Lines of a program on a node, oldest first, each beginning with its time in RFC 3339.
    public var logs: @Sendable (_ node: NodeID, _ source: String, LogQuestion) -> LogPage
    /// Lines of a node's serial console, oldest first; nil: none are kept.
    public var console: @Sendable (_ node: NodeID, LogQuestion) -> LogPage?
    /// Takes a place before a node's live console; throws what says why there is none.
    public var attachConsole: @Sendable (Node, ConsoleVisit) async throws -> ConsoleSeat
    /// A node's figures in Prometheus' text format, labelled with its name; nil: it has sent none lately.
    public var metrics: @Sendable (_ node: NodeID, _ name: String) -> String?
    /// How it goes with a node, from its newest figures; nil: it has sent none lately.
    public var vitals: @Sendable (NodeID) -> NodeVitals?
    /// The nodes that have figures.
    public var metricNodes: @Sendable () -> [NodeID]
    /// The nodes whose agent's stream is open here.
    public var agentCount: @Sendable () -> Int
    /// What a BMC's sensors told lately, by the BMC's name; nil: nothing.
    public var sensors: @Sendable (String) -> BMCSensors.Report?
    /// Removes what is kept of a node that is gone.
    public var forget: @Sendable (NodeID) -> Void

    /// Nothing is known by default.
    public init(
        progress: @escaping @Sendable (NodeID) -> Node.Progress? = { _ in nil }, logSources: [String] = [],
        logs: @escaping @Sendable (NodeID, String, LogQuestion) -> LogPage = { _, _, _ in LogPage() },
        console: @escaping @Sendable (NodeID, LogQuestion) -> LogPage? = { _, _ in nil },
        attachConsole: @escaping @Sendable (Node, ConsoleVisit) async throws -> ConsoleSeat = { node, _ in
            throw NoConsole(node: node.spec.name, bmc: node.bmcName)
        },
        metrics: @escaping @Sendable (NodeID, String) -> String? = { _, _ in nil },
        vitals: @escaping @Sendable (NodeID) -> NodeVitals? = { _ in nil },
        metricNodes: @escaping @Sendable () -> [NodeID] = { [] },
        agentCount: @escaping @Sendable () -> Int = { 0 },
        sensors: @escaping @Sendable (String) -> BMCSensors.Report? = { _ in nil },
        forget: @escaping @Sendable (NodeID) -> Void = { _ in }
    ) {
        self.progress = progress
        self.logSources = logSources
        self.logs = logs
        self.console = console
        self.attachConsole = attachConsole
        self.metrics = metrics
        self.vitals = vitals
        self.metricNodes = metricNodes
        self.agentCount = agentCount
        self.sensors = sensors
        self.forget = forget
    }
}

/// What the conductor tells of itself.
public struct ConductorInfo: Sendable {
    /// Its version.
    public var version: String
    /// More figures for `/metrics`.
    public var samples: @Sendable () -> [MetricsReport.Sample]
    /// Whether the store takes writes.
    public var isStoreWritable: @Sendable () -> Bool
    /// Whether the store has been reached in the last seconds.
    public var reachesStore: @Sendable () -> Bool
    /// Its run; see `ConductorRecord`.
    public var run: String
    /// The run of the conductor that leads, as far as is known; nil: none does.
    public var leader: @Sendable () -> String?

    /// A conductor.
    public init(
        version: String, run: String = "", samples: @escaping @Sendable () -> [MetricsReport.Sample] = { [] },
        isStoreWritable: @escaping @Sendable () -> Bool = { true },
        reachesStore: @escaping @Sendable () -> Bool = { true }, leader: @escaping @Sendable () -> String? = { nil }
    ) {
        self.version = version
        self.run = run
        self.leader = leader
        self.samples = samples
        self.isStoreWritable = isStoreWritable
        self.reachesStore = reachesStore
    }
}
