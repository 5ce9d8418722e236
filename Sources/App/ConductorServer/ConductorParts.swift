import APISupport
import AgentPort
import AgentProtocol
import BMCDrivers
import BareMetal
import BlobStore
import BootServer
import CatalogBareMetal
import Dashboard
import FleetAPI
import Hummingbird
import Identity
import Logging
import NIOCore
import Primitives
import ReconcileRuntime
import ResourceModel
import ServiceLifecycle
import UnixSignals
import SwiftASN1
import X509
import struct Crypto.SHA256

/// Everything that runs in one conductor, wired together.
struct ConductorParts {
    private let configuration: ConductorConfiguration
    private let store: any ResourceStore
    private let blobs: FileBlobStore
    private let vault: SecretVault
    private let authority: CertificateAuthority
    private let operators: OperatorTokens
    private let clock: any WallClock
    private let logger: Logger
    private let catalog: LiveCatalog
    private let controller: NodeController
    private let bmcs: BMCController
    private let opener: BMCOpener
    private let sensors = BMCSensors()
    private let addresses: AddressController
    private let hub: AgentHub
    private let consoleDesk: ConsoleDesk
    private let agentPort: AgentPortServer
    private let registrar: Registrar
    private let audit: AuditLog
    private let progress = LiveProgress()
    private let certificate: ServerCertificate
    private let programs: BootPrograms
    private let media: MediaDesk
    private let bootCounters = BootCounters()
    private let missingPrograms: [MissingProgram]

    init(
        configuration: ConductorConfiguration, store: any ResourceStore, blobs: FileBlobStore, vault: SecretVault,
        authority: CertificateAuthority, operators: OperatorTokens, mediaKey: SecretText, clock: any WallClock,
        logger: Logger
    ) throws {
        self.configuration = configuration
        self.store = store
        self.blobs = blobs
        self.vault = vault
        self.authority = authority
        self.operators = operators
        self.clock = clock
        self.logger = logger
        (programs, missingPrograms) = Self.bootPrograms(configuration, logger)
        let cache = ResourceCache(store: store, kinds: LiveCatalog.kinds, indexes: LiveCatalog.indexes, logger: logger)
        let catalog = LiveCatalog(cache: cache)
        self.catalog = catalog
        let media = MediaDesk(
            catalog: catalog, ports: configuration.ports, authorityDigest: Self.digest(of: authority.certificate),
            key: mediaKey)
        self.media = media
        let medium: MediumURL = { try media.url(of: $0) }
        let opener = BMCOpener(logger: logger)
        self.opener = opener
        let driver: @Sendable (BMC) async throws -> any BMCDriver = { bmc in
            try opener.driver(of: bmc.spec, password: try await vault.open(bmc.spec.passwordSecret))
        }
        var random = RandomSource.system
        let run = UUIDText.random(using: &random)
        let writer = NodeWriter(store: store)
        controller = NodeController(
            writer: writer, nodes: { catalog.nodes() }, node: { catalog.node($0) },
            late: { catalog.lateNodes(at: $0) },
            changes: { catalog.nodeChanges() },
            power: BMCAccess(bmcs: { catalog.bmcs() }, driver: driver, medium: medium), clock: clock, conductor: run,
            logger: logger)
        let controller = controller
        bmcs = BMCController(
            store: store, bmcs: { catalog.bmcs() }, nodes: { catalog.nodes(ofBMC: $0) },
            passwordVersion: { catalog.passwordVersion(of: $0) }, driver: driver,
            powerRead: { node, reading in
                do { try await controller.submit(.powerRead(reading), to: try node.id) } catch {
                    logger.warning("\(node.spec.name): its power was not noted: \(error)")
                }
            }, sensors: sensors, medium: medium, clock: clock, logger: logger)
        addresses = AddressController(
            store: store, nodes: { catalog.nodes() }, catalog: { catalog.networks() },
            changes: {
                catalog.cache.changes(of: [Node.self, PlaneNetwork.self, NodeNetwork.self, AddressAssignment.self])
            }, clock: clock, logger: logger)
        registrar = Registrar(
            store: store, submit: { try await controller.submit($0, to: $1) }, events: writer.events,
            catalog: catalog.registrations,
            saveInventory: { bytes in
                try await blobs.offPool { (blobs) throws(BlobError) in try blobs.put(bytes) }
            }, readInventory: { await StoredInventory.read($0, in: blobs) }, clock: clock)
        audit = AuditLog(store: store, clock: clock)
        certificate = try ServerCertificate(
            authority: authority, names: configuration.names, clock: clock, logger: logger)
        let logs = NodeLogs(directory: "\(configuration.stateDirectory)/logs", clock: clock)
        hub = AgentHub(
            catalog: catalog, controller: controller,
            feed: AgentViewFeed(logger: logger, clock: clock) {
                catalog.segments().map { "\($0.spec.server):\(configuration.ports.agents)" }
            },
            metrics: NodeMetrics(), logs: logs, board: ViewBoard(cache), authority: authority, audit: audit,
            clock: clock,
            apiPort: configuration.ports.api, conductor: run, logger: logger)
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
                let password = try await vault.open(bmc.spec.passwordSecret)
                return opener.console(at: address, of: bmc.spec, password: password)
            },
            record: { node, lines in
                do { try logs.appendConsole(lines, for: node) } catch { logger.warning("console of \(node): \(error)") }
            },
            audit: { [audit] event in
                do { try await audit.record(event) } catch { logger.error("audit event lost: \(error)") }
            }, clock: clock, logger: logger)
        agentPort = AgentPortServer(
            configuration: AgentPortConfiguration(host: "0.0.0.0", port: configuration.ports.agents),
            tls: certificate.agents,
            delegate: hub, logger: logger,
            isRevoked: { node, _ in
                // A node that this version cannot read has not been deleted.
                let snapshot = catalog.cache.snapshot()
                return snapshot.isLoaded && snapshot.get(Node.self, node.raw) == nil
                    && snapshot.undecodable[Node.key(node.raw)] == nil
            })
    }

    func run() async throws {
        try PortProbe.check([
            ("operators' API", configuration.ports.api), ("boot files", configuration.ports.boot),
            ("provisioning", configuration.ports.provisioning), ("agents", configuration.ports.agents),
        ])
        try await agentPort.listen()
        let (controller, blobs) = (controller, blobs)
        let rules = RuleFollower(
            catalog: catalog, readInventory: { await StoredInventory.read($0, in: blobs) },
            submit: { try await controller.submit($0, to: $1) }, logger: logger)
        let services: [any Service] = [
            BMCSessionsEnd(opener: opener), catalog.cache, consoleDesk, controller, rules, bmcs, addresses, hub,
            agentPort,
            certificate,
            provisioning(), bootFiles(),
            operatorAPI(),
            SegmentSupervisor(
                catalog: catalog, store: store, clock: clock, bootPort: configuration.ports.boot, programs: programs,
                counters: bootCounters, logger: logger),
            Housekeeper(catalog: catalog, store: store, blobs: blobs, audit: audit, clock: clock, logger: logger),
        ]
        logger.info("conductor \(Conductor.version) is starting, state in \(configuration.stateDirectory)")
        try await ServiceGroup(
            configuration: .init(
                services: services.map { .init(service: $0) }, gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger)
        ).run()
    }

    // MARK: Servers

    private func provisioning() -> any Service {
        let service = DiscoveryService(
            catalog: catalog, store: store, registrar: registrar, controller: controller,
            tokens: EnrolmentTokens(store: store), addresses: addresses, audit: audit, authority: authority,
            readBlob: { [blobs] digest in
                try await blobs.offPool { (blobs) throws(BlobError) in try blobs.get(digest) }
            }, logs: hub.logs, progress: progress,
            ports: configuration.ports, openSecret: { [vault] in try await vault.open($0) }, clock: clock,
            logger: logger)
        return Application(
            router: ProvisioningRoutes(service: service).router(),
            server: .https(certificate, idleTimeout: .seconds(120)),
            configuration: .init(address: .hostname("0.0.0.0", port: configuration.ports.provisioning), backlog: 4096),
            logger: logger)
    }

    private func bootFiles() -> any Service {
        let desk = BootDesk(
            catalog: catalog, ports: configuration.ports, programs: programs,
            authorityDigest: Self.digest(of: authority.certificate),
            clock: clock, logger: logger)
        let catalog = catalog
        let blobs = blobs
        let media = media
        let authorityPEM = authority.certificatePEM
        return BootHTTP(
            content: BootContent(
                decide: { desk.decide($0) },
                file: { image, name in
                    guard image == Ramdisk.discovery, let ramdisk = catalog.ramdisk() else { return nil }
                    return name == .kernel ? ramdisk.spec.kernel : ramdisk.spec.initrd
                },
                isPublic: { digest in
                    catalog.ramdisk().map { $0.spec.kernel == digest || $0.spec.initrd == digest } ?? false
                },
                authorityPEM: { authorityPEM },
                manifest: { digest in
                    // Role images are public on the segment; nothing else that is stored is.
                    guard catalog.isImage(digest) else { return nil }
                    return try await ImageBlobs.manifest(digest, in: blobs)
                },
                medium: { media.medium($0) }, programs: programs, blobs: BlobReader(blobs: blobs)),
            counters: bootCounters, logger: logger
        ).application(host: "0.0.0.0", port: configuration.ports.boot)
    }

    private func operatorAPI() -> any Service {
        let hub = hub
        let clock = clock
        let catalog = catalog
        let progress = progress
        let consoles = configuration.consoleDirectory
        let agentPort = agentPort
        let live = LiveNodeData(
            progress: { progress.progress(of: $0) }, logSources: NodeLogs.sources.sorted(),
            logs: { hub.logs.read($0, source: $1, $2) },
            console: { node, question in
                let kept = hub.logs.read(node, source: NodeLogs.console, question)
                if kept.end != LogPosition() { return kept }
                guard let consoles, let name = catalog.node(node)?.spec.name else { return nil }
                return LogPage(lines: TextTail.lines(ofFile: "\(consoles)/\(name).log", count: question.count))
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
        let checks = SiteCheckDesk(
            catalog: catalog, vault: vault, blobs: blobs, configuration: configuration, authority: authority,
            missingPrograms: missingPrograms, clock: clock, logger: logger)
        let services = FleetServices(
            store: store, cache: catalog.cache, blobs: blobs, vault: vault,
            gate: Gate(audit: audit), audit: audit, clock: clock, live: live,
            conductor: ConductorInfo(
                version: Conductor.version,
                samples: { [bootCounters] in bootCounters.samples + hub.counters.samples + hub.logs.samples }),
            logger: logger,
            hashPassword: { try PasswordHash.make($0) },
            siteCheck: { await checks.findings($0) })
        let operators = operators
        let api = OperatorAPI(services: services)
        let verify: @Sendable (String) -> Principal? = { operators.verify($0) }
        let barrier: @Sendable () async throws -> Void = { try await catalog.cache.barrier() }
        let dashboard = WebPages(
            reads: api.reads, gate: services.gate, audit: audit, clock: clock, version: Conductor.version,
            verify: verify, barrier: barrier)
        let router = api.router(verify: verify, barrier: barrier, pages: { dashboard.addRoutes(to: $0) })
        return Application(
            router: router, server: .https(certificate),
            configuration: .init(address: .hostname(configuration.apiHost, port: configuration.ports.api)),
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
        let (programs, problems) = BootPrograms.load(files)
        var missing: [MissingProgram] = []
        for problem in problems {
            let (consequence, change) =
                switch problem.name {
                case .biosIPXE:
                    ("BIOS machines without iPXE in the network card cannot boot", "install the package ipxe")
                case .uefiIPXE:
                    ("UEFI machines without iPXE in the network card cannot boot", "install the package ipxe")
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

    private static func digest(of certificate: Certificate) -> Digest {
        var serializer = DER.Serializer()
        guard (try? serializer.serialize(certificate)) != nil else {
            preconditionFailure("an issued certificate has a DER form")
        }
        return Digest(bytes: Array(SHA256.hash(data: serializer.serializedBytes)))
    }
}
