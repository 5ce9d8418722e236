import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import Fleet
import FleetContract
import FoundationEssentials
import Primitives
import ResourceModel
import StoreMemory
import Testing

/// Seals by writing the text backwards: enough to tell texts apart.
private func seal(
    _ name: String, _ purpose: String, _ password: Password, _ old: Stored<Secret>?
) throws -> Stored<Secret> {
    let data = Data(password.clearText.utf8.reversed())
    let envelope = SecretEnvelope(keyID: "k", wrappedKey: Data(), nonce: Data(), ciphertext: data)
    let spec = SecretSpec(purpose: purpose, envelope: envelope)
    guard var next = old else { return Stored(new: Secret(name: name, created: now, spec: spec)) }
    next.value.spec = spec
    return next
}

private let now = Timestamp(millisecondsSinceEpoch: 1_767_225_600_000)

@Suite struct SitePlanTests {
    private func site() throws -> SiteDocument {
        try SiteFile(yaml: goodSite).resolved(
            in: .init(file: { $0.hasSuffix("pub") ? sshKey : "p1" }, variable: { _ in "p2" }))
    }

    private func current(_ store: MemoryStore, users: [String: [String]] = [:]) async throws -> CurrentSite {
        var current = CurrentSite(
            site: try await store.fetch(Site.self, Site.name), segments: try await store.fetchAll(Segment.self),
            bmcs: try await store.fetchAll(BMC.self), rules: try await store.fetchAll(Rule.self), bmcUsers: users)
        for secret in try await store.fetchAll(Secret.self) {
            let name = secret.value.metadata.name
            current.secrets[name] = secret
            let text = String(decoding: secret.value.spec.envelope.ciphertext.reversed(), as: UTF8.self)
            current.passwords[name] = Password(text)
        }
        return current
    }

    private func apply(_ site: SiteDocument, to store: MemoryStore) async throws -> [SitePlanReply.Change] {
        let plan = try SitePlan.make(desired: site, current: try await current(store), now: now)
        for transaction in try plan.transactions(sealing: seal) { _ = try await store.commit(transaction) }
        return plan.changes
    }

    private func names(_ changes: [SitePlanReply.Change]) -> [String] {
        changes.map { "\($0.action.rawValue) \($0.kind) \($0.name)" }
    }

    @Test func applyingTwiceChangesNothingTheSecondTime() async throws {
        let store = MemoryStore()
        let first = try await apply(try site(), to: store)
        #expect(
            names(first) == [
                "create password n1-bmc", "create password n2-bmc", "create bmc n1-bmc", "create bmc n2-bmc",
                "create segment provisioning", "create rule n1", "create rule everything", "create rule store",
                "create rule store-all", "create site site",
            ])
        let revision = try await store.currentRevision()
        #expect(try await apply(try site(), to: store) == [])
        #expect(try await store.currentRevision() == revision)
    }

    @Test func changesTellFieldsAndNeverPasswords() async throws {
        let store = MemoryStore()
        _ = try await apply(try site(), to: store)
        var changed = try site()
        changed.segments[0].spec.pools[0].end = try IPv4Address("10.77.0.120")
        changed.site.overlay = nil
        changed.bmcs[0].password = Password("new")
        changed.rules.removeLast()
        let changes = try await apply(changed, to: store)
        #expect(
            names(changes) == [
                "update password n1-bmc", "update segment provisioning", "update site site", "delete rule store-all",
            ])
        #expect(changes[0].fields == [])
        #expect(
            changes[1].fields == [.init(path: "pools[0].end", before: "10.77.0.99", after: "10.77.0.120")])
        #expect(
            changes[2].fields == [
                .init(path: "overlay.mtu", before: "1450", after: nil),
                .init(path: "overlay.vni", before: "4242", after: nil),
            ])
        let segment = try #require(try await store.fetch(Segment.self, "provisioning")).value
        #expect(segment.metadata.generation == Generation(2))
        #expect(try await store.fetch(Rule.self, "store-all") == nil)
    }

    @Test func whatThePlanDoesNotKnowStays() async throws {
        let approved = BMC.ApprovedCertificate(
            digest: Digest(bytes: [UInt8](repeating: 1, count: 32)), by: "operator:admin", at: now)
        let store = MemoryStore()
        _ = try await apply(try site(), to: store)
        try await store.update(BMC.self, "n1-bmc") { stored in
            var stored = stored
            stored?.value.spec.power = Node.PowerRequest(number: 3, action: .on)
            stored?.value.spec.approvedCertificate = approved
            stored?.value.status.serial = "seen"
            return stored
        }
        var changed = try site()
        changed.bmcs[0].username = "root"
        let changes = try await apply(changed, to: store)
        #expect(changes.map(\.fields) == [[.init(path: "username", before: "admin", after: "root")]])
        let bmc = try #require(try await store.fetch(BMC.self, "n1-bmc")).value
        #expect(bmc.spec.power?.number == 3)
        #expect(bmc.spec.approvedCertificate == approved)
        // What answers elsewhere was not looked at.
        changed.bmcs[0].address = "https://10.77.0.250"
        _ = try await apply(changed, to: store)
        let moved = try #require(try await store.fetch(BMC.self, "n1-bmc")).value
        #expect(moved.spec.approvedCertificate == nil)
        #expect(moved.spec.power?.number == 3)
        #expect(bmc.status.serial == "seen")
    }

    @Test func aBMCThatANodeUsesIsNotTakenAway() async throws {
        let store = MemoryStore()
        _ = try await apply(try site(), to: store)
        var changed = try site()
        changed.bmcs.removeLast()
        let current = try await current(store, users: ["n2-bmc": ["n2"]])
        let error = #expect(throws: SiteError.self) {
            try SitePlan.make(desired: changed, current: current, now: now)
        }
        #expect(
            error?.publicMessage
                == "The site has a problem: bmcs: 'n2-bmc' is not in the site any more but is the BMC of n2; leave it in, "
                + "or give the node another with 'muster node set NODE --bmc NAME'")
    }

    @Test func aNewBMCNeedsAPassword() throws {
        var site = try site()
        site.bmcs[1].password = nil
        let error = #expect(throws: SiteError.self) {
            try SitePlan.make(desired: site, current: CurrentSite(), now: now)
        }
        #expect(error?.problems.map(\.description) == ["bmcs[1]: the password of 'n2-bmc' is missing"])
    }

    @Test func aLargeSiteIsAppliedWithinTheStoresLimits() async throws {
        var site = try site()
        for number in 0..<400 {
            site.bmcs.append(
                .init(
                    name: "b\(number)", address: "http://10.0.\(number / 200).\(number % 200 + 1)", username: "admin",
                    password: Password("p\(number)")))
        }
        let plan = try SitePlan.make(desired: site, current: CurrentSite(), now: now)
        let transactions = try plan.transactions(sealing: seal)
        #expect(transactions.map(\.operations.count).reduce(0, +) == plan.steps.count)
        #expect(transactions.count > 8)
        let store = MemoryStore()
        for transaction in transactions { _ = try await store.commit(transaction) }
        #expect(try await apply(site, to: store) == [])
    }

    @Test func documentsFromElsewhereAreCheckedToo() throws {
        var site = try site()
        site.segments[0].name = "a'; reboot"
        site.bmcs[0].password = Password("line\nline")
        site.rules[0].spec.match[0].path = "system.colour"
        #expect(
            site.problems().map(\.path) == ["segments[0].name", "bmcs[0].password", "rules[0].match.system.colour"])
    }
}
