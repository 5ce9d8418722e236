import APISupport
import AgentPort
import AgentProtocol
import BMCDrivers
import BareMetal
import BareMetalAPI
import BlobPeers
import BlobStore
import BootServer
import CatalogBareMetal
import CatalogIdentity
import ControlPlane
import Dashboard
import FleetAPI
import Hummingbird
import HummingbirdCore
import Identity
import IdentityAPI
import Logging
import NIOCore
import Primitives
import ReconcileRuntime
import ResourceModel
import ServiceLifecycle
import UnixSignals
import TPMVerification

/// Everything that runs in one conductor, wired together.
struct ConductorParts {
    let configuration: ConductorConfiguration
    let engine: StoreEngine
    private let store: any ResourceStore
    let blobs: SiteBlobs
    let blobFigures: BlobFigures
    private let peerKey: SecretText
    let peerAccess: HTTPBlobPeers
    let identity: CloudIdentity
    let vault: SecretVault
    let keys: AuthorityVault
    let authorities: SiteAuthorities
    private let register: CertificateRegister
    let operators: OperatorTokens
    let clock: any WallClock
    /// When this run of the conductor began.
    let begun: Timestamp
    /// Tells this run from others; see `Node.Stream`.
    let run: String
    /// The campaign for what one conductor does; nil: there is no other.
    let leadership: Leadership?
    let logger: Logger
    let catalog: LiveCatalog
    private let controller: NodeController
    let opener: BMCOpener
    let sensors = BMCSensors()
    let turns = BMCTurns()
    private let addresses: AddressController
    let hub: AgentHub
    private let consoleDesk: ConsoleDesk
    private let agentPort: AgentPortServer
    private let registrar: Registrar
    let audit: AuditLog
    private let attestation: AttestationDesk
    let progress = LiveProgress()
    let certificate: ServerCertificate
    private let programs: BootPrograms
    let media: MediaDesk
    private let bootCounters = BootCounters()
    private let missingPrograms: [MissingProgram]
    /// Moves the site to its controllers; nil: it is there.
    let pivot: PivotDesk?

    init(
        configuration: ConductorConfiguration, engine: StoreEngine, site: SiteFoundation, blobs shared: ConductorBlobs,
        run: String, startedAt: Revision? = nil, surroundings: PivotSurroundingsMaker = { SitePivotSurroundings($0) },
        clock: any WallClock, logger: Logger
    ) throws {
        let (store, cache, authorities) = (engine.store, site.cache, site.authorities)
        self.configuration = configuration
        self.engine = engine
        self.store = store
        let blobs = shared.site
        self.blobs = blobs
        blobFigures = BlobFigures(blobs)
        (peerKey, peerAccess) = (shared.key, shared.access)
        self.run = run
        identity = site.identity
        vault = site.vault
        keys = site.keys
        self.authorities = authorities
        register = CertificateRegister(store: store, clock: clock)
        operators = site.operators
        let leadership =
            engine.isShared
            ? Leadership(store: store, name: Self.leadershipName, holder: run, wallClock: clock, logger: logger) : nil
        self.leadership = leadership
        self.clock = clock
        begun = clock.now
        self.logger = logger
        (programs, missingPrograms) = Self.bootPrograms(configuration, logger)
        let isShared = engine.isShared
        let catalog = LiveCatalog(cache: cache, local: isShared ? LocalAddresses.links : nil)
        self.catalog = catalog
        let media = MediaDesk(
            catalog: catalog, ports: configuration.ports, authorityDigest: { authorities.now.issuing.fingerprint },
            key: site.mediaKey)
        self.media = media
        let opener = BMCOpener(logger: logger)
        self.opener = opener
        let door = BMCDoor(
            opener: { try opener.driver(of: $0, password: $1) },
            passwords: VaultPasswords(vault: site.vault, store: store), turns: turns)
        let writer = NodeWriter(store: store, events: Self.events())
        controller = Self.nodeController(
            writer, { door.driver(of: $0) }, duty: .takesInputs, catalog: catalog, media: media,
            isShared: engine.isShared, run: run, clock: clock, logger: logger)
        let controller = controller
        addresses = AddressController(
            store: store, catalog: catalog.addresses, changes: { catalog.addressChanges() }, clock: clock,
            logger: logger)
        let attestation = AttestationDesk(clock: clock)
        self.attestation = attestation
        registrar = Registrar(
            store: store, submit: { try await controller.submit($0, to: $1) }, events: writer.events,
            catalog: catalog.registrations,
            saveInventory: { try await StoredInventory.save($0, in: blobs, logger) },
            readInventory: { await StoredInventory.read($0, in: blobs) },
            attest: { attestation.finding(of: $0, trust: catalog.tpmTrust()) }, clock: clock)
        audit = AuditLog(store: store, clock: clock)
        certificate = try ServerCertificate(
            authorities: authorities, names: configuration.names + [configuration.advertisedHost].compactMap(\.self),
            addresses: { catalog.servedAddresses() }, clock: clock, logger: logger)
        let logs = NodeLogs(directory: "\(configuration.stateDirectory)/logs", clock: clock)
        hub = AgentHub(
            catalog: catalog, controller: controller,
            feed: AgentViewFeed(logger: logger, clock: clock) {
                catalog.agentPorts(configuration.ports.agents)
            },
            metrics: NodeMetrics(), logs: logs, board: ViewBoard(cache), authorities: authorities, register: register,
            audit: audit,
            secrets: ControllerSecretsDesk(
                store: store, authority: site.storeAuthority, masterKeys: { [vault] in vault.keyFileContent },
                segments: { catalog.segments() }, audit: audit, events: writer.events, clock: clock),
            clock: clock,
            apiPort: configuration.ports.api, conductor: run, logger: logger, startedAt: startedAt)
        consoleDesk = ConsoleDesk(
            access: { node in
                guard let name = node.bmcName else { throw NoConsole(node: node.spec.name, bmc: nil) }
                guard let bmc = catalog.bmcs().first(where: { $0.metadata.name == name }) else {
                    throw UnknownBMC(name: name)
                }
                guard !node.hasLost(bmc.status) else {
                    throw BMCOfAnotherMachine(name: name, node: node.spec.name)
                }
                guard let address = try ConsoleAddress(of: bmc.spec) else {
                    throw NoConsole(node: node.spec.name, bmc: name)
                }
                return TurnTakingConsole(name, turns: door.turns) {
                    opener.console(
                        at: address, of: bmc.spec, password: try await door.passwordInUse(of: name),
                        passwordLater: { try? await door.passwordInUse(of: name) })
                }
            },
            recorded: {
                guard leadership.map({ $0.current != nil }) ?? true else { return [] }
                let names = Set(catalog.bmcs().filter { $0.spec.recordsConsole == true }.map(\.metadata.name))
                guard !names.isEmpty else { return [] }
                return catalog.nodes().filter { $0.bmcName.map(names.contains) == true }
            },
            record: { node, lines in
                do { try logs.appendConsole(lines, for: node) } catch { logger.warning("console of \(node): \(error)") }
            },
            audit: { [audit] event in
                do { try await audit.record(event) } catch { logger.error("audit event lost: \(error)") }
            }, clock: clock, logger: logger)
        agentPort = AgentPortServer(
            configuration: AgentPortConfiguration(host: "0.0.0.0", port: configuration.ports.agents),
            newcomers: configuration.addressLimit(),
            tls: certificate.agents,
            delegate: hub, logger: logger,
            isRevoked: { catalog.isRefused($0, serial: $1) })
        pivot = try engine.seed.map { [audit, hub] seed in
            let ground = PivotGround(
                configuration: configuration, catalog: catalog, vault: site.vault.over(seed.look), audit: audit,
                hub: hub, clock: clock, logger: logger)
            return PivotDesk(seed: seed, surroundings: try surroundings(ground), clock: clock)
        }
    }

    /// A controller of nodes.
    static func nodeController(
        _ writer: NodeWriter, _ driver: @escaping @Sendable (BMC) async throws -> any BMCDriver,
        duty: NodeController.Duty, catalog: LiveCatalog, media: MediaDesk, isShared: Bool, run: String,
        clock: any WallClock, logger: Logger
    ) -> NodeController {
        NodeController(
            writer: writer, nodes: { catalog.nodes() }, node: { catalog.node($0) },
            late: { catalog.lateNodes(at: $0) },
            changes: { catalog.nodeChanges() },
            power: BMCAccess(bmcs: { catalog.bmcs() }, driver: driver, medium: { try media.url(of: $0) }), clock: clock,
            runs: { isShared ? Set(catalog.conductors().map(\.spec.run)).union([run]) : [run] }, duty: duty,
            logger: logger)
    }

    func run() async throws {
        try PortProbe.check([
            // A proxy may have the same port at an address of its own.
            ("operators' API", configuration.apiHost, configuration.ports.api),
            ("boot files", "0.0.0.0", configuration.ports.boot),
            ("provisioning", "0.0.0.0", configuration.ports.provisioning),
            ("agents", "0.0.0.0", configuration.ports.agents),
        ])
        // A server that knew nothing yet would tell a machine that its session is over.
        try await catalog.cache.load()
        // Whose connections proxies bring here is known by now.
        try certificate.renewIfDue()
        try await agentPort.listen()
        let parts = self
        var duty: (@Sendable (String) -> SegmentDuty)?
        let campaigns = SegmentCampaigns(catalog: catalog, store: store, holder: run, logger: logger)
        if engine.isShared { duty = { campaigns.duty(on: $0) } }
        // Stopped from the last to the first: who leads makes way once its work has ended, and the store goes last.
        var services = engine.services
        services += [BMCSessionsEnd(opener: opener), catalog.cache]
        services += followers()
        if engine.isShared { services.append(campaigns) }
        services += [
            registration(), consoleDesk,
            LeaderWork(leadership: leadership, store: store, services: { parts.leaderServices($0) }), hub,
            StreamUpkeep(hub: hub, reachesStore: engine.isReachable), agentPort,
            certificate, provisioning(),
            bootFiles().application(host: "0.0.0.0", port: configuration.ports.boot),
            operatorAPI(),
            SegmentSupervisor(
                catalog: catalog, store: store, clock: clock, bootPort: configuration.ports.boot, files: tftpFiles(),
                counters: bootCounters, duty: duty, answers: engine.seed?.dhcp ?? DHCPSwitch(), logger: logger),
            Housekeeper(
                catalog: catalog, store: store, blobs: blobs, audit: audit, register: register, duties: [.blobs],
                clock: clock, logger: logger),
            peerAccess, BlobReplicator(catalog: catalog, blobs: blobs, figures: blobFigures, logger: logger),
        ]
        logger.info("conductor \(Conductor.version) is starting, state in \(configuration.stateDirectory)")
        try await run(services)
    }

    private func registration() -> ConductorRegistration {
        let cache = catalog.cache
        return ConductorRegistration(
            store: store, isShared: engine.isShared, name: configuration.conductorName,
            spec: ConductorRecord.Spec(
                run: run, version: Conductor.version, started: begun, addresses: configuration.addresses),
            lag: { try await ContinuousClock().measure { try await cache.barrier() } }, logger: logger)
    }

    // MARK: Servers

    /// Places for the connections of each address at one port, `factor` times as many as usual.
    private func places(_ factor: Int = 1) -> AddressLimit { configuration.addressLimit(factor) }

    /// What machines may ask of the provisioning port.
    func provisioningRouter() -> Router<FleetRequestContext> {
        let service = DiscoveryService(
            catalog: catalog, store: store, registrar: registrar, attestation: attestation,
            controller: controller, tokens: EnrolmentTokens(store: store), addresses: addresses, audit: audit,
            authorities: authorities, register: register,
            readBlob: { [blobs] in try await blobs.get($0) }, logs: hub.logs, progress: progress,
            ports: configuration.ports, openSecret: { [vault] in try await vault.open($0) }, clock: clock,
            logger: logger)
        return ProvisioningRoutes(service: service).router()
    }

    private func provisioning() -> any Service {
        Application(
            router: provisioningRouter(),
            server: .https(certificate, addresses: places(), idleTimeout: .seconds(120)),
            configuration: .init(
                address: .hostname("0.0.0.0", port: configuration.ports.provisioning), backlog: 4096,
                availableConnectionsDelegate: MaximumAvailableConnections(ProvisioningRoutes.concurrencyMax)),
            logger: logger)
    }

    private var desk: BootDesk {
        BootDesk(
            catalog: catalog, ports: configuration.ports, programs: programs,
            authorities: authorities,
            clock: clock, logger: logger)
    }

    private func tftpFiles() -> TFTPFiles {
        let (catalog, blobs) = (catalog, blobs)
        let ramdisk = RamdiskMemory(
            digest: { catalog.ramdisk()?.digest(of: $0) },
            read: { digest in
                guard let size = try await blobs.size(of: digest), size <= RamdiskMemory.sizeMax else { return nil }
                return try await blobs.get(digest)
            }, logger: logger)
        return TFTPFiles(programs: programs, desk: desk, ramdisk: ramdisk, logger: logger)
    }

    /// What machines boot from.
    func bootFiles() -> BootHTTP {
        let desk = desk
        let catalog = catalog
        let blobs = blobs
        let media = media
        let authorities = authorities
        return BootHTTP(
            content: BootContent(
                decide: { desk.decide($0) },
                file: { image, name in
                    guard image == Ramdisk.discovery, let ramdisk = catalog.ramdisk() else { return nil }
                    return ramdisk.digest(of: name)
                },
                isPublic: { digest in
                    catalog.ramdisk().map { $0.spec.kernel == digest || $0.spec.initrd == digest } ?? false
                },
                authorityPEM: { authorities.now.bundlePEM },
                manifest: { digest in
                    // Role images are public on the segment; nothing else that is stored is.
                    guard catalog.isImage(digest) else { return nil }
                    return try await ImageBlobs.manifest(digest, in: blobs)
                },
                medium: { media.medium($0) }, programs: programs, blobs: BlobReader(blobs: blobs)),
            addresses: places(), counters: bootCounters, logger: logger)
    }

    /// What operators may ask, by programs and browsers.
    func operatorRouter() -> Router<FleetRequestContext> {
        let hub = hub
        let clock = clock
        let catalog = catalog
        let progress = progress
        let agentPort = agentPort
        let live = LiveNodeData(
            progress: { progress.progress(of: $0) }, logSources: NodeLogs.sources.sorted(),
            logs: { hub.logs.read($0, source: $1, $2) },
            console: { node, question in
                let kept = hub.logs.read(node, source: NodeLogs.console, question)
                return kept.end == LogPosition() ? nil : kept
            },
            attachConsole: { [consoleDesk] in try await consoleDesk.attach($0, $1) },
            metrics: { hub.metrics.text(for: $0, name: $1, at: clock.now) },
            vitals: { hub.metrics.vitals(of: $0, at: clock.now) },
            metricNodes: { hub.metrics.nodes(at: clock.now) }, agentCount: { agentPort.connectedNodes.count },
            sensors: { [sensors] in sensors.report(of: $0, at: clock.now) },
            forget: { node in
                hub.logs.remove(node)
                hub.metrics.remove(node)
                progress.remove(node)
            })
        let keystone = identity.service
        let bareMetal = IronicAPI.service(bareMetalBackend(), door: identity.door)
        let checks = SiteCheckDesk(
            catalog: catalog, vault: vault, blobs: blobs, configuration: configuration, authorities: authorities,
            missingPrograms: missingPrograms, turns: turns, clock: clock, logger: logger)
        var services = FleetServices(
            store: store, cache: catalog.cache, blobs: blobs, vault: vault,
            gate: identity.gate, policy: identity.policyDesk(with: bareMetal.guardedRoutes), audit: audit,
            operators: operators, clock: clock, live: live,
            conductor: ConductorInfo(
                version: Conductor.version, run: run,
                samples: { [bootCounters, engine, blobFigures] in
                    let machines = bootCounters.samples + hub.counters.samples + hub.logs.samples
                    return machines + engine.samples() + blobFigures.samples + keystone.samples + bareMetal.samples
                }, isStoreWritable: engine.isWritable, reachesStore: engine.isReachable, leader: leader),
            logger: logger,
            hashPassword: { try PasswordHash.make($0) },
            siteCheck: { await checks.findings($0) },
            dependents: { [progress, begun] in
                catalog.dependents(of: $0, heard: { progress.lastHeard($0) ?? begun }, now: clock.now)
            })
        let controllers = siteControllers
        services.controllers = ControllerServices(
            membership: engine.membership, surroundings: engine.membership.map { _ in controllers },
            pivot: engine.isShared
                ? nil
                : PivotServices(
                    seed: configuration.conductorName,
                    warnings: { LentAddresses.warnings(for: $0, in: controllers.now()) },
                    controllers: { SitePivotSurroundings.controllers(in: catalog) }))
        let operators = operators
        let api = OperatorAPI(services: services)
        let verify: @Sendable (String) -> Caller? = { [identity] in
            operators.verify($0).map(Caller.init) ?? identity.fleetCaller(of: $0)
        }
        let barrier: @Sendable () async throws -> Void = { try await catalog.cache.barrier() }
        let peerRoutes = PeerRoutes(blobs: blobs, key: peerKey, audit: audit, logger: logger)
        let dashboard = WebPages(
            reads: api.reads, gate: services.gate, audit: audit, clock: clock, version: Conductor.version,
            verify: verify, barrier: barrier)
        return api.router(
            verify: verify, barrier: barrier,
            errorAnswers: [
                { keystone.answer(beforeRoutes: $0, $1, $2) }, { bareMetal.answer(beforeRoutes: $0, $1, $2) },
            ],
            pages: {
                peerRoutes.addRoutes(to: $0)
                dashboard.addRoutes(to: $0)
                keystone.addRoutes(to: $0)
                bareMetal.addRoutes(to: $0)
            })
    }

    private func bareMetalBackend() -> BareMetalBackend {
        BareMetalBackend(
            store: store, cache: catalog.cache, audit: audit,
            ownerOfMachines: { IdentityDirectory($0).project(named: "admin", in: IdentityBootstrap.defaultDomain)?.id },
            conductor: { [leader, ownName = configuration.conductorName, run] now in
                let leading = leader()
                return leading == run
                    ? ownName : now.all(ConductorRecord.self).first { $0.spec.run == leading }?.metadata.name
            }, clock: clock, logger: logger)
    }

    private func operatorAPI() -> any Service {
        Application(
            router: operatorRouter(),
            // All operators may come through one proxy.
            server: .https(certificate, addresses: places(8)),
            configuration: .init(
                address: .hostname(configuration.apiHost, port: configuration.ports.api),
                availableConnectionsDelegate: MaximumAvailableConnections(2048)),
            logger: logger)
    }

    /// Reads the programs that firmware loads first, and says what will not work without those that are missing.
    private static func bootPrograms(
        _ configuration: ConductorConfiguration, _ logger: Logger
    ) -> (BootPrograms, missing: [MissingProgram]) {
        var files = [BootPrograms.Name.uefiLocalDisk: configuration.localLoader]
        for name in [BootPrograms.Name.biosIPXE, .uefiIPXE] {
            files[name] = "\(configuration.ipxeDirectory)/\(name.rawValue)"
        }
        files[.signedShim] = configuration.signedShim
        files[.signedGRUB] = configuration.signedGRUB
        let (programs, problems) = BootPrograms.load(files)
        var missing: [MissingProgram] = []
        for problem in problems {
            let (consequence, change) =
                switch problem.name {
                case .biosIPXE:
                    ("BIOS machines without iPXE in the network card cannot boot", "install the package ipxe")
                case .uefiIPXE:
                    ("UEFI machines without iPXE in the network card cannot boot", "install the package ipxe")
                case .signedShim, .signedGRUB:
                    (
                        "UEFI machines on segments with secureBoot cannot boot",
                        "install the packages shim-signed and grub-efi-amd64-signed"
                    )
                case .uefiLocalDisk:
                    (
                        "deployed UEFI machines that ask the network first may never get to their disk",
                        "run Images/boot/build.sh --out /usr/lib/muster, or give --local-loader"
                    )
                }
            logger.warning("\(problem.why); \(consequence): \(change); then start the conductor again")
            missing.append(
                MissingProgram(
                    name: problem.name.rawValue, consequence: "\(problem.why); \(consequence)",
                    change: "\(change); then start the conductor again"))
        }
        return (programs, missing)
    }
}
