import CatalogIdentity
import FoundationEssentials
import Glibc
import Identity
import Primitives
import ResourceModel
import Testing

@Suite struct SecretVaultTests {
    @Test func sealsAndOpensWhatItIsGiven() async throws {
        try await withDirectory { directory in
            let store = FakeStore()
            let vault = try await SecretVault.open(store: store, keyFile: "\(directory)/master.key")
            try await vault.seal("bmc.n1", purpose: "password of a BMC", SecretText("pässword ☃"))
            #expect(try await vault.open("bmc.n1").revealed == "pässword ☃")
            try await vault.seal("bmc.n1", purpose: "password of a BMC", SecretText("another"))
            #expect(try await vault.open("bmc.n1").revealed == "another")
            #expect(try await store.fetch(Secret.self, "bmc.n1")?.value.metadata.generation == Generation(2))

            let again = try await SecretVault.open(store: store, keyFile: "\(directory)/master.key")
            #expect(try await again.open("bmc.n1").revealed == "another")
            try await again.remove("bmc.n1")
            await #expect(throws: VaultError.unknown("bmc.n1")) { try await again.open("bmc.n1") }
        }
    }

    @Test func storesNothingInTheClear() async throws {
        try await withDirectory { directory in
            let store = FakeStore()
            let vault = try await SecretVault.open(store: store, keyFile: "\(directory)/master.key")
            try await vault.seal("a", purpose: "test", SecretText("correct horse"))
            let document = try #require(try await store.get(Secret.key("a")))
            let text = String(decoding: document.value, as: UTF8.self)
            #expect(!text.contains("correct horse"))
            #expect(!text.contains(Data("correct horse".utf8).base64EncodedString().prefix(12)))
            let key = try #require(try PrivateFile.read("\(directory)/master.key"))
            let hex = String(decoding: key, as: UTF8.self).split(separator: "\n")[1]
            #expect(!shown(vault).contains(hex))
            #expect(!shown(vault).contains(hex.prefix(32)))
        }
    }

    @Test func sameTextTwiceIsSealedDifferently() async throws {
        try await withDirectory { directory in
            let vault = try await SecretVault.open(store: FakeStore(), keyFile: "\(directory)/k")
            let first = try vault.sealed("a", purpose: "", SecretText("x")).value.spec.envelope
            let second = try vault.sealed("a", purpose: "", SecretText("x")).value.spec.envelope
            #expect(first.ciphertext != second.ciphertext)
            #expect(first.wrappedKey != second.wrappedKey)
        }
    }

    @Test func changedEnvelopesDoNotOpen() async throws {
        try await withDirectory { directory in
            let store = FakeStore()
            let vault = try await SecretVault.open(store: store, keyFile: "\(directory)/k")
            try await vault.seal("a", purpose: "", SecretText("one"))
            try await vault.seal("b", purpose: "", SecretText("two"))
            let original = try #require(try await store.fetch(Secret.self, "a")?.value)
            let other = try #require(try await store.fetch(Secret.self, "b")?.value.spec.envelope)

            func expectDamaged(_ change: (inout SecretEnvelope) -> Void) async throws {
                var changed = try #require(try await store.fetch(Secret.self, "a"))
                changed.value = original
                change(&changed.value.spec.envelope)
                _ = try await store.commit(Transaction(operations: [changed.put()]))
                await #expect(throws: VaultError.damaged("a")) { try await vault.open("a") }
            }
            for index in [0, original.spec.envelope.ciphertext.count - 1] {
                try await expectDamaged { $0.ciphertext[$0.ciphertext.startIndex + index] ^= 1 }
            }
            try await expectDamaged { $0.nonce[$0.nonce.startIndex] ^= 1 }
            try await expectDamaged { $0.wrappedKey[$0.wrappedKey.startIndex + 20] ^= 1 }
            try await expectDamaged { $0 = other }
            try await expectDamaged { $0.ciphertext = Data() }
            try await expectDamaged { $0.nonce = Data() }
            try await expectDamaged { $0.wrappedKey = Data([1, 2, 3]) }
        }
    }

    @Test func rotationKeepsSecretsAndDropsOldKeys() async throws {
        try await withDirectory { directory in
            let file = "\(directory)/k"
            let store = FakeStore()
            let vault = try await SecretVault.open(store: store, keyFile: file)
            for index in 0..<5 { try await vault.seal("s\(index)", purpose: "", SecretText("text \(index)")) }
            let oldKey = try #require(try PrivateFile.read(file))
            let before = try #require(try await store.fetch(Secret.self, "s0")?.value.spec.envelope)
            #expect(try await vault.rotateMasterKey() == 5)
            #expect(try await vault.rotateMasterKey() == 5)
            let after = try #require(try await store.fetch(Secret.self, "s0")?.value.spec.envelope)
            #expect(after.keyID != before.keyID)
            #expect(after.ciphertext == before.ciphertext, "only the data key is wrapped anew")
            for index in 0..<5 { #expect(try await vault.open("s\(index)").revealed == "text \(index)") }
            let newKey = String(decoding: try #require(try PrivateFile.read(file)), as: UTF8.self)
            #expect(!newKey.contains(String(decoding: oldKey, as: UTF8.self).split(separator: "\n")[1]))
            #expect(mode(of: file) == 0o600)
            #expect(entries(of: directory) == ["k"])
            let again = try await SecretVault.open(store: store, keyFile: file)
            #expect(try await again.open("s3").revealed == "text 3")
            #expect(try await again.rewrap() == 0)
        }
    }

    @Test func brokenOffRotationIsFinishedLater() async throws {
        try await withDirectory { directory in
            let store = FakeStore()
            let vault = try await SecretVault.open(store: store, keyFile: "\(directory)/k")
            try await vault.seal("a", purpose: "", SecretText("one"))
            await store.fail(with: .unavailable("disk full"))
            await #expect(throws: VaultError.store(.unavailable("disk full"))) { try await vault.rotateMasterKey() }
            await store.fail(with: nil)
            let again = try await SecretVault.open(store: store, keyFile: "\(directory)/k")
            #expect(try await again.open("a").revealed == "one")
            #expect(try await again.rewrap() == 1)
            #expect(try await again.open("a").revealed == "one")
        }
    }

    @Test func missingOrForeignKeyFileIsRefused() async throws {
        try await withDirectory { directory in
            let store = FakeStore()
            let vault = try await SecretVault.open(store: store, keyFile: "\(directory)/k")
            try await vault.seal("a", purpose: "", SecretText("one"))
            await #expect(throws: VaultError.keyFileMissing("\(directory)/other")) {
                try await SecretVault.open(store: store, keyFile: "\(directory)/other")
            }
            #expect(entries(of: directory) == ["k"])
            _ = try await SecretVault.open(store: FakeStore(), keyFile: "\(directory)/other")
            let error = await #expect(throws: VaultError.self) {
                try await SecretVault.open(store: store, keyFile: "\(directory)/other")
            }
            guard case .wrongKey(name: "a", _, _) = error else {
                Issue.record("not the wrong key: \(String(describing: error))")
                return
            }
        }
    }

    @Test func tooLargeTextsAreRefused() async throws {
        try await withDirectory { directory in
            let vault = try await SecretVault.open(store: FakeStore(), keyFile: "\(directory)/k")
            let large = SecretText(String(repeating: "x", count: SecretVault.plaintextSizeMax))
            try await vault.seal("a", purpose: "", large)
            #expect(try await vault.open("a") == large)
            await #expect(throws: VaultError.tooLarge("a")) {
                try await vault.seal("a", purpose: "", SecretText(large.revealed + "x"))
            }
        }
    }
}

@Suite struct PrivateFileTests {
    @Test func isMadeOnceWithMode0600() async throws {
        try await withDirectory { directory in
            let path = "\(directory)/f"
            #expect(try PrivateFile.read(path) == nil)
            try PrivateFile.create(path, Array("abc".utf8))
            #expect(mode(of: path) == 0o600)
            #expect(try PrivateFile.read(path) == Array("abc".utf8))
            #expect(throws: PrivateFileError.exists(path)) { try PrivateFile.create(path, Array("def".utf8)) }
            #expect(try PrivateFile.read(path) == Array("abc".utf8))
            try PrivateFile.replace(path, Array("def".utf8))
            #expect(try PrivateFile.read(path) == Array("def".utf8))
            #expect(entries(of: directory) == ["f"])
        }
    }

    @Test(arguments: [0o640, 0o604, 0o620, 0o644, 0o666, 0o601] as [mode_t])
    func withRightsForOthersIsRefused(mode: mode_t) async throws {
        try await withDirectory { directory in
            let path = "\(directory)/k"
            _ = try MasterKeys.create(path)
            chmod(path, mode)
            let error = PrivateFileError.notPrivate(path, mode: mode)
            #expect(throws: error) { try MasterKeys.load(path) }
            #expect(error.publicMessage.contains("chmod 600"))
            await #expect(throws: VaultError.file(error)) {
                try await SecretVault.open(store: FakeStore(), keyFile: path)
            }
        }
    }

    @Test func linksAndDirectoriesAreRefused() async throws {
        try await withDirectory { directory in
            try PrivateFile.create("\(directory)/real", [1])
            symlink("\(directory)/real", "\(directory)/link")
            #expect(throws: PrivateFileError.notRegular("\(directory)/link")) {
                try PrivateFile.read("\(directory)/link")
            }
            #expect(throws: PrivateFileError.notRegular(directory)) { try PrivateFile.read(directory) }
        }
    }

    @Test(.enabled(if: geteuid() == 0, "only root may give files away"))
    func ofAnotherUserIsRefused() async throws {
        try await withDirectory { directory in
            let path = "\(directory)/f"
            try PrivateFile.create(path, [1])
            chown(path, 65534, 65534)
            #expect(throws: PrivateFileError.wrongOwner(path, owner: 65534, expected: 0)) {
                try PrivateFile.read(path)
            }
        }
    }

    @Test(arguments: ["", "muster-master-key 1\n", "muster-master-key 1\nabc\n", "other\n", "muster-master-key 2\n"])
    func damagedKeyFilesAreRefused(text: String) async throws {
        try await withDirectory { directory in
            try PrivateFile.create("\(directory)/k", Array(text.utf8))
            #expect(throws: PrivateFileError.self) { try MasterKeys.load("\(directory)/k") }
        }
    }

    @Test func missingDirectoryIsAClearError() {
        let error = #expect(throws: PrivateFileError.self) { try PrivateFile.create("/nonexistent-dir/k", [1]) }
        #expect(error?.publicMessage.contains("No such file or directory") == true)
    }
}

@Suite struct SecretTextTests {
    private struct Holder: Codable {
        var user: String
        var password: SecretText
    }

    @Test func neverShows() throws {
        let holder = Holder(user: "admin", password: SecretText("hunter2"))
        #expect(!shown(holder).contains("hunter2"))
        #expect(!shown([holder.password]).contains("hunter2"))
        #expect(!shown(Optional(holder.password) as Any).contains("hunter2"))
        #expect(Mirror(reflecting: holder.password).children.isEmpty)
        #expect(throws: EncodingError.self) { try JSONEncoder().encode(holder) }
    }

    @Test func isDecodedAndCompared() throws {
        let json = Data(#"{"user":"admin","password":"hunter2"}"#.utf8)
        let holder = try JSONDecoder().decode(Holder.self, from: json)
        #expect(holder.password == SecretText("hunter2"))
        #expect(holder.password != SecretText("hunter3"))
        #expect(holder.password != SecretText("hunter"))
    }
}
