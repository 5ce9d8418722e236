import BMCDrivers
import BareMetal
import BlobPeers
import CatalogBareMetal
import CatalogIdentity
import ControlPlane
import Identity
import IdentityAPI
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import ServiceLifecycle

/// What only one conductor does, and what the others do instead.
extension ConductorParts {
    /// The name of what is led in.
    static let leadershipName = "conductor"

    /// Everything that runs while this conductor leads, writing to `store` alone.
    func leaderServices(_ store: any ResourceStore) -> [any Service] {
        let (catalog, clock, logger, blobs) = (catalog, clock, logger, blobs)
        let vault = vault.over(store)
        let door = door(store, vault)
        let driver: @Sendable (BMC) async throws -> any BMCDriver = { door.driver(of: $0) }
        let writer = NodeWriter(store: store, events: Self.events())
        let controller = nodeController(writer, driver, duty: .leads)
        var backend = identity.backend
        backend.store = store
        backend.vault = vault
        let audit = AuditLog(store: store, clock: clock)
        let services: [any Service] = [
            controller, bmcController(store, door: door, writer: writer, controller: controller, audit: audit),
            RuleFollower(
                catalog: catalog, readInventory: { await StoredInventory.read($0, in: blobs) },
                submit: { try await controller.submit($0, to: $1) }, logger: logger),
            CatalogFollower(
                description: "ConductorFollower", cache: catalog.cache, kinds: [ConductorRecord.self],
                work: { await controller.followConductors() }),
            AddressController(
                store: store, catalog: catalog.addresses, changes: { catalog.addressChanges() }, clock: clock,
                logger: logger),
            authorityController(store, vault, audit), IdentityUpkeep(backend: backend),
            Housekeeper(
                catalog: catalog, store: store, blobs: blobs, audit: audit,
                register: CertificateRegister(store: store, clock: clock), duties: [.catalog], clock: clock,
                logger: logger),
        ]
        return services + [controlPlaneController(store)].compactMap(\.self)
    }

    /// The controllers as the catalog and the conductors have them.
    var siteControllers: SiteControllers {
        let access = peerAccess
        return SiteControllers(
            catalog: catalog, blobs: blobs, manifests: blobFigures.manifests,
            answers: { await access.answers(at: $0) })
    }

    /// Who keeps the site's controllers as they were asked for; nil on a store that has no members.
    private func controlPlaneController(_ store: any ResourceStore) -> ControlPlaneController? {
        guard let membership = engine.membership else { return nil }
        let surroundings = siteControllers
        let desk = ControlPlaneDesk(
            store: store, membership: MembershipOfLeader(membership, isLeading: isLeading), surroundings: surroundings,
            clock: clock)
        return ControlPlaneController(
            settle: { try await desk.settle() }, situations: { surroundings.situations() }, logger: logger)
    }

    /// What runs on a conductor that shares its store, whether it leads or not: it follows what others change of what is
    /// kept in memory beside the catalog.
    func followers() -> [any Service] {
        guard let leadership else { return [] }
        let (operators, tokens, logger) = (operators, identity.backend.tokens, logger)
        let (keys, authorities, cache) = (keys, authorities, catalog.cache)
        let inForce = authoritiesInForce
        return [
            leadership,
            CatalogFollower(
                description: "OperatorFollower", cache: cache, kinds: [OperatorToken.self],
                work: {
                    do { try await operators.load() } catch {
                        logger.warning("operators' tokens are not followed: \(error)")
                    }
                }),
            CatalogFollower(
                description: "TokenKeyFollower", cache: cache, kinds: [Secret.self], work: { tokens.followKeys() }),
            CatalogFollower(
                description: "AuthorityFollower", cache: cache, kinds: [SiteAuthority.self],
                work: {
                    guard let state = cache.get(SiteAuthority.self, SiteAuthority.name)?.status.state,
                        state != authorities.now.state
                    else { return }
                    do {
                        let set = try await keys.open(state)
                        authorities.replace(set)
                        try inForce(set)
                    } catch { logger.error("the site's authorities are not followed: \(error)") }
                }),
        ] + [storeFollower()].compactMap(\.self)
    }

    /// Who tells the store of its members, as the control plane has them; nil on a store that has none. Where the site runs no
    /// members they are those that were named at the start.
    private func storeFollower() -> CatalogFollower? {
        guard let follow = engine.follow else { return nil }
        let (cache, name, logger) = (catalog.cache, configuration.conductorName, logger)
        return CatalogFollower(
            description: "StoreFollower", cache: cache, kinds: [ControlPlaneRecord.self],
            work: {
                let plane = cache.get(ControlPlaneRecord.self, ControlPlaneRecord.name)
                guard let members = plane?.storeMembers(nearest: name), !members.isEmpty else { return }
                do { try follow(members) } catch { logger.error("the store's members are not followed: \(error)") }
            })
    }

    /// Names of events that begin at a place of their own: conductors on one store, and terms of one, each have some.
    static func events() -> EventSequence { EventSequence(first: .random(in: 0..<1_000_000)) }

    /// Whether this conductor leads, by its own clock.
    var isLeading: @Sendable () -> Bool {
        { [leadership] in leadership.map { $0.current != nil } ?? true }
    }

    /// The run of the conductor that leads, as far as the catalog shows it.
    var leader: @Sendable () -> String? {
        let (isAlone, run, cache) = (leadership == nil, run, catalog.cache)
        return { isAlone ? run : cache.get(LeaderRecord.self, Self.leadershipName)?.spec.holder }
    }

    /// The controller of nodes that one term has, or that only takes inputs.
    func nodeController(
        _ writer: NodeWriter, _ driver: @escaping @Sendable (BMC) async throws -> any BMCDriver,
        duty: NodeController.Duty
    ) -> NodeController {
        Self.nodeController(
            writer, driver, duty: duty, catalog: catalog, media: media, isShared: leadership != nil, run: run,
            clock: clock, logger: logger)
    }

    private func bmcController(
        _ store: any ResourceStore, door: BMCDoor, writer: NodeWriter, controller: NodeController, audit: AuditLog
    ) -> BMCController {
        let (catalog, opener, clock, logger) = (catalog, opener, clock, logger)
        return BMCController(
            store: store, bmcs: { catalog.bmcs() }, nodes: { catalog.nodes(ofBMC: $0) },
            passwordVersion: { catalog.passwordVersion(of: $0) }, driver: { door.driver(of: $0) },
            powerRead: { node, reading in
                do { try await controller.submit(.powerRead(reading), to: try node.id) } catch {
                    logger.log(level: error.logLevel(.warning), "\(node.spec.name): its power was not noted: \(error)")
                }
            },
            certificateChanged: { bmc, node, message in
                var operations: [Transaction.Operation] = []
                do {
                    let event = try (node?.id).map {
                        writer.events.event(
                            node: $0, type: "BMCCertificateChanged", message: message, now: clock.now)
                    }
                    if let event { operations.append(try Stored(new: event).put()) }
                    operations.append(
                        try audit.operation(
                            AuditEventSpec(
                                who: "conductor", verb: "refuse certificate", resource: bmc.key, outcome: .denied,
                                summary: message)))
                    _ = try await store.commit(Transaction(operations: operations))
                } catch {
                    logger.log(
                        level: error.logLevel(.error), "\(bmc.metadata.name): its event was not written: \(error)")
                }
            }, sensors: sensors, medium: medium(),
            passwords: PasswordRotator(
                store: store, book: door.passwords, bmcs: { catalog.bmcs() },
                driver: { try opener.driver(of: $0.spec, password: $1) },
                record: { bmc, outcome in
                    try Self.tell(
                        outcome, of: bmc, node: catalog.nodes(ofBMC: bmc.metadata.name).first, events: writer.events,
                        audit: audit, now: clock.now)
                }, turns: turns, clock: clock, logger: logger), clock: clock, logger: logger)
    }

    private func medium() -> MediumURL {
        let media = media
        return { try media.url(of: $0) }
    }

    /// The way to BMCs, with passwords that are written to `store`.
    func door(_ store: any ResourceStore, _ vault: SecretVault) -> BMCDoor {
        let opener = opener
        return BMCDoor(
            opener: { try opener.driver(of: $0, password: $1) }, passwords: VaultPasswords(vault: vault, store: store),
            turns: turns)
    }

    private func authorityController(
        _ store: any ResourceStore, _ vault: SecretVault, _ audit: AuditLog
    ) -> AuthorityController {
        let (catalog, progress, clock, begun) = (catalog, progress, clock, begun)
        return AuthorityController(
            store: store, keys: AuthorityVault(vault: vault, name: keys.name, clock: clock), authorities: authorities,
            dependents: { catalog.dependents(of: $0, heard: { progress.lastHeard($0) ?? begun }, now: clock.now) },
            inForce: authoritiesInForce, audit: audit, clock: clock, logger: logger)
    }

    /// What is done once other authorities are in force.
    private var authoritiesInForce: @Sendable (AuthoritySet) throws -> Void {
        let (configuration, certificate, hub) = (configuration, certificate, hub)
        return { set in
            try certificate.renewIfDue()
            try Conductor.writeAuthorities(set, in: configuration)
            hub.endRefused()
        }
    }

    /// The events of a change of a BMC's password: who asked, and how it has ended.
    private static func tell(
        _ outcome: PasswordRotator.Outcome, of bmc: BMC, node: Node?, events: EventSequence, audit: AuditLog,
        now: Timestamp
    ) throws -> [Transaction.Operation] {
        let asked = outcome.order.source == .site ? "the site file's, applied by" : "asked for by"
        let message = outcome.failure ?? "the password of '\(bmc.metadata.name)' is another one now"
        let summary = "\(asked) \(outcome.order.by), \(outcome.order.at): \(message)"
        var operations = [
            try audit.operation(
                AuditEventSpec(
                    who: "conductor", verb: "rotate password", resource: bmc.key,
                    outcome: outcome.failure.map { .failed(message: $0) } ?? .ok, summary: summary))
        ]
        if let id = try (node?.id) {
            let type = outcome.failure == nil ? "BMCPasswordChanged" : "BMCPasswordNotChanged"
            operations.append(try Stored(new: events.event(node: id, type: type, message: summary, now: now)).put())
        }
        return operations
    }
}
