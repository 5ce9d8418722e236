import CatalogIdentity
import Crypto
import FoundationEssentials
import Primitives
import ResourceModel

/// Keeps secrets in the store as envelopes: each text is sealed with a data key of its own, and that with the master
/// key (AES-256-GCM, NIST SP 800-38D).
///
/// The secret's key in the store is authenticated with both, so an envelope moved to another name does not open.
public struct SecretVault: Sendable {
    /// The largest text that can be sealed.
    public static let plaintextSizeMax = 8 * 1024

    private let store: any ResourceStore
    private let keys: MasterKeys
    private let clock: any WallClock
    private let random: RandomBytes

    /// A vault over `store` with loaded keys.
    public init(
        store: any ResourceStore, keys: MasterKeys, clock: any WallClock = SystemWallClock(),
        random: RandomBytes = .system
    ) {
        self.store = store
        self.keys = keys
        self.clock = clock
        self.random = random
    }

    /// The same vault over another view of its store.
    public func over(_ store: any ResourceStore) -> SecretVault {
        SecretVault(store: store, keys: keys, clock: clock, random: random)
    }

    /// The content of the key file, by which a further conductor of the site opens the same secrets.
    public var keyFileContent: SecretText { keys.content }

    /// Opens the vault at start: loads the key file, or makes it when the store holds no secret yet.
    ///
    /// Throws `VaultError.keyFileMissing` when there are secrets and no file, `.wrongKey` when the file does not hold
    /// a key that a secret needs, and `.file` when the file is not private.
    public static func open(
        store: any ResourceStore, keyFile: String, clock: any WallClock = SystemWallClock(),
        random: RandomBytes = .system
    ) async throws(VaultError) -> SecretVault {
        let secrets: [Stored<Secret>]
        do { secrets = try await store.fetchAll(Secret.self) } catch { throw .store(error) }
        let keys: MasterKeys
        do {
            if let loaded = try MasterKeys.load(keyFile) {
                keys = loaded
            } else if secrets.isEmpty {
                keys = try MasterKeys.create(keyFile, random: random)
            } else {
                throw VaultError.keyFileMissing(keyFile)
            }
        } catch let error as PrivateFileError {
            throw .file(error)
        } catch {
            throw .keyFileMissing(keyFile)
        }
        for secret in secrets where keys.key(secret.value.spec.envelope.keyID) == nil {
            throw .wrongKey(name: secret.value.metadata.name, keyID: secret.value.spec.envelope.keyID, file: keyFile)
        }
        return SecretVault(store: store, keys: keys, clock: clock, random: random)
    }

    /// Seals `text` as the secret `name` and stores it, in the place of an older one.
    public func seal(_ name: String, purpose: String, _ text: SecretText) async throws(VaultError) {
        for _ in 0..<16 {
            do {
                let current = try await store.fetch(Secret.self, name)
                let next = try sealed(name, purpose: purpose, text, replacing: current)
                _ = try await store.commit(Transaction(conditions: [next.unchanged], operations: [next.put()]))
                return
            } catch let error as StoreError {
                guard case .conflict = error else { throw .store(error) }
            } catch let error as VaultError {
                throw error
            } catch {
                throw .damaged(name)
            }
        }
        throw .store(.conflict(Secret.key(name)))
    }

    /// The secret `name`; the first time it is what `make` gives, and the same for all who ask at that moment.
    public func open(
        _ name: String, purpose: String, orMake make: () -> SecretText
    ) async throws(VaultError) -> SecretText {
        for _ in 0..<16 {
            do { return try await open(name) } catch {
                guard case .unknown = error else { throw error }
            }
            let made = make()
            do {
                let next = try sealed(name, purpose: purpose, made)
                _ = try await store.commit(Transaction(conditions: [next.unchanged], operations: [next.put()]))
                return made
            } catch let error as StoreError {
                guard case .conflict = error else { throw .store(error) }
            } catch let error as VaultError {
                throw error
            } catch {
                throw .damaged(name)
            }
        }
        throw .store(.conflict(Secret.key(name)))
    }

    /// The sealed resource, for a transaction of the caller's own.
    public func sealed(
        _ name: String, purpose: String, _ text: SecretText, replacing current: Stored<Secret>? = nil
    ) throws(VaultError) -> Stored<Secret> {
        let bytes = Array(text.revealed.utf8)
        guard bytes.count <= Self.plaintextSizeMax else { throw .tooLarge(name) }
        let spec = SecretSpec(purpose: purpose.printable(limit: 200), envelope: try envelope(name, bytes))
        guard var next = current else { return Stored(new: Secret(name: name, created: clock.now, spec: spec)) }
        next.value.spec = spec
        next.value.metadata.generation = next.value.metadata.generation.next
        return next
    }

    /// The text of the secret `name`.
    ///
    /// Throws `VaultError.unknown`, `.wrongKey`, or `.damaged` when the envelope was changed or belongs to another name.
    public func open(_ name: String) async throws(VaultError) -> SecretText {
        let stored: Stored<Secret>?
        do { stored = try await store.fetch(Secret.self, name) } catch { throw .store(error) }
        guard let secret = stored?.value else { throw .unknown(name) }
        return try open(secret)
    }

    /// The text of a secret that was read already; throws as `open` does.
    public func open(_ secret: Secret) throws(VaultError) -> SecretText {
        let (name, envelope) = (secret.metadata.name, secret.spec.envelope)
        do {
            let dataKey = try unwrap(name, envelope)
            let box = try AES.GCM.SealedBox(
                nonce: AES.GCM.Nonce(data: envelope.nonce), ciphertext: envelope.ciphertext.dropLast(16),
                tag: envelope.ciphertext.suffix(16))
            let bytes = try AES.GCM.open(box, using: dataKey, authenticating: Self.context("text", name))
            return SecretText(String(decoding: bytes, as: UTF8.self))
        } catch let error as VaultError {
            throw error
        } catch {
            throw .damaged(name)
        }
    }

    /// Deletes the secret `name`; nothing happens when there is none.
    public func remove(_ name: String) async throws(VaultError) {
        do { _ = try await store.commit(Transaction(operations: [.delete(Secret.key(name))])) } catch {
            throw .store(error)
        }
    }

    /// Makes a new master key and seals every data key with it; returns how many secrets were changed.
    ///
    /// It may be broken off and run again. The key before stays in the file until the next rotation, so that what was
    /// sealed at the same time still opens.
    public func rotateMasterKey() async throws(VaultError) -> Int {
        do { try keys.rotate(random: random) } catch { throw .file(error) }
        return try await rewrap()
    }

    /// Seals every data key that is under an older master key with the one in use; finishes a rotation.
    public func rewrap() async throws(VaultError) -> Int {
        let target = keys.current
        var count = 0
        do {
            for secret in try await store.fetchAll(Secret.self) {
                if try await rewrap(secret.value.metadata.name, with: target) { count += 1 }
            }
            try keys.retire(keeping: Set(try await store.fetchAll(Secret.self).map(\.value.spec.envelope.keyID)))
        } catch let error as StoreError {
            throw .store(error)
        } catch let error as PrivateFileError {
            throw .file(error)
        } catch let error as VaultError {
            throw error
        } catch {
            throw .damaged("")
        }
        return count
    }

    private func rewrap(_ name: String, with target: MasterKey) async throws -> Bool {
        for _ in 0..<16 {
            guard var stored = try await store.fetch(Secret.self, name), stored.value.spec.envelope.keyID != target.id
            else { return false }
            let dataKey = try unwrap(name, stored.value.spec.envelope)
            stored.value.spec.envelope.wrappedKey = try wrap(name, dataKey, with: target)
            stored.value.spec.envelope.keyID = target.id
            stored.value.status.rewrapped = clock.now
            do {
                _ = try await store.commit(Transaction(conditions: [stored.unchanged], operations: [stored.put()]))
                return true
            } catch {
                guard case .conflict = error else { throw error }
            }
        }
        throw StoreError.conflict(Secret.key(name))
    }

    private func envelope(_ name: String, _ bytes: [UInt8]) throws(VaultError) -> SecretEnvelope {
        let master = keys.current
        do {
            let dataKey = SymmetricKey(data: random(32))
            let box = try AES.GCM.seal(
                bytes, using: dataKey, nonce: AES.GCM.Nonce(data: random(12)),
                authenticating: Self.context("text", name))
            return SecretEnvelope(
                keyID: master.id, wrappedKey: try wrap(name, dataKey, with: master), nonce: Data(box.nonce),
                ciphertext: box.ciphertext + box.tag)
        } catch {
            throw .damaged(name)
        }
    }

    private func wrap(_ name: String, _ dataKey: SymmetricKey, with master: MasterKey) throws -> Data {
        let bytes = dataKey.withUnsafeBytes { Array($0) }
        let box = try AES.GCM.seal(
            bytes, using: master.symmetric, nonce: AES.GCM.Nonce(data: random(12)),
            authenticating: Self.context("key", name))
        return Data(box.nonce) + box.ciphertext + box.tag
    }

    private func unwrap(_ name: String, _ envelope: SecretEnvelope) throws -> SymmetricKey {
        guard let master = keys.key(envelope.keyID) else {
            throw VaultError.wrongKey(name: name, keyID: envelope.keyID, file: keys.path)
        }
        let box = try AES.GCM.SealedBox(combined: envelope.wrappedKey)
        return SymmetricKey(
            data: try AES.GCM.open(box, using: master.symmetric, authenticating: Self.context("key", name)))
    }

    private static func context(_ layer: String, _ name: String) -> [UInt8] {
        Array("muster/1/\(layer)/\(Secret.key(name))".utf8)
    }
}

/// Why a secret is not sealed or opened.
public enum VaultError: UserFacingError, Hashable {
    /// There is no such secret.
    case unknown(String)
    /// The envelope was changed or belongs to another name.
    case damaged(String)
    /// The text is larger than `SecretVault.plaintextSizeMax`.
    case tooLarge(String)
    /// There are secrets and no key file.
    case keyFileMissing(String)
    /// The key file has not the key that the secret needs.
    case wrongKey(name: String, keyID: String, file: String)
    /// The key file cannot be used.
    case file(PrivateFileError)
    /// The store failed.
    case store(StoreError)

    public var publicMessage: String {
        switch self {
        case .unknown(let name):
            "There is no secret '\(name)'; set it in the site file and apply that."
        case .damaged(let name):
            "The secret '\(name)' is damaged and does not open; set it anew in the site file and apply that."
        case .tooLarge(let name):
            "The secret '\(name)' is larger than \(SecretVault.plaintextSizeMax) bytes."
        case .keyFileMissing(let path):
            "The store holds secrets, but the key file \(path) is gone. Put it back from a backup, or copy "
                + "it from the state directory of another conductor of this site."
        case .wrongKey(let name, let keyID, let file):
            "The secret '\(name)' is sealed with master key \(keyID), which \(file) does not hold. "
                + "Put the right key file back from a backup, or copy it from another conductor of this site."
        case .file(let error): error.publicMessage
        case .store(let error): error.publicMessage
        }
    }
}
