import AgentProtocol
import Glibc
import Identity
import LinuxSystem
import Primitives
import StoreMemory
import TestSupport
import Testing

@testable import RoleController

/// A site's store authority and its answers, and a controller's keeper with its files in a folder of the test's own.
private final class Bench {
    let directory = TemporaryDirectory()
    let clock = ManualWallClock(SystemWallClock().now)
    let authority: StoreAuthority
    var keeper: ControllerSecretsKeeper

    static let masterKey = "muster-master-key 1\n" + String(repeating: "5a", count: 32) + "\n"

    init() async throws {
        authority = try await Self.authority(clock, keyFile: directory("site.key"))
        keeper = ControllerSecretsKeeper(
            places: ServicePlaces(directory: directory.path, runtime: directory("run"), hasUnits: false))
    }

    static func authority(_ clock: ManualWallClock, keyFile: String) async throws -> StoreAuthority {
        let vault = try await SecretVault.open(store: MemoryStore(clock: clock), keyFile: keyFile, clock: clock)
        return try await StoreAuthority.open(in: vault, clock: clock)
    }

    var folder: String { directory("identities/store") }
    var masterKeyPath: String { directory("conductor/master.key") }

    /// The next agent, which knows only what is in the files.
    func restartAgent() {
        keeper = ControllerSecretsKeeper(
            places: ServicePlaces(directory: directory.path, runtime: directory("run"), hasUnits: false))
    }

    func item(_ address: String = "10.77.0.51", of other: StoreAuthority? = nil) throws -> ControllerSecretsItem {
        ControllerSecretsItem(address: try IPv4Address(address), authority: (other ?? authority).fingerprint)
    }

    func view(_ item: ControllerSecretsItem?, and others: [any ControllerItem] = []) throws -> [String: NodeView.Item] {
        var items: [String: NodeView.Item] = [:]
        for item in others + (item.map { [$0] } ?? []) {
            items[type(of: item).key] = try NodeView.Item(
                kind: type(of: item).kind, generation: Generation(1), encoding: item)
        }
        return items
    }

    /// A conductor's answer.
    func answer(
        _ request: ControllerSecretsRequest, at addresses: [String] = ["127.0.0.1", "10.77.0.51"],
        by other: StoreAuthority? = nil, masterKey: String = Bench.masterKey
    ) throws -> ControllerSecretsReply {
        let issuer = other ?? authority
        let issued = try issuer.issue(
            signingRequestPEM: request.signingRequest, controller: "rack-1",
            addresses: addresses.map { try IPv4Address($0) })
        return .granted(
            ControllerSecrets(
                certificate: issued.certificatePEM, authority: issuer.certificatePEM, masterKey: SecretText(masterKey)))
    }

    /// Asks for what is missing and takes the answer.
    func settle(_ item: ControllerSecretsItem) throws {
        keeper.apply(try view(item))
        let request = try #require(wish())
        keeper.take(try answer(request), now: clock.now)
        #expect(wish() == nil)
    }

    func wish() -> ControllerSecretsRequest? { keeper.wish(now: clock.now) }

    var condition: Condition? { keeper.conditions(now: clock.now).first }

    /// The three files, and the master key, as they are.
    var files: [String: String] {
        var found: [String: String] = [:]
        for path in ["ca.pem", "cert.pem", "key.pem"].map({ "\(folder)/\($0)" }) + [masterKeyPath] {
            found[String(path.split(separator: "/").last!)] = SystemFile.bytes(path).map {
                String(decoding: $0, as: UTF8.self)
            }
        }
        return found
    }
}

/// What a controller's services need to open the store and the vault: asked for, kept, renewed, given up.
@Suite struct ControllerSecretsTests {
    private static func mode(_ path: String) -> mode_t? {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o7777 : nil
    }

    @Test("What is missing is asked for with a key that stays here, and kept where nobody else reads it")
    func first() async throws {
        let bench = try await Bench()
        #expect(bench.wish() == nil && bench.condition == nil, "nobody has named it")
        bench.keeper.apply(try bench.view(bench.item()))
        let request = try #require(bench.wish())
        #expect(bench.wish() == request, "it asks again with the same key")
        #expect(bench.condition?.type == Condition.controllerSecretsReady && bench.condition?.isTrue == false)
        #expect(!request.signingRequest.contains("PRIVATE"))

        bench.keeper.take(try bench.answer(request), now: bench.clock.now)
        #expect(bench.wish() == nil)
        #expect(bench.condition?.isTrue == true && bench.condition?.message.contains("10.77.0.51") == true)
        let files = bench.files
        #expect(files["master.key"] == Bench.masterKey && files["ca.pem"] == bench.authority.certificatePEM)
        for path in ["ca.pem", "cert.pem", "key.pem"].map({ "\(bench.folder)/\($0)" }) + [bench.masterKeyPath] {
            #expect(Self.mode(path) == 0o600, "\(path)")
        }
        for path in [bench.folder, bench.directory("identities"), bench.directory("conductor")] {
            #expect(Self.mode(path) == 0o700, "\(path)")
        }
        #expect(try PrivateFile.read(bench.masterKeyPath) == Array(Bench.masterKey.utf8), "a conductor reads it")
        Shell.run(
            """
            cd \(bench.folder) && openssl verify -x509_strict -CAfile ca.pem -verify_ip 10.77.0.51 cert.pem &&
            [ "$(openssl x509 -in cert.pem -noout -pubkey)" = "$(openssl pkey -in key.pem -pubout)" ]
            """)
        #expect(!"\(try bench.answer(request))".contains("5a5a"), "no log has the master key")
        var text = ""
        dump(try bench.answer(request), to: &text)
        #expect(!text.contains("5a5a"))
    }

    @Test("An agent that starts anew has what it had, and asks for nothing")
    func restart() async throws {
        let bench = try await Bench()
        try bench.settle(try bench.item())
        let before = bench.files
        bench.restartAgent()
        bench.keeper.apply(try bench.view(bench.item()))
        #expect(bench.wish() == nil && bench.condition?.isTrue == true)
        #expect(bench.files == before)
    }

    @Test("A third before its end another certificate is asked for; until that comes, and after, it stays ready")
    func renewal() async throws {
        let bench = try await Bench()
        try bench.settle(try bench.item())
        let before = bench.files
        bench.clock.advance(by: .seconds(19 * 86_400))
        #expect(bench.wish() == nil)
        bench.clock.advance(by: .seconds(86_400 + 7200))
        let request = try #require(bench.wish())
        #expect(bench.condition?.isTrue == true && bench.condition?.message.contains("another is asked for") == true)
        bench.keeper.take(.refused(message: "the store takes no writes"), now: bench.clock.now)
        #expect(bench.condition?.isTrue == true && bench.condition?.message.contains("takes no writes") == true)
        #expect(bench.files == before, "nothing is touched until there is something better")

        bench.keeper.take(try bench.answer(request), now: bench.clock.now)
        #expect(bench.wish() == nil)
        let after = bench.files
        #expect(after["key.pem"] != before["key.pem"] && after["cert.pem"] != before["cert.pem"])
        #expect(access("\(bench.folder).new", F_OK) != 0, "the old key is gone")

        bench.clock.advance(by: .seconds(31 * 86_400))
        #expect(bench.condition?.isTrue == false && bench.condition?.message.contains("ended at") == true)
        #expect(bench.wish() != nil)
    }

    @Test("What was not asked for is not kept: another key, address, authority, or no master key")
    func unfit() async throws {
        let bench = try await Bench()
        let other = try await Bench.authority(bench.clock, keyFile: bench.directory("other.key"))
        bench.keeper.apply(try bench.view(bench.item()))
        let request = try #require(bench.wish())
        let stale = request
        var answers: [(ControllerSecretsReply, String)] = [
            (try bench.answer(request, at: ["127.0.0.1", "10.77.0.52"]), "not for 10.77.0.51"),
            (try bench.answer(request, at: ["10.77.0.51"]), "not for 10.77.0.51"),
            (try bench.answer(request, by: other), "another authority"),
            (try bench.answer(request, masterKey: ""), "master key is none"),
            (try bench.answer(request, masterKey: "#!/bin/sh\n"), "master key is none"),
            (
                try bench.answer(request, masterKey: Bench.masterKey + String(repeating: "a", count: 2000)),
                "master key is none"
            ),
            (
                .granted(.init(certificate: "x", authority: "y", masterKey: SecretText(Bench.masterKey))),
                "cannot be read"
            ),
            (.refused(message: "The control plane does not name it."), "does not name it"),
        ]
        if case .granted(var mixed) = try bench.answer(request, by: other) {
            // Signed by another authority than the one that is shown.
            mixed.authority = bench.authority.certificatePEM
            answers.append((.granted(mixed), "not of the authority"))
        }
        for (answer, why) in answers {
            bench.keeper.take(answer, now: bench.clock.now)
            #expect(bench.condition?.isTrue == false && bench.condition?.message.contains(why) == true, "\(why)")
            #expect(bench.files.isEmpty, "\(why)")
            #expect(bench.wish() == request, "\(why): it goes on asking")
        }

        // The view asks for another address, and the answer to the question before comes late.
        bench.keeper.apply(try bench.view(bench.item("10.77.0.99")))
        let next = try #require(bench.wish())
        #expect(next != stale)
        bench.keeper.take(try bench.answer(stale), now: bench.clock.now)
        #expect(bench.files.isEmpty && bench.condition?.message.contains("another key") == true)
        bench.keeper.take(try bench.answer(next, at: ["127.0.0.1", "10.77.0.99"]), now: bench.clock.now)
        #expect(bench.condition?.isTrue == true)
    }

    @Test("Other addresses and authorities, and files that do not belong together, are asked for anew")
    func changes() async throws {
        let bench = try await Bench()
        try bench.settle(try bench.item())
        bench.keeper.apply(try bench.view(bench.item("10.77.0.99")))
        #expect(bench.wish() != nil && bench.condition?.isTrue == false)
        bench.keeper.apply(try bench.view(bench.item()))
        #expect(bench.wish() == nil && bench.condition?.isTrue == true)
        let other = try await Bench.authority(bench.clock, keyFile: bench.directory("other.key"))
        bench.keeper.apply(try bench.view(bench.item(of: other)))
        #expect(bench.condition?.message.contains("another authority") == true)

        let damages = [
            "rm \(bench.folder)/key.pem", "echo x > \(bench.folder)/cert.pem", "rm \(bench.masterKeyPath)",
            ": > \(bench.masterKeyPath)",
            "openssl ecparam -name prime256v1 -genkey -noout -out \(bench.folder)/key.pem",
        ]
        for damage in damages {
            bench.keeper.apply(try bench.view(bench.item()))
            #expect(bench.condition?.isTrue == true, "before: \(damage)")
            Shell.run(damage)
            #expect(bench.condition?.isTrue == false, "\(damage)")
            let request = try #require(bench.wish(), "\(damage)")
            bench.keeper.take(try bench.answer(request), now: bench.clock.now)
            #expect(bench.condition?.isTrue == true, "after: \(damage): \(bench.condition?.message ?? "")")
        }
    }

    @Test("The three files are replaced together, also after writes that were broken off")
    func together() async throws {
        let bench = try await Bench()
        try bench.settle(try bench.item())
        let old = bench.files
        // One ended while it wrote beside them: what is in use is whole.
        Shell.run(
            "mkdir -m 700 \(bench.folder).new && cp \(bench.folder)/ca.pem \(bench.folder).new/ && echo x > \(bench.folder).new/key.pem.new"
        )
        bench.restartAgent()
        bench.keeper.apply(try bench.view(bench.item()))
        #expect(bench.wish() == nil && bench.files == old)
        bench.clock.advance(by: .seconds(21 * 86_400))
        var request = try #require(bench.wish())
        bench.keeper.take(try bench.answer(request), now: bench.clock.now)
        #expect(bench.condition?.isTrue == true && access("\(bench.folder).new", F_OK) != 0)
        #expect(bench.files["key.pem"] != old["key.pem"])

        // Nothing can be written beside them: the old ones stay.
        let kept = bench.files
        bench.clock.advance(by: .seconds(21 * 86_400))
        request = try #require(bench.wish())
        Shell.run("mkdir -p \(bench.folder).new/in-the-way")
        bench.keeper.take(try bench.answer(request), now: bench.clock.now)
        #expect(bench.files == kept)
        #expect(bench.condition?.message.contains("could not be kept") == true, "\(bench.condition?.message ?? "")")
        Shell.run("rmdir \(bench.folder).new/in-the-way")
        bench.keeper.take(try bench.answer(request), now: bench.clock.now)
        #expect(bench.files != kept && bench.condition?.isTrue == true)
    }

    @Test("Whoever opens the folder never sees a key beside the certificate of another")
    func readers() async throws {
        let bench = try await Bench()
        try bench.settle(try bench.item())
        let pair = { (folder: Int32) -> [String]? in
            let texts = ["cert.pem", "key.pem"].map { name -> String? in
                let file = openat(folder, name, O_RDONLY | O_CLOEXEC)
                guard file >= 0 else { return nil }
                defer { close(file) }
                var bytes = [UInt8](repeating: 0, count: 8192)
                let count = read(file, &bytes, bytes.count)
                return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
            }
            return texts.contains(nil) ? nil : texts.compactMap { $0 }
        }
        let path = bench.folder
        let reader = Task.detached {
            var seen: Set<[String]> = []
            while !Task.isCancelled {
                let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                #expect(folder >= 0, "the folder is never missing")
                // One that is being removed is nobody's any more.
                if let found = pair(folder) { seen.insert(found) }
                close(folder)
            }
            return seen
        }
        for _ in 0..<20 {
            bench.clock.advance(by: .seconds(21 * 86_400))
            let request = try #require(bench.wish())
            bench.keeper.take(try bench.answer(request), now: bench.clock.now)
            try await Task.sleep(for: .milliseconds(5))
        }
        reader.cancel()
        let seen = await reader.value
        #expect(seen.count > 1)
        for pair in seen {
            #expect(throws: Never.self) {
                try StoreIdentity(
                    authorityPEM: bench.authority.certificatePEM, certificatePEM: pair[0], keyPEM: pair[1])
            }
        }
    }

    @Test("Both are removed once the node is named no more, but not under a program that reads them")
    func unnamed() async throws {
        let bench = try await Bench()
        try bench.settle(try bench.item())
        let member = EtcdMemberTests.item
        bench.keeper.apply(try bench.view(nil, and: [member]))
        bench.keeper.removeUnnamed(try bench.view(nil, and: [member]))
        #expect(bench.files.count == 4 && bench.condition == nil, "an older conductor does not tell of them")
        bench.keeper.removeUnnamed(try bench.view(bench.item()))
        #expect(bench.files.count == 4)
        Shell.run("mkdir \(bench.folder).new && cp \(bench.folder)/key.pem \(bench.folder).new/")
        bench.keeper.removeUnnamed(try bench.view(nil, and: [SiteClockTests.item]))
        #expect(bench.files.isEmpty)
        #expect(access(bench.folder, F_OK) != 0 && access("\(bench.folder).new", F_OK) != 0)
        bench.keeper.removeUnnamed([:])
    }

    @Test("A view that is not understood is told, and changes no file")
    func unreadable() async throws {
        let bench = try await Bench()
        try bench.settle(try bench.item())
        let kind = ControllerSecretsItem.kind
        let strange = try NodeView.Item(kind: kind, generation: Generation(1), encoding: ["address": "nowhere"])
        bench.keeper.apply(["secrets": strange])
        bench.keeper.removeUnnamed(["secrets": strange])
        #expect(bench.condition?.isTrue == false && bench.condition?.message.contains("upgrade it") == true)
        #expect(bench.wish() == nil && bench.files.count == 4)
        for bad in ["127.0.0.1", "0.0.0.0"] {
            #expect(throws: InvalidValue.self) { try bench.item(bad).validate() }
        }
    }

    @Test(
        "etcd runs with what was handed over, lets in whom the store's authority knows, takes a renewal up as it runs")
    func member() async throws {
        let bench = try await Bench()
        let others = try await Bench.authority(bench.clock, keyFile: bench.directory("other.key"))
        // What its authority issues now was good for three weeks already.
        let past = ManualWallClock(bench.clock.now.advanced(by: .seconds(-21 * 86_400)))
        let vault = try await SecretVault.open(
            store: MemoryStore(clock: past), keyFile: bench.directory("past.key"), clock: past)
        let authority = try await StoreAuthority.open(in: vault, clock: past)
        let renewing = try await StoreAuthority.open(in: vault, clock: bench.clock)
        #expect(authority.fingerprint == renewing.fingerprint)
        let client = try renewing.issueClient(named: "test")
        let stranger = try others.issueClient(named: "stranger")
        try SystemFile.replace(
            bench.directory("client.pem"),
            content: Array((client.certificate.certificatePEM + client.privateKey.revealed).utf8), mode: 0o600)
        try SystemFile.replace(
            bench.directory("stranger.pem"),
            content: Array((stranger.certificate.certificatePEM + stranger.privateKey.revealed).utf8), mode: 0o600)
        inNewNetwork {
            do { try Self.run(bench, authority, renewing, others) } catch { Issue.record("\(error)") }
        }
    }

    private static func run(
        _ bench: Bench, _ authority: StoreAuthority, _ renewing: StoreAuthority, _ others: StoreAuthority
    ) throws {
        Shell.run("ip link set lo up")
        let places = ServicePlaces(directory: bench.directory.path, runtime: bench.directory("run"), hasUnits: false)
        let program = EtcdProgram(places: places)
        defer { try? program.stop() }
        let role = ControllerRole(
            parts: [ControllerService(program)], secrets: ControllerSecretsKeeper(places: places),
            clock: SystemWallClock())
        let address = "127.0.0.2"
        let member = EtcdMemberItem(
            name: "m2", address: try IPv4Address(address), incarnation: "first",
            cluster: [.init(name: "m2", address: try SocketAddress("\(address):2380"))], founding: .new, token: "test",
            certificate: .store, metricsPort: 12382)
        func apply(_ item: ControllerSecretsItem) throws -> NodeStatusReport.RoleStatus {
            let items = try bench.view(item, and: [member])
            return here { await role.apply(items) }
        }
        func take(by issuer: StoreAuthority) throws {
            let request = try #require(here { await role.wish() })
            let answer = try bench.answer(request, at: ["127.0.0.1", address], by: issuer)
            here { await role.take(answer) }
        }
        func waitUntilReady(_ what: String) {
            for _ in 0..<300 {
                if here({ await role.check() }).isReady { return }
                usleep(100_000)
            }
            Issue.record("not ready: \(what): \(here { await role.check() })")
        }
        /// What a client with these files is answered.
        func put(as client: String) -> String {
            Shell.run(
                """
                ETCDCTL_API=3 etcdctl --endpoints https://\(address):2379 --cacert \(bench.folder)/ca.pem \
                    --cert \(bench.directory(client)) --key \(bench.directory(client)) --dial-timeout 2s \
                    --command-timeout 3s put key value || echo REFUSED
                """)
        }
        /// The fingerprint of the certificate that it shows.
        func shown() -> String {
            Shell.run(
                """
                openssl s_client -connect \(address):2379 -cert \(bench.directory("client.pem")) </dev/null 2>/dev/null |
                    openssl x509 -noout -fingerprint
                """)
        }
        func kept() -> String { Shell.run("openssl x509 -in \(bench.folder)/cert.pem -noout -fingerprint") }

        let item = try bench.item(address, of: authority)
        let unready = try apply(item)
        #expect(!unready.isReady && unready.conditions.first?.type == Condition.controllerSecretsReady)
        #expect(program.service.process == nil, "it waits for its certificate")
        try take(by: authority)
        let started = try apply(item)
        #expect(started.conditions.first?.isTrue == true, "\(started)")
        waitUntilReady("a member with what was handed over")
        #expect(put(as: "client.pem") == "OK\n")
        #expect(put(as: "stranger.pem").hasSuffix("REFUSED\n"), "only the store's authority is believed")
        #expect(shown() == kept())

        let (process, first) = (program.service.process, kept())
        try take(by: renewing)
        _ = try apply(item)
        #expect(here { await role.wish() } == nil && kept() != first)
        #expect(shown() == kept() && program.service.process == process && process != nil)

        _ = try apply(try bench.item(address, of: others))
        try take(by: others)
        _ = try apply(try bench.item(address, of: others))
        waitUntilReady("a member of another authority")
        #expect(program.service.process != process, "which authority is believed is read at the start alone")
        #expect(put(as: "stranger.pem") == "OK\n" && put(as: "client.pem").hasSuffix("REFUSED\n"))

        _ = here { await role.apply([:]) }
        #expect(program.service.process == nil && bench.files.isEmpty)
    }
}
