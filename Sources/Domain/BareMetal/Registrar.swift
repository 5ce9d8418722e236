import AgentProtocol
import CatalogBareMetal
import struct Crypto.SHA256
import FoundationEssentials
import Primitives
import ResourceModel

/// Takes machines' inventories: finds or makes the node they belong to and opens a session.
public struct Registrar: Sendable {
    private let store: any ResourceStore
    private let submit: @Sendable (NodeInput, NodeID) async throws -> Node
    private let events: EventSequence
    private let catalog: Catalog
    private let saveInventory: @Sendable ([UInt8]) async throws -> Digest
    private let readInventory: @Sendable (Digest) async -> InventoryReport?
    private let attest: @Sendable (InventoryPost) -> AttestationFinding
    private let clock: any WallClock
    private let random: RandomSource
    private let names = NamesUnderWay()
    private let pause: @Sendable () async throws -> Void

    /// What the registrar reads. Each question is answered at a cost that does not grow with the fleet.
    public struct Catalog: Sendable {
        /// The nodes that share a mark with an identity (see `IdentityFusion.marks`), in order of their identifiers.
        public var sharing: @Sendable (MachineIdentity) -> [Node]
        /// The names that nodes have now.
        public var names: @Sendable () -> NodeNames
        /// How many nodes nobody has let in.
        public var strangerCount: @Sendable () -> Int
        /// One node.
        public var node: @Sendable (NodeID) -> Node?
        /// All rules.
        public var rules: @Sendable () -> [Rule]
        /// The BMC that tells this SMBIOS UUID as its machine's, in any of the orders of bytes that BMCs have.
        public var bmc: @Sendable (String) -> BMC?
        /// All bills of materials.
        public var skus: @Sendable () -> [SKU]
        /// The PCRs that the site requires to stay as they are.
        public var requiredPCRs: @Sendable () -> Set<Int> = { TPMPolicy.requiredPCRsDefault }

        /// A catalog.
        public init(
            sharing: @escaping @Sendable (MachineIdentity) -> [Node], names: @escaping @Sendable () -> NodeNames,
            strangerCount: @escaping @Sendable () -> Int, node: @escaping @Sendable (NodeID) -> Node?,
            rules: @escaping @Sendable () -> [Rule], bmc: @escaping @Sendable (String) -> BMC?,
            skus: @escaping @Sendable () -> [SKU]
        ) {
            self.sharing = sharing
            self.names = names
            self.strangerCount = strangerCount
            self.node = node
            self.rules = rules
            self.bmc = bmc
            self.skus = skus
        }

        /// A catalog that looks through lists, for few nodes and BMCs.
        public init(
            nodes: @escaping @Sendable () -> [Node], node: @escaping @Sendable (NodeID) -> Node?,
            rules: @escaping @Sendable () -> [Rule], bmcs: @escaping @Sendable () -> [BMC],
            skus: @escaping @Sendable () -> [SKU] = { [] }
        ) {
            self.init(
                sharing: { claim in
                    let marks = Set(IdentityFusion.marks(of: claim))
                    return nodes().filter { !marks.isDisjoint(with: IdentityFusion.marks(of: $0.status.identity)) }
                },
                names: {
                    let names = Set(nodes().map(\.spec.name))
                    // Not known here: every look counts as one after a name has become free.
                    return NodeNames(freed: .random(in: 0 ... .max)) { names.contains($0) }
                },
                strangerCount: { nodes().count { $0.spec.approval == nil } }, node: node, rules: rules,
                bmc: { uuid in
                    bmcs().first { $0.status.systemUUID.map { SystemUUID.isSame($0, uuid) } ?? false }
                }, skus: skus)
        }
    }

    /// The most machines that may wait for approval: strangers on a segment cannot fill the store.
    public static let strangerCountMax = 20_000
    /// How often a registration begins anew because others were quicker: as many machines may ask for the next number
    /// of one name at the same moment.
    static let attemptCountMax = 64

    /// A registrar that tells nodes by `submit` what happened to them and names events by `events`.
    ///
    /// `readInventory` gives an inventory that was saved; nil when it cannot be read, and then nothing is compared.
    /// `attest` tells what a post's TPM proves.
    /// `pause` gives the catalog a moment to show a node that another registration has just made.
    public init(
        store: any ResourceStore, submit: @escaping @Sendable (NodeInput, NodeID) async throws -> Node,
        events: EventSequence, catalog: Catalog, saveInventory: @escaping @Sendable ([UInt8]) async throws -> Digest,
        readInventory: @escaping @Sendable (Digest) async -> InventoryReport? = { _ in nil },
        attest: @escaping @Sendable (InventoryPost) -> AttestationFinding = { _ in .nothing },
        clock: any WallClock, random: RandomSource = .system,
        pause: @escaping @Sendable () async throws -> Void = { try await Task.sleep(for: .milliseconds(20)) }
    ) {
        self.pause = pause
        self.readInventory = readInventory
        self.attest = attest
        self.store = store
        self.submit = submit
        self.events = events
        self.random = random
        self.catalog = catalog
        self.saveInventory = saveInventory
        self.clock = clock
    }

    /// Registers the machine that posted `post`. Throws `RegistrationError` or `StoreError`.
    public func register(_ post: InventoryPost) async throws -> InventoryReply {
        guard (8...64).contains(post.bootID.utf8.count), post.bootID.hasOnlyPrintableScalars else {
            throw RegistrationError.badBootID
        }
        let finding = attest(post)
        var inventory = post.inventory
        inventory.attestation = finding.attestation
        var claim = IdentityFusion.claim(of: inventory)
        guard claim.smbiosUUID != nil || claim.serial != nil || !claim.macs.isEmpty else {
            throw RegistrationError.nameless
        }
        let (decision, explanation) = RuleEvaluation.evaluate(rules: catalog.rules(), inventory: inventory)
        var blocks = decision.blocks(among: catalog.skus(), inventory)
        var changes: [String] = []
        var taken: Set<String> = []
        claim.bmc = decision.bmc ?? claim.smbiosUUID.flatMap { catalog.bmc($0) }?.metadata.name
        var holding: NamesUnderWay.Hold?
        defer { withExtendedLifetime(holding) {} }
        for _ in 0..<Self.attemptCountMax {
            let id: NodeID
            let nodes = catalog.sharing(claim)
            switch IdentityFusion.judge(claim, among: try nodes.map { (try $0.id, $0.bindingIdentity) }) {
            case .known(let known):
                id = known
                guard let node = nodes.first(where: { $0.metadata.name == known.raw }) else { break }
                claim = IdentityFusion.fuse(claim, into: node.status.identity)
                blocks = decision.blocks(sku: node.spec.sku, among: catalog.skus(), inventory)
                changes = await differences(from: node, inventory, claim)
            case .unknown:
                let (naming, hold) = names.choose(
                    for: decision, inventory, otherwise: Self.defaultName(claim), catalog: catalog.names(),
                    taken: taken)
                holding = hold
                var birth = Birth(
                    claim: claim, decision: decision, naming: naming, nearest: explanation.nearMisses.first)
                // No rule lets in what has to be looked at.
                if !blocks.isEmpty { birth.decision.approvedBy = nil }
                switch try await make(birth) {
                case .made(let made): id = made
                case .nameTaken:
                    taken.insert(naming.name)
                    continue
                case .disturbed: continue
                }
            case .conflict(let touched, let reason):
                try await recordConflict(claim, touched, reason)
                throw RegistrationError.conflict(reason)
            }
            // Only now: strangers without an identity of their own leave nothing behind.
            let digest = try await saveInventory(Array(try JSONEncoder().encode(inventory)))
            let token = "\(id).\(randomText())"
            var registration = Registration(
                claim: Node.Claim(
                    identity: claim, inventory: digest, summary: Self.summary(of: inventory),
                    blocks: blocks.isEmpty ? nil : blocks, attestation: finding.attestation),
                tokenHash: Self.hash(token), bootID: post.bootID, changes: changes)
            registration.attestationProblem = finding.problem
            registration.requiredPCRs = catalog.requiredPCRs()
            let node = try await submit(.registered(registration), id)
            return InventoryReply(node: id, name: node.spec.name, session: token)
        }
        throw RegistrationError.busy
    }

    /// The node whose present session has this token, which begins with its identifier; nil when none has.
    public func node(withSession token: String) -> Node? {
        guard let end = token.lastIndex(of: "."), let id = try? NodeID(String(token[..<end])),
            let node = catalog.node(id), node.status.session?.tokenHash == Self.hash(token)
        else { return nil }
        return node
    }

    /// In what the machine differs from how it was seen last.
    private func differences(
        from node: Node, _ inventory: InventoryReport, _ claim: MachineIdentity
    ) async -> [String] {
        guard let digest = node.status.session?.claim?.inventory ?? node.status.inventory,
            let last = await readInventory(digest)
        else { return [] }
        let before = (node.status.session?.claim?.identity ?? node.status.identity).bmc
        let bmc = before == claim.bmc ? [] : ["BMC \(before ?? "none") → \(claim.bmc ?? "none")"]
        return InventoryDifference.between(last, inventory) + bmc
    }

    /// What a new node is made of.
    private struct Birth {
        var claim: MachineIdentity
        var decision: RuleDecision
        var naming: NodeNaming.Outcome
        var nearest: String?

        /// What the node's first event says.
        var message: String {
            var message = "a new machine: \(naming.name)"
            if let note = naming.note { message += "; \(note)" }
            let isUndecided = decision.name == nil && decision.role == nil && decision.conflicts.isEmpty
            if isUndecided, let nearest { message += "; no rule names it, but \(nearest)" }
            return message
        }
    }

    /// What came of an attempt to make a node.
    private enum Making {
        case made(NodeID)
        /// Another node was given the name at the same moment.
        case nameTaken
        /// Another registration of the same machine was quicker.
        case disturbed
    }

    private func make(_ birth: Birth) async throws -> Making {
        guard catalog.strangerCount() < Self.strangerCountMax else {
            throw RegistrationError.tooManyStrangers
        }
        let now = clock.now
        let (claim, decision) = (birth.claim, birth.decision)
        var generator = random
        let id = NodeID.random(using: &generator)
        var spec = Node.Spec(name: birth.naming.name)
        spec.take(decision)
        if let rule = decision.approvedBy {
            spec.approval = Node.Approval(by: "rule \(rule)", at: now, number: 1, isByRule: true)
        }
        let node = Node(
            metadata: Metadata(name: id.raw, schemaVersion: Node.schemaVersion, created: now), spec: spec,
            status: Node.Status(state: .enroll, since: now, identity: claim))
        var transaction = Transaction()
        for name in Self.marks(of: claim) + [Self.nameMark(spec.name)] {
            let resource = MachineMark(
                metadata: Metadata(name: name, schemaVersion: MachineMark.schemaVersion, created: now),
                spec: MachineMark.Spec(node: id))
            transaction.conditions.append(.absent(resource.key))
            transaction.operations.append(try Stored(new: resource).put())
        }
        transaction.operations.append(try Stored(new: node).put())
        transaction.operations.append(
            try Stored(new: events.event(node: id, type: "Discovered", message: birth.message, now: now)).put())
        do {
            _ = try await store.commit(transaction)
            return .made(id)
        } catch {
            guard case .conflict(let key) = error else { throw error }
            let isHeld = try await settle(key)
            return isHeld && key.name == Self.nameMark(spec.name) ? .nameTaken : .disturbed
        }
    }

    /// Takes a mark away that its node does not bear any more, so that the next try succeeds, and returns false.
    ///
    /// True when its node bears it; for a machine's own mark after a moment, so that the next look at the catalog shows
    /// the node that was just made.
    private func settle(_ key: ResourceKey) async throws -> Bool {
        guard let mark = try await store.fetch(MachineMark.self, key.name) else { return false }
        let owner = try await store.fetch(Node.self, mark.value.spec.node.raw)
        if let owner, key.name == Self.nameMark(owner.value.spec.name) { return true }
        if let owner, Self.marks(of: owner.value.status.identity).contains(key.name) {
            try await pause()
            return true
        }
        _ = try await store.commit(Transaction(conditions: [mark.unchanged], operations: [.delete(key)]))
        return false
    }

    /// The mark that keeps two machines that are made at the same moment from having one name.
    static func nameMark(_ name: String) -> String { "name-\(name)" }

    /// The names of the marks of an identity; see `MachineMark`.
    static func marks(of identity: MachineIdentity) -> [String] {
        let uuid = identity.smbiosUUID.map { uuid in
            "uuid-"
                + uuid.unicodeScalars.filter { $0.isASCII && $0.value > 0x20 && $0 != "/" }.prefix(150).map(String.init)
                .joined()
        }
        return [uuid].compactMap { $0 } + identity.macs.sorted().prefix(60).map { "mac-\($0)" }
    }

    private func recordConflict(_ claim: MachineIdentity, _ nodes: [NodeID], _ reason: String) async throws {
        let now = clock.now
        // One for each set of nodes: a machine that tells ever new stories makes no ever new conflicts.
        let name = String(Self.hash(nodes.map(\.raw).sorted().joined(separator: "|")).hex.prefix(16))
        try await store.update(IdentityConflict.self, name) { current in
            var stored =
                current
                ?? Stored(
                    new: IdentityConflict(
                        metadata: Metadata(name: name, schemaVersion: IdentityConflict.schemaVersion, created: now),
                        spec: IdentityConflict.Spec(claim: claim, nodes: nodes, reason: reason),
                        status: IdentityConflict.Status(lastSeen: now, count: 0)))
            stored.value.spec = IdentityConflict.Spec(claim: claim, nodes: nodes, reason: reason.printable(limit: 2000))
            stored.value.status.lastSeen = now
            stored.value.status.count += 1
            return stored
        }
    }

    /// The name of a machine that no rule names: made of its lowest MAC address, UUID or serial number.
    public static func defaultName(_ claim: MachineIdentity) -> String {
        let mark = claim.macs.min()?.bytes.suffix(3) ?? hash(claim.smbiosUUID ?? claim.serial ?? "").bytes.prefix(3)
        return "node-\(Hex.encode(mark))"
    }

    static func summary(of inventory: InventoryReport) -> InventorySummary {
        let model = [inventory.system.vendor, inventory.system.product].compactMap { $0 }.joined(separator: " ")
        return InventorySummary(
            model: model.isEmpty ? "unknown" : model, processors: inventory.cpu.threads,
            memory: inventory.memory.total,
            disks: inventory.disks.prefix(24).map { disk in
                InventorySummary.Disk(serial: disk.serial ?? disk.idPath ?? disk.name, size: disk.size)
            },
            firmware: inventory.system.firmwareMode.rawValue, bmcAddress: inventory.bmc?.address)
    }

    /// SHA-256 of a token, as stored.
    public static func hash(_ text: String) -> Digest { Digest(bytes: Array(SHA256.hash(data: Array(text.utf8)))) }

    private func randomText() -> String {
        var generator = random
        return Hex.encode((0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) })
    }
}

extension Node.Spec {
    /// Takes over what the rules decide and nobody has said yet; the name and the approval are not among that.
    public mutating func take(_ decision: RuleDecision) {
        role = role ?? decision.role
        rack = rack ?? decision.rack
        bmc = bmc ?? decision.bmc
        network = network ?? decision.network
        sku = sku ?? decision.sku
        if rootDisk == RootDiskHint(), let hint = decision.rootDisk { rootDisk = hint }
        if dataDisks == nil { dataDisks = decision.dataDisks }
    }
}

/// What became of a machine's evidence.
public enum AttestationFinding: Sendable, Hashable {
    /// It sent none.
    case nothing
    /// It proves this.
    case proven(Attestation)
    /// It proves nothing, for this cause.
    case failed(String)

    /// What is proven.
    public var attestation: Attestation? { if case .proven(let attestation) = self { attestation } else { nil } }
    /// Why nothing is.
    public var problem: String? { if case .failed(let why) = self { why } else { nil } }
}

/// Why a machine was not registered.
public enum RegistrationError: UserFacingError, Hashable {
    case badBootID
    case nameless
    case conflict(String)
    case tooManyStrangers
    case busy

    public var publicMessage: String {
        switch self {
        case .badBootID: "The boot identifier must be 8 to 64 printable characters."
        case .nameless:
            "The machine tells neither SMBIOS UUID nor serial number nor a MAC address; it cannot be told from others."
        case .conflict(let reason):
            "The machine's identity is in conflict: \(reason). An operator has to decide: muster conflict list"
        case .tooManyStrangers:
            "Too many machines wait for approval (\(Registrar.strangerCountMax)); approve or delete some first."
        case .busy: "The registration was disturbed by others too often; try again."
        }
    }
}
