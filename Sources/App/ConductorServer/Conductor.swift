import ControlPlane
import Glibc
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreEtcd
import StoreSQLite

/// A conductor: composes the store, the reconcilers, the boot server, the agent port and the API, and runs them.
public struct Conductor: Sendable {
    /// The version of this program.
    public static let version = "0.1.0"

    let configuration: ConductorConfiguration
    let clock: any WallClock
    let logger: Logger
    let surroundings: PivotSurroundingsMaker

    /// A conductor that is not running yet.
    public init(
        configuration: ConductorConfiguration, clock: any WallClock = SystemWallClock(), logger: Logger
    ) {
        self.init(
            configuration: configuration, clock: clock, logger: logger, surroundings: { SitePivotSurroundings($0) })
    }

    /// A conductor whose site moves to the controllers that `surroundings` sees.
    init(
        configuration: ConductorConfiguration, clock: any WallClock = SystemWallClock(), logger: Logger,
        surroundings: @escaping PivotSurroundingsMaker
    ) {
        self.configuration = configuration
        self.clock = clock
        self.logger = logger
        self.surroundings = surroundings
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
        guard let etcd = configuration.etcd else { return try await runAlone() }
        let store = try await openShared(etcd)
        do { _ = try await serve(on: .shared(store, isEncrypted: etcd.tls != nil)) } catch {
            try? await store.close()
            throw error
        }
        try await store.close()
    }

    /// Between two looks at a store that a site is being moved into.
    private static let migrationPause: Duration = .milliseconds(500)

    /// Opens the cluster's store. While a site is being moved into it this conductor waits, and makes and serves nothing:
    /// what it made, such as an authority, would be another site's.
    private func openShared(_ etcd: EtcdConfiguration) async throws -> EtcdStore {
        let store = try await EtcdStore.open(etcd, clock: clock, logger: logger)
        do {
            guard try await StoreMigration.isUnfinished(in: store) else { return store }
            logger.notice(
                "a site is being moved into this store and is not whole yet; this conductor serves as soon as it is")
            var isWhole = false
            while !isWhole {
                try await Task.sleep(for: Self.migrationPause)
                do { isWhole = try await !StoreMigration.isUnfinished(in: store) } catch {
                    logger.info("the store does not tell whether the site is whole: \(error)")
                }
            }
            try await store.close()
        } catch {
            try? await store.close()
            throw error
        }
        logger.notice("the site is whole; this conductor goes on with its start")
        return try await EtcdStore.open(etcd, clock: clock, logger: logger)
    }

    /// Serves until SIGTERM or SIGINT, or until the site has moved away. Returns who moves it, if it can move.
    func serve(
        on engine: StoreEngine, startedAt: Revision? = nil,
        opened: (AuditLog) async throws -> Void = { _ in }
    ) async throws -> PivotDesk? {
        var random = RandomSource.system
        let run = UUIDText.random(using: &random)
        let site = try await SiteFoundation.open(engine, configuration, run: run, clock: clock, logger: logger)
        let blobs = try await ConductorBlobs.open(
            configuration, vault: site.vault, cache: site.cache, authorities: site.authorities, clock: clock)
        let parts = try ConductorParts(
            configuration: configuration, engine: engine, site: site, blobs: blobs, run: run, startedAt: startedAt,
            surroundings: surroundings, clock: clock, logger: logger)
        try await opened(parts.audit)
        try await parts.run()
        return parts.pivot
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
                + "(muster-conductor run --help)."
        }
    }
}
