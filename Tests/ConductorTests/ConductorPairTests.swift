import CatalogIdentity
import Foundation
import Glibc
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import Synchronization
import TestSupport
import Testing

@testable import ConductorServer

/// Two conductors' foundations on one store.
@Suite struct ConductorPairTests {
    private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private static func configuration(_ directory: TemporaryDirectory, _ name: String) throws -> ConductorConfiguration
    {
        let state = directory.appending(name)
        try FileManager.default.createDirectory(
            atPath: state, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        var configuration = ConductorConfiguration(stateDirectory: state)
        configuration.passwordCost = .trivial
        return configuration
    }

    private static func engine(_ store: MemoryStore) -> StoreEngine {
        StoreEngine(store: store, isShared: true, services: [], samples: { [] }, isWritable: { true })
    }

    private static func count(_ kind: String, _ store: MemoryStore) async throws -> Int {
        try await store.list(kind: kind, after: nil, limit: 500).documents.count
    }

    @Test(.timeLimit(.minutes(2))) func `conductors that start together make one site`() async throws {
        let directory = try TemporaryDirectory("conductor-pair")
        let store = MemoryStore()
        let names = ["a", "b", "c"]
        // All have the key already, as an operator copies it.
        let first = try Self.configuration(directory, "a")
        _ = try MasterKeys.create("\(first.stateDirectory)/master.key")
        let configurations = try names.map { try Self.configuration(directory, $0) }
        for other in configurations.dropFirst() {
            try FileManager.default.copyItem(
                atPath: "\(first.stateDirectory)/master.key", toPath: "\(other.stateDirectory)/master.key")
        }
        let sites = try await withThrowingTaskGroup(of: SiteFoundation.self) { group in
            for (number, configuration) in configurations.enumerated() {
                group.addTask {
                    try await SiteFoundation.open(
                        Self.engine(store), configuration, run: "run-\(number)", clock: SystemWallClock(),
                        logger: Self.logger)
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(Set(sites.map { $0.authorities.now.issuing.fingerprint }).count == 1, "one authority")
        #expect(Set(sites.map(\.mediaKey.revealed)).count == 1)
        #expect(try await Self.count(OperatorToken.kind, store) == 1)
        #expect(try await Self.count(SiteAuthority.kind, store) == 1)
        #expect(try await Self.count(User.kind, store) == 2, "the administrator, and the user of one service")
        let tokens = configurations.filter {
            FileManager.default.fileExists(atPath: "\($0.stateDirectory)/operator.token")
        }
        #expect(tokens.count == 1, "one has the first operator's token")
        let token = try String(contentsOfFile: "\(tokens[0].stateDirectory)/operator.token", encoding: .utf8).dropLast()
        for site in sites { #expect(site.operators.verify(String(token))?.role == .admin) }
        for configuration in configurations {
            let pem = try String(contentsOfFile: "\(configuration.stateDirectory)/ca.pem", encoding: .utf8)
            #expect(pem == sites[0].authorities.now.bundlePEM)
        }
    }

    @Test(.timeLimit(.minutes(2))) func `a conductor without the site's key says where to get it`() async throws {
        let directory = try TemporaryDirectory("conductor-pair")
        let store = MemoryStore()
        func open(_ name: String) async throws {
            _ = try await SiteFoundation.open(
                Self.engine(store), Self.configuration(directory, name), run: name, clock: SystemWallClock(),
                logger: Self.logger)
        }
        try await open("a")
        let missing = await #expect(throws: VaultError.self) { try await open("b") }
        #expect(missing?.publicMessage.contains("copy it from the state directory of another conductor") == true)
        _ = try MasterKeys.create("\(try Self.configuration(directory, "c").stateDirectory)/master.key")
        let wrong = await #expect(throws: VaultError.self) { try await open("c") }
        #expect(wrong?.publicMessage.contains("copy it from another conductor") == true)
        #expect(try await store.get(LeaderRecord.key("start")) == nil, "one that fails makes way")
    }

    @Test(.timeLimit(.minutes(2))) func `two that make the first key at once are one too many`() async throws {
        let directory = try TemporaryDirectory("conductor-pair")
        let store = MemoryStore()
        let failures = try await withThrowingTaskGroup(of: Bool.self) { group in
            for name in ["a", "b"] {
                let configuration = try Self.configuration(directory, name)
                group.addTask {
                    do {
                        _ = try await SiteFoundation.open(
                            Self.engine(store), configuration, run: name, clock: SystemWallClock(), logger: Self.logger)
                        return false
                    } catch is VaultError { return true }
                }
            }
            return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(failures == 1)
        let keys = ["a", "b"].filter { FileManager.default.fileExists(atPath: directory.appending("\($0)/master.key")) }
        #expect(keys.count == 1, "who comes second makes no key")
    }
}
