import AgentProtocol
import LinuxSystem
import NodeAgent
import Primitives
import struct Crypto.SHA256

/// The controller role: a member of the store, a conductor, HAProxy before all conductors, the shared address and the
/// site's clock, each a service that outlives the agent, is adopted by the next one, and takes a change over with the
/// least disturbance that its program allows. Before them, the keys and certificates that these need.
public actor ControllerRole: RoleModule {
    public nonisolated let role = Role.controller
    public nonisolated let itemKinds: Set<String> = [
        EtcdMemberItem.kind, ConductorItem.kind, ProxyItem.kind, VIPItem.kind, TimeItem.kind,
        ControllerSecretsItem.kind,
    ]

    private let clock: any WallClock
    /// In the order in which they are started: what others need comes first.
    private var parts: [any ControllerPart]
    /// Nil: they are brought by other means, in tests.
    private var secrets: ControllerSecretsKeeper?
    /// Nil: the address is others' business, in tests.
    private let address: AddressKeeper?

    /// A role whose services are those of this node, with the agent's files in `directory`.
    public init(directory: String = "/state/muster", clock: any WallClock = SystemWallClock()) {
        let places = ServicePlaces(directory: directory, runtime: "/run/muster", hasUnits: AdoptedService.hasSystemd)
        self.init(
            parts: [
                ControllerService(EtcdProgram(places: places)), ControllerService(ConductorProgram(places: places)),
                ControllerService(HAProxyProgram(places: places)), ControllerService(KeepalivedProgram(places: places)),
                ControllerService(ChronyProgram(places: places)),
            ], secrets: ControllerSecretsKeeper(places: places),
            address: AddressKeeper(path: "\(places.directory)/controller-address.json"), clock: clock)
    }

    init(
        parts: [any ControllerPart], secrets: ControllerSecretsKeeper? = nil, address: AddressKeeper? = nil,
        clock: any WallClock
    ) {
        self.parts = parts
        self.secrets = secrets
        self.address = address
        self.clock = clock
    }

    public func apply(_ items: [String: NodeView.Item]) -> NodeStatusReport.RoleStatus {
        address?.apply(items)
        secrets?.apply(items)
        for index in parts.indices { parts[index].apply(items) }
        // After those that read them are told to end.
        secrets?.removeUnnamed(items)
        return status()
    }

    public func wish() -> ControllerSecretsRequest? { secrets?.wish(now: clock.now) }

    public func take(_ reply: ControllerSecretsReply) { secrets?.take(reply, now: clock.now) }

    public func check() -> NodeStatusReport.RoleStatus {
        for index in parts.indices { parts[index].check() }
        return status()
    }

    public nonisolated func run(_ changed: @escaping @Sendable () -> Void) async {
        await address?.run(changed)
    }

    public func metrics() -> [MetricsReport.Sample] { parts.flatMap { $0.samples() } }

    private func status() -> NodeStatusReport.RoleStatus {
        let now = clock.now
        let reports = parts.map { $0.report(now: now) }
        var conditions =
            (address?.conditions(now: now) ?? []) + (secrets?.conditions(now: now) ?? [])
            + reports.flatMap(\.conditions)
        if conditions.isEmpty {
            conditions = [
                Condition(type: "ControllerReady", isTrue: true, message: "No service is asked for.", since: now)
            ]
        }
        var facts = RoleFacts()
        facts.proxy = reports.lazy.compactMap(\.facts.proxy).first
        let services = reports.compactMap(\.facts.controller)
        if !services.isEmpty {
            facts.controller = ControllerFacts(
                etcd: services.lazy.compactMap(\.etcd).first, vip: services.lazy.compactMap(\.vip).first,
                time: services.lazy.compactMap(\.time).first, conductor: services.lazy.compactMap(\.conductor).first)
        }
        // A node is given its secrets only once it is active, so they do not count here.
        return NodeStatusReport.RoleStatus(
            role: role, isReady: reports.allSatisfy(\.isReady), conditions: conditions,
            facts: facts.isEmpty ? nil : facts)
    }
}

/// Where the services of a node keep their files.
struct ServicePlaces: Hashable, Sendable {
    /// The agent's own folder; each service has one in it.
    var directory: String
    /// For PIDs and sockets.
    var runtime: String
    /// Whether systemd's units start the services.
    var hasUnits: Bool

    /// The site's authority.
    var authority: String { "\(directory)/ca.pem" }

    /// The unit of a service.
    func unit(_ name: String) -> String? { hasUnits ? "muster-\(name).service" : nil }

    /// The files that a reference names. Throws `SystemError` when one is missing.
    func files(of reference: CertificateReference) throws(SystemError) -> CertificateFiles {
        let folder = "\(directory)/identities/\(reference.name)"
        var files = CertificateFiles(
            authority: "\(folder)/ca.pem", certificate: "\(folder)/cert.pem", key: "\(folder)/key.pem")
        for path in [files.authority, files.certificate, files.key] where SystemFile.modificationTime(path) == nil {
            throw SystemError(
                "use the certificate '\(reference.name)'", errno: 0,
                detail: "\(path) is missing; it comes with the handing over of a control plane's secrets")
        }
        files.authorityDigest = Hex.encode(
            Array(SHA256.hash(data: SystemFile.bytes(files.authority) ?? []).prefix(12)))
        return files
    }

    /// The files of a reference.
    struct CertificateFiles: Hashable, Sendable {
        var authority: String
        var certificate: String
        var key: String
        /// Tells one authority's file from the next: unlike the others, a member reads it only when it starts.
        var authorityDigest = ""
    }
}
