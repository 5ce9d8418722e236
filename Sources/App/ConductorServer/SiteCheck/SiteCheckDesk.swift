import AgentProtocol
import BMCDrivers
import BareMetal
import BlobStore
import BootServer
import CatalogBareMetal
import FleetContract
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel

/// Answers `muster site check`: puts together what is to be checked, out of a site file or of the catalog, and has it
/// checked from this host.
struct SiteCheckDesk: Sendable {
    let catalog: LiveCatalog
    let vault: SecretVault
    let blobs: SiteBlobs
    let configuration: ConductorConfiguration
    let authorities: SiteAuthorities
    let missingPrograms: [MissingProgram]
    let turns: BMCTurns
    let clock: any WallClock
    let logger: Logger

    /// One answer is enough to know; nobody waits for a BMC that takes its time.
    private static let limits = BMCLimits(
        connect: .seconds(3), request: .seconds(8), call: .seconds(12), attemptCountMax: 1)

    /// What is found of `document`; of the site that was applied without one.
    func findings(_ document: SiteDocument?) async -> [SiteCheckReply.Row] {
        await SiteChecker().findings(await subject(document), surroundings)
    }

    private func subject(_ document: SiteDocument?) async -> SiteUnderCheck {
        let rules = document?.rules.map(\.spec) ?? catalog.rules().map(\.spec)
        let said =
            document?.segments.map { entry in
                let metadata = Metadata(name: entry.name, schemaVersion: Segment.schemaVersion, created: clock.now)
                return Segment(metadata: metadata, spec: entry.spec)
            } ?? catalog.segments()
        let segments = said.map { CheckedSegment(name: $0.metadata.name, spec: catalog.asServedHere($0)) }
        var bmcs: [CheckedBMC] = []
        if let document {
            for entry in document.bmcs { bmcs.append(await checked(entry)) }
        } else {
            for bmc in catalog.bmcs() { bmcs.append(await checked(bmc.metadata.name, bmc.spec)) }
        }
        let networks = document?.nodeNetworks?.map(\.spec) ?? catalog.cache.all(NodeNetwork.self).map(\.spec)
        return SiteUnderCheck(
            site: document?.site ?? catalog.site() ?? Site.Spec(name: "", sshKeys: []),
            segments: segments.sorted { $0.name < $1.name }, bmcs: bmcs.sorted { $0.name < $1.name },
            roles: Set(rules.compactMap(\.role) + catalog.nodes().compactMap(\.spec.role)),
            nodeNameServers: networks.flatMap(\.dnsServers), nodeTimeServers: networks.flatMap(\.ntpServers),
            ports: ports(hasProxy: segments.contains(where: \.isProxy)))
    }

    private func ports(hasProxy: Bool) -> [CheckedPort] {
        let ports = configuration.ports
        var needed = [
            CheckedPort(what: "DHCP", transport: .udp, number: 67),
            CheckedPort(what: "TFTP", transport: .udp, number: 69),
        ]
        if hasProxy { needed.append(CheckedPort(what: "proxyDHCP", transport: .udp, number: 4011)) }
        return needed + [
            CheckedPort(what: "boot files", transport: .tcp, number: ports.boot),
            CheckedPort(what: "provisioning", transport: .tcp, number: ports.provisioning),
            CheckedPort(what: "operators' API", transport: .tcp, number: ports.api),
            CheckedPort(what: "agents", transport: .tcp, number: ports.agents),
        ]
    }

    private func checked(_ entry: SiteDocument.BMCEntry) async -> CheckedBMC {
        var spec = BMC.Spec(
            address: entry.address, system: entry.system, username: entry.username, passwordSecret: entry.secretName,
            certificateDigest: entry.certificateDigest, powersOnForDiscovery: entry.powersOnForDiscovery)
        spec.cipherSuite = entry.cipherSuite
        if let known = catalog.bmcs().first(where: { $0.metadata.name == entry.name }),
            known.spec.address == entry.address
        {
            spec.approvedCertificate = known.spec.approvedCertificate
        }
        guard let password = entry.password else { return await checked(entry.name, spec) }
        // What the file gave before is no news: the conductor has made another since.
        let given = try? await vault.open(PasswordSlot.given.secretName(of: entry.name))
        guard given?.revealed != password.clearText else { return await checked(entry.name, spec) }
        return CheckedBMC(name: entry.name, spec: spec, password: SecretText(password.clearText))
    }

    private func checked(_ name: String, _ spec: BMC.Spec) async -> CheckedBMC {
        do {
            return CheckedBMC(name: name, spec: spec, password: try await vault.open(spec.passwordSecret))
        } catch {
            return CheckedBMC(name: name, spec: spec, password: nil, passwordProblem: error.publicMessage)
        }
    }

    private var surroundings: CheckSurroundings {
        let (catalog, blobs, missingPrograms, turns) = (catalog, blobs, missingPrograms, turns)
        let opener = BMCOpener(limits: Self.limits, logger: logger)
        return CheckSurroundings(
            clock: clock, interfaces: { HostFacts.interfaces() },
            foreignServers: { interface, own in
                try await ForeignDHCP.search(on: interface, own: own).map { server in
                    ForeignServer(text: server.description, givesAddresses: server.givesAddresses)
                }
            },
            holder: { HostFacts.holder(of: $0) },
            ask: { try await UDPQuestion.ask($0, $1, $2) }, addresses: { await HostFacts.addresses(of: $0) },
            hardwareClock: { HostFacts.hardwareClock() },
            identify: { spec, password in
                let name = PasswordSlot.parse(spec.passwordSecret)?.bmc ?? spec.passwordSecret
                return try await turns.shared(name) { () async throws in
                    try await opener.driver(of: spec, password: password).identify()
                }
            },
            reach: { await Ping.reach($0) }, stateDirectory: configuration.stateDirectory,
            freeSpace: { HostFacts.freeSpace($0) },
            images: {
                var facts = await Self.images(catalog, blobs)
                facts.missingPrograms = missingPrograms
                return facts
            },
            authority: authorities.now.issuing.validity)
    }

    private static func images(_ catalog: LiveCatalog, _ blobs: SiteBlobs) async -> ImageFacts {
        func isThere(_ digest: Digest) async -> Bool { await blobs.missing(from: [digest]).isEmpty }
        var facts = ImageFacts(hasRamdisk: false, roles: [], missing: [])
        if let ramdisk = catalog.ramdisk() {
            facts.hasRamdisk = true
            if await !isThere(ramdisk.spec.kernel) { facts.missing.append("the discovery kernel") }
            if await !isThere(ramdisk.spec.initrd) { facts.missing.append("the discovery ramdisk") }
        }
        for image in catalog.images() {
            facts.roles.insert(image.spec.role)
            if await !isThere(image.spec.manifest) {
                facts.missing.append("the manifest of image \(image.metadata.name)")
            }
        }
        return facts
    }
}

extension CheckedSegment {
    init(name: String, spec: Segment.Spec) {
        self.init(
            name: name, interface: spec.interface, network: spec.network, server: spec.server,
            relays: spec.relays, dnsServers: spec.dnsServers, ntpServers: spec.ntpServers.map(\.description),
            domain: spec.domain, mtu: spec.mtu.map(Int.init), isProxy: spec.mode == .proxy)
    }
}
