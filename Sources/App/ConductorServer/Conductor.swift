import BlobPeers
import BlobStore
import Glibc
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreSQLite

/// A conductor: composes the store, the reconcilers, the boot server, the agent port and the API, and runs them.
public struct Conductor: Sendable {
    /// The version of this program.
    public static let version = "0.1.0"

    private let configuration: ConductorConfiguration
    private let clock: any WallClock
    private let logger: Logger

    /// A conductor that is not running yet.
    public init(
        configuration: ConductorConfiguration, clock: any WallClock = SystemWallClock(), logger: Logger
    ) {
        self.configuration = configuration
        self.clock = clock
        self.logger = logger
    }

    /// Writes a whole copy of the store in a state directory to a file, while a conductor may be using it. Throws
    /// `StoreError`.
    public static func copyStore(of stateDirectory: String, to file: String) throws(StoreError) {
        try SQLiteStore.copy(path: StoreMarkFile(directory: stateDirectory).storePath, to: file)
    }

    /// Opens the state, then serves until SIGINT or SIGTERM.
    ///
    /// Throws `ConductorStartError`, `StoreError`, `VaultError` and the servers' errors, each saying what to do.
    public func run() async throws {
        try preparePrivateDirectory()
        allowOpenFiles()
        let mark = StoreMarkFile(directory: configuration.stateDirectory)
        let (store, accepted) = try await mark.openStore(
            acceptsOlder: configuration.acceptsOlderStore, clock: clock, logger: logger)
        let startedAt = try await store.currentRevision()
        let files = try FileBlobStore(directory: "\(configuration.stateDirectory)/blobs")
        let vault = try await SecretVault.open(
            store: store, keyFile: "\(configuration.stateDirectory)/master.key", clock: clock)
        let keys = AuthorityVault(vault: vault, name: "Muster", clock: clock)
        let authorities = SiteAuthorities(try await AuthorityController.open(store: store, keys: keys))
        try Self.writeAuthorities(authorities.now, in: configuration)
        let operators = OperatorTokens(store: store, clock: clock)
        try await operators.load()
        let tokenFile = "\(configuration.stateDirectory)/operator.token"
        if try await !operators.ensureFirstOperator(file: tokenFile) {
            logger.notice(
                "\(tokenFile) holds a token that was replaced or revoked; delete it to get a new one at the next start")
        }
        let watch = StoreWatch(store: store, mark: mark, clock: clock, logger: logger)
        let cache = ResourceCache(
            store: store, kinds: LiveCatalog.kinds, indexes: LiveCatalog.indexes, logger: logger)
        let identity = try await CloudIdentity.open(
            store: store, cache: cache, vault: vault, audit: AuditLog(store: store, clock: clock),
            configuration: configuration, clock: clock, logger: logger)
        let peerKey = try await PeerKey.open(in: vault)
        let name = configuration.conductorName
        let access = HTTPBlobPeers(name: name, key: peerKey) { authorities.now.bundlePEM }
        let blobs = SiteBlobs(files, name: name, peers: { [] }, access: access)
        let parts = try ConductorParts(
            configuration: configuration, store: store, watch: watch, blobs: blobs, cache: cache,
            identity: identity, vault: vault, keys: keys,
            authorities: authorities, operators: operators, mediaKey: try await MediaDesk.key(in: vault),
            peerKey: peerKey, startedAt: startedAt, clock: clock, logger: logger)
        if let accepted { try await parts.audit.record(accepted) }
        watch.saveMark()
        do { try await parts.run() } catch {
            try? await access.close()
            throw error
        }
        try await access.close()
        watch.saveMark()
        try await store.close()
    }

    /// Keeps `ca.pem`, which operators and Prometheus trust, what it should be; a file that is right already is left, also
    /// when the disk is full.
    static func writeAuthorities(_ set: AuthoritySet, in configuration: ConductorConfiguration) throws {
        let path = "\(configuration.stateDirectory)/ca.pem"
        let bytes = Array(set.bundlePEM.utf8)
        if let found = try? PrivateFile.read(path), found == bytes { return }
        try PrivateFile.replace(path, bytes)
    }

    /// Files and sockets at once: what the ports' limits come to, with room for the store and the images.
    private static let openFileCount: rlim_t = 40_000

    /// Raises how many files this process may have open as far as it is needed and the system lets it.
    private func allowOpenFiles() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < Self.openFileCount
        else { return }
        limit.rlim_cur = min(limit.rlim_max, Self.openFileCount)
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        guard limit.rlim_cur < Self.openFileCount else { return }
        logger.warning(
            "only \(limit.rlim_cur) files may be open at once: set LimitNOFILE=\(Self.openFileCount) for the conductor")
    }

    private func preparePrivateDirectory() throws(ConductorStartError) {
        let path = configuration.stateDirectory
        guard geteuid() == 0 else { throw .notRoot }
        if mkdir(path, 0o700) != 0, errno != EEXIST { throw .stateDirectory(path, String(cString: strerror(errno))) }
        var info = stat()
        guard stat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else {
            throw .stateDirectory(path, "it is not a directory")
        }
        guard info.st_mode & 0o077 == 0 || chmod(path, 0o700) == 0 else {
            throw .stateDirectory(path, "others may read it: chmod 700 \(path)")
        }
        guard access("\(path)/\(SiteRestore.unfinished)", F_OK) != 0 else {
            throw .stateDirectory(path, "a restore into it was broken off; delete it and restore again")
        }
    }
}

/// Why a conductor does not start.
public enum ConductorStartError: UserFacingError, Hashable {
    case notRoot
    case stateDirectory(String, String)
    case portTaken(String, Int)

    public var publicMessage: String {
        switch self {
        case .notRoot: "The conductor answers DHCP on port 67 and needs root; start it with sudo."
        case .stateDirectory(let path, let why): "The state directory \(path) cannot be used: \(why)."
        case .portTaken(let what, let port):
            "Port \(port) (\(what)) is taken; 'ss -ltnp' shows by whom. Stop that, or choose another port "
                + "(muster-conductor --help)."
        }
    }
}
