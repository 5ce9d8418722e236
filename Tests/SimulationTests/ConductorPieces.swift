import AgentProtocol
import BootServer
import CatalogBareMetal
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import TPMVerification
import TestSupport
import struct Crypto.SHA256

@testable import BareMetal
@testable import ConductorServer

/// The conductor's own parts, wired as `ConductorParts` does, each with its own handle of the store.
struct ConductorPieces {
    let catalog: LiveCatalog
    let controller: NodeController
    let registrar: Registrar
    let service: DiscoveryService
    let bmcController: BMCController
    let desk: BootDesk
    let leases: LeaseStore

    init(_ conductor: Conductor) {
        let world = conductor.world
        let clock = world.wall
        let logger = Logger(label: "simulated") { _ in SwiftLogNoOpLogHandler() }
        func store(_ part: StoreHandle.Part) -> StoreHandle { StoreHandle(part: part, conductor: conductor) }
        let random = RandomSource.seeded(world.random.next())
        let bytes = RandomBytes { count in
            var random = random
            return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        }
        let cache = ResourceCache(
            store: store(.cache), kinds: LiveCatalog.kinds, indexes: LiveCatalog.indexes, clock: world.pace,
            logger: logger)
        let catalog = LiveCatalog(cache: cache)
        let driver: @Sendable (BMC) async throws -> any BMCDriver = { bmc in
            guard let machine = world.machines.first(where: { $0.bmcName == bmc.metadata.name }) else {
                throw BMCError.unreachable(cause: "no such BMC")
            }
            return BMCDouble(machine: machine, conductor: conductor)
        }
        let writer = NodeWriter(store: store(.nodeWriter))
        let controller = NodeController(
            writer: writer, nodes: { catalog.nodes() }, node: { catalog.node($0) },
            late: { catalog.lateNodes(at: $0) }, changes: { catalog.nodeChanges() },
            power: BMCAccess(bmcs: { catalog.bmcs() }, driver: driver), clock: clock,
            runs: { [conductor.name] }, logger: logger,
            pause: { duration in
                await world.pause(duration.milliseconds, run: conductor.run, "waits for the store")
                if !conductor.isAlive { throw CancellationError() }
            })
        let registrar = Registrar(
            store: store(.registrar), submit: { try await controller.submit($0, to: $1) }, events: writer.events,
            catalog: catalog.registrations,
            saveInventory: { Digest(bytes: Array(SHA256.hash(data: $0))) }, clock: clock, random: random,
            pause: { await world.pause(20, run: conductor.run, "waits for the catalog") })
        self.catalog = catalog
        self.controller = controller
        self.registrar = registrar
        bmcController = BMCController(
            store: store(.bmcController), bmcs: { catalog.bmcs() }, nodes: { catalog.nodes(ofBMC: $0) },
            passwordVersion: { _ in nil }, driver: driver,
            powerRead: { node, reading in _ = try? await controller.submit(.powerRead(reading), to: try node.id) },
            clock: clock, random: random, logger: logger)
        leases = LeaseStore(
            store: store(.leases), segment: world.site.segment.metadata.name,
            network: world.site.segment.spec.network, clock: clock)
        desk = BootDesk(
            catalog: catalog, ports: ConductorPorts(), programs: BootPrograms([:]),
            authorities: SiteFixture.authorities,
            clock: clock, logger: logger)
        service = DiscoveryService(
            catalog: catalog, store: store(.tokens), registrar: registrar,
            attestation: AttestationDesk(clock: clock, random: bytes),
            controller: controller,
            tokens: EnrolmentTokens(store: store(.tokens), random: bytes),
            addresses: AddressController(
                store: store(.addresses), catalog: catalog.addresses, changes: { catalog.addressChanges() },
                clock: clock, logger: logger),
            audit: AuditLog(store: store(.audit), clock: clock, random: bytes), authorities: SiteFixture.authorities,
            register: CertificateRegister(store: store(.certificates), clock: clock),
            readBlob: { _ in [1, 2, 3] }, logs: NodeLogs(directory: "/nonexistent", clock: clock),
            progress: LiveProgress(), ports: ConductorPorts(),
            openSecret: { name in world.rescueSecret(name) }, clock: clock, logger: logger)
    }
}
