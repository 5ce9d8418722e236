import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import FleetContract
import Primitives
import ResourceModel

/// What the store holds of a site now.
public struct CurrentSite: Sendable {
    /// The site as a whole.
    public var site: Stored<Site>?
    /// All segments.
    public var segments: [Stored<Segment>]
    /// All BMCs.
    public var bmcs: [Stored<BMC>]
    /// All rules.
    public var rules: [Stored<Rule>]
    /// The BMCs' passwords as stored, by the secret's name; see `PasswordSlot`.
    public var secrets: [String: Stored<Secret>]
    /// The same in clear text, by the secret's name; those that do not open are left out and written anew.
    public var passwords: [String: Password]
    /// The names of the nodes that were given a BMC by name, by the BMC's name.
    public var bmcUsers: [String: [String]]
    /// All bills of materials.
    public var skus: [Stored<SKU>] = []
    /// All authorities of TPM makers.
    public var tpmAuthorities: [Stored<TPMAuthority>] = []
    /// All networks.
    public var networks: [Stored<PlaneNetwork>] = []
    /// All node networks.
    public var nodeNetworks: [Stored<NodeNetwork>] = []
    /// The names of the nodes that have a node network, by its name.
    public var nodeNetworkUsers: [String: [String]] = [:]

    /// What the store holds; an empty one by default.
    public init(
        site: Stored<Site>? = nil, segments: [Stored<Segment>] = [], bmcs: [Stored<BMC>] = [],
        rules: [Stored<Rule>] = [], secrets: [String: Stored<Secret>] = [:], passwords: [String: Password] = [:],
        bmcUsers: [String: [String]] = [:]
    ) {
        self.site = site
        self.segments = segments
        self.bmcs = bmcs
        self.rules = rules
        self.secrets = secrets
        self.passwords = passwords
        self.bmcUsers = bmcUsers
    }
}

/// The steps from what the store holds to what a site file says. Made by a pure function; applying it twice changes
/// nothing the second time.
public struct SitePlan: Sendable {
    /// In the order in which they are carried out.
    public private(set) var steps: [Step] = []

    /// What people see.
    public var changes: [SitePlanReply.Change] { steps.map(\.change) }

    /// One resource that is written or deleted.
    public struct Step: Sendable {
        /// What people see of it.
        public let change: SitePlanReply.Change
        let work: Work
    }

    enum Work: Sendable {
        case write(Transaction.Operation, if: Transaction.Condition)
        case seal(
            name: String, purpose: String, Password, replacing: Stored<Secret>?, if: [Transaction.Condition])
        case delete(ResourceKey, if: Transaction.Condition)
    }

    /// The steps from `current` to `desired`; throws `SiteError` when `desired` is not right or takes away what is used.
    ///
    /// What has to be there for others comes first: passwords, BMCs, segments, rules, the site; deletions go the other
    /// way round. `by` is who applies it.
    public static func make(
        desired: SiteDocument, current: CurrentSite, now: Timestamp, by: String = "conductor"
    ) throws(SiteError) -> SitePlan {
        let problems = desired.problems() + unmet(desired, current)
        guard problems.isEmpty else { throw SiteError(problems) }
        var plan = SitePlan()
        do {
            try plan.writeBMCs(desired.bmcs, current, now, by: by)
            try plan.write("segment", desired.segments.map { ($0.name, $0.spec) }, current.segments) {
                Segment(metadata: $0, spec: $1)
            } at: {
                now
            }
            try plan.write("network", (desired.networks ?? []).map { ($0.name, $0.spec) }, current.networks) {
                PlaneNetwork(metadata: $0, spec: $1)
            } at: {
                now
            }
            let nodeNetworks = (desired.nodeNetworks ?? []).map { ($0.name, $0.spec) }
            try plan.write("node network", nodeNetworks, current.nodeNetworks) {
                NodeNetwork(metadata: $0, spec: $1)
            } at: {
                now
            }
            try plan.write("sku", (desired.skus ?? []).map { ($0.name, $0.spec) }, current.skus) {
                SKU(metadata: $0, spec: $1)
            } at: {
                now
            }
            try plan.write("TPM authority", authorities(desired, current), current.tpmAuthorities) {
                TPMAuthority(metadata: $0, spec: $1)
            } at: {
                now
            }
            try plan.write("rule", desired.rules.map { ($0.name, $0.spec) }, current.rules) {
                Rule(metadata: $0, spec: $1)
            } at: {
                now
            }
            try plan.write("site", [(Site.name, desired.site)], current.site.map { [$0] } ?? []) {
                Site(metadata: $0, spec: $1)
            } at: {
                now
            }
        } catch {
            throw SiteError([SiteProblem(path: "", message: error.publicMessage)])
        }
        plan.delete("rule", current.rules, except: Set(desired.rules.map(\.name)))
        plan.delete(
            "TPM authority", current.tpmAuthorities, except: Set((desired.tpmAuthorities ?? []).map(\.name)))
        plan.delete("sku", current.skus, except: Set((desired.skus ?? []).map(\.name)))
        plan.delete("node network", current.nodeNetworks, except: Set((desired.nodeNetworks ?? []).map(\.name)))
        plan.delete("network", current.networks, except: Set((desired.networks ?? []).map(\.name)))
        plan.delete("segment", current.segments, except: Set(desired.segments.map(\.name)))
        plan.deleteBMCs(current, except: desired.bmcs)
        return plan
    }

    /// The authorities with their certificates, those that are kept already as they are.
    private static func authorities(
        _ desired: SiteDocument, _ current: CurrentSite
    ) -> [(name: String, spec: TPMAuthority.Spec)] {
        (desired.tpmAuthorities ?? []).compactMap { entry in
            let kept = current.tpmAuthorities.first { $0.value.metadata.name == entry.name }?.value.spec.certificate
            return (entry.certificate ?? kept).map { (entry.name, TPMAuthority.Spec(certificate: $0)) }
        }
    }

    private static func unmet(_ desired: SiteDocument, _ current: CurrentSite) -> [SiteProblem] {
        var problems: [SiteProblem] = []
        let known = Set(current.tpmAuthorities.map(\.value.metadata.name))
        for (index, authority) in (desired.tpmAuthorities ?? []).enumerated()
        where authority.certificate == nil && !known.contains(authority.name) {
            let message = "the certificate of '\(authority.name)' is missing"
            problems.append(SiteProblem(path: "tpm.authorities[\(index)]", message: message))
        }
        for (index, bmc) in desired.bmcs.enumerated()
        where bmc.password == nil && current.secrets[bmc.secretName] == nil {
            let message = "the password of '\(bmc.name)' is missing"
            problems.append(SiteProblem(path: "bmcs[\(index)]", message: message))
        }
        let kept = Set(desired.bmcs.map(\.name))
        for bmc in current.bmcs where !kept.contains(bmc.value.metadata.name) {
            let name = bmc.value.metadata.name
            guard let users = current.bmcUsers[name], !users.isEmpty else { continue }
            let nodes = users.sorted().prefix(10).joined(separator: ", ")
            let message =
                "'\(name)' is not in the site any more but is the BMC of \(nodes); leave it in, or give the node "
                + "another with 'muster node set NODE --bmc NAME'"
            problems.append(SiteProblem(path: "bmcs", message: message))
        }
        let keptNetworks = Set((desired.nodeNetworks ?? []).map(\.name))
        for (name, users) in current.nodeNetworkUsers.sorted(by: { $0.key < $1.key }) where !keptNetworks.contains(name)
        {
            let nodes = users.sorted().prefix(10).joined(separator: ", ")
            let message =
                "'\(name)' is not in the site any more but is the network of \(nodes); leave it in, or give the node "
                + "another with 'muster node set NODE --network NAME'"
            problems.append(SiteProblem(path: "nodeNetworks", message: message))
        }
        return problems
    }

    private mutating func write<R: Resource>(
        _ kind: String, _ desired: [(name: String, spec: R.Spec)], _ current: [Stored<R>],
        make: (Metadata, R.Spec) -> R, at now: () -> Timestamp
    ) throws(StoreError) {
        let existing = Dictionary(current.map { ($0.value.metadata.name, $0) }, uniquingKeysWith: { first, _ in first })
        for (name, spec) in desired {
            if var stored = existing[name] {
                let fields = try FieldDifference.between(stored.value.spec, spec)
                guard stored.value.spec != spec else { continue }
                stored.value.spec = spec
                stored.value.metadata.generation = stored.value.metadata.generation.next
                try append(.update, kind, name, fields, stored)
            } else {
                let metadata = Metadata(name: name, schemaVersion: R.schemaVersion, created: now())
                try append(
                    .create, kind, name, FieldDifference.between(nil, spec), Stored(new: make(metadata, spec)))
            }
        }
    }

    private mutating func append<R: Resource>(
        _ action: SitePlanReply.Change.Action, _ kind: String, _ name: String, _ fields: [SitePlanReply.Field],
        _ stored: Stored<R>
    ) throws(StoreError) {
        let change = SitePlanReply.Change(action: action, kind: kind, name: name, fields: fields)
        steps.append(Step(change: change, work: .write(try stored.put(), if: stored.unchanged)))
    }

    private mutating func writeBMCs(
        _ desired: [SiteDocument.BMCEntry], _ current: CurrentSite, _ now: Timestamp, by: String
    ) throws(StoreError) {
        let stored = Dictionary(
            current.bmcs.map { ($0.value.metadata.name, $0) }, uniquingKeysWith: { first, _ in first })
        let known = stored.mapValues(\.value.spec)
        let offered = Set(
            desired.filter { writePassword(of: $0, current, stored[$0.name]) }.map(\.name))
        let specs = desired.map { bmc in
            var spec = BMC.Spec(
                address: bmc.address, system: bmc.system, username: bmc.username, passwordSecret: bmc.secretName,
                certificateDigest: bmc.certificateDigest, cipherSuite: bmc.cipherSuite,
                powersOnForDiscovery: bmc.powersOnForDiscovery, boot: bmc.boot)
            spec.power = known[bmc.name]?.power
            spec.passwordOrder = known[bmc.name]?.passwordOrder
            if offered.contains(bmc.name) {
                let seen = stored[bmc.name]?.value.status.password?.orderSeen
                spec.passwordOrder = BMC.PasswordOrder(
                    number: max(spec.passwordOrder?.number ?? 0, seen ?? 0) + 1, source: .site, by: by, at: now)
            }
            // What was looked at is the certificate of what answers there.
            if known[bmc.name]?.address == bmc.address {
                spec.approvedCertificate = known[bmc.name]?.approvedCertificate
            }
            spec.console = bmc.console
            spec.recordsConsole = bmc.recordsConsole
            return (bmc.name, spec)
        }
        try write("bmc", specs, current.bmcs) {
            BMC(metadata: $0, spec: $1, status: BMC.Status())
        } at: {
            now
        }
    }

    /// Writes the password that the file gives, when it is another than the one that the file gave before; a password that
    /// the conductor has made meanwhile is not undone by the same file.
    ///
    /// True when the conductor has to find out first whether the BMC takes it, since it holds another one that the BMC
    /// takes, and that nobody else knows.
    private mutating func writePassword(
        of bmc: SiteDocument.BMCEntry, _ current: CurrentSite, _ stored: Stored<BMC>?
    ) -> Bool {
        let given = PasswordSlot.given.secretName(of: bmc.name)
        let isOffered = current.secrets[given] != nil || stored?.value.isPasswordPending == true
        let isNew = stored == nil && isOffered
        let before = current.passwords[given] ?? current.passwords[bmc.secretName]
        guard let password = bmc.password, before != password else { return isNew }
        let name = isOffered ? given : bmc.secretName
        let old = current.secrets[name]
        let change = SitePlanReply.Change(
            action: before == nil && old == nil ? .create : .update, kind: "password", name: bmc.name, fields: [])
        let work = Work.seal(
            name: name, purpose: "password of the BMC \(bmc.name)", password, replacing: old,
            // Nobody may have begun to change it.
            if: stored.map { [$0.unchanged] } ?? [])
        steps.append(Step(change: change, work: work))
        return isOffered
    }

    private mutating func delete<R: Resource>(_ kind: String, _ current: [Stored<R>], except kept: Set<String>) {
        for stored in current where !kept.contains(stored.value.metadata.name) {
            let change = SitePlanReply.Change(
                action: .delete, kind: kind, name: stored.value.metadata.name, fields: [])
            steps.append(Step(change: change, work: .delete(stored.value.key, if: stored.unchanged)))
        }
    }

    private mutating func deleteBMCs(_ current: CurrentSite, except desired: [SiteDocument.BMCEntry]) {
        delete("bmc", current.bmcs, except: Set(desired.map(\.name)))
        let kept = Set(desired.map(\.name))
        for (name, secret) in current.secrets.sorted(by: { $0.key < $1.key }) {
            guard let bmc = PasswordSlot.parse(name)?.bmc, !kept.contains(bmc) else { continue }
            // What only the vault knows stays there: the BMC may come back.
            guard current.secrets[PasswordSlot.given.secretName(of: bmc)] == nil,
                current.secrets[PasswordSlot.next.secretName(of: bmc)] == nil
            else { continue }
            let change = SitePlanReply.Change(action: .delete, kind: "password", name: bmc, fields: [])
            steps.append(Step(change: change, work: .delete(secret.value.key, if: secret.unchanged)))
        }
    }
}

extension SitePlan {
    /// Operations of one transaction; the rest of the store's limit is left to the audit event.
    static let operationCountMax = 50

    /// The plan as transactions within the store's limits; `seal` makes the envelope of a password.
    ///
    /// A site of ordinary size is one transaction. A larger one is applied in the plan's order, and applying it again
    /// goes on where a failure has ended it. Throws `StoreError.limitExceeded` when a document is too large, and what
    /// `seal` throws.
    public func transactions(
        sealing seal: (_ name: String, _ purpose: String, Password, _ replacing: Stored<Secret>?) throws -> Stored<
            Secret
        >
    ) throws -> [Transaction] {
        var transactions: [Transaction] = []
        var next = Transaction()
        for step in steps {
            switch step.work {
            case .write(let operation, if: let condition):
                next.conditions.append(condition)
                next.operations.append(operation)
            case .delete(let key, if: let condition):
                next.conditions.append(condition)
                next.operations.append(.delete(key))
            case .seal(let name, let purpose, let password, let old, let conditions):
                let sealed = try seal(name, purpose, password, old)
                next.conditions += [sealed.unchanged] + conditions
                next.operations.append(try sealed.put())
            }
            if next.operations.count == Self.operationCountMax {
                transactions.append(next)
                next = Transaction()
            }
        }
        if !next.operations.isEmpty { transactions.append(next) }
        for transaction in transactions { try transaction.validate() }
        return transactions
    }
}
