import AgentProtocol
import ControlPlane
import Identity
import Logging
import Primitives
import ResourceModel
import StoreEtcd
import StoreMembers

/// The controllers' store as the conductor reaches it that moves to it: as a client with a certificate of the store's
/// authority, on connections that are kept.
actor SurroundingsStore {
    /// Whom it speaks to. Members that were founded anew at the same addresses are others.
    struct Place: Hashable, Sendable {
        var addresses: [SocketAddress]
        /// The token of the control plane; nil: nobody knows it.
        var token: String?
    }

    private let authority: @Sendable () async throws -> StoreAuthority
    private let name: String
    private let files: EtcdTLS
    private let clock: any WallClock
    private let logger: Logger
    private var opened: (place: Place, store: Task<EtcdStore, any Error>)?
    /// When the certificate in the files ends; nil: this run has written none.
    private var validUntil: Timestamp?
    private var issuing: Task<Timestamp, any Error>?

    /// A client called `name`, whose key and certificate are in `directory`, which is there.
    init(
        name: String, directory: String, clock: any WallClock, logger: Logger,
        authority: @escaping @Sendable () async throws -> StoreAuthority
    ) {
        self.name = name
        self.authority = authority
        self.clock = clock
        self.logger = logger
        files = EtcdTLS(
            authority: "\(directory)/store-ca.pem", certificate: "\(directory)/store-client.pem",
            key: "\(directory)/store-client-key.pem")
    }

    /// The store; the same until another place is asked for or a new history begins. Throws what `StoreAuthority` and
    /// `EtcdStore.open` throw.
    func store(at place: Place) async throws -> EtcdStore {
        let configuration = try await configuration(place)
        if let opened, opened.place == place { return try await opened.store.value }
        close()
        let opening = Task { [clock, logger] in
            try await EtcdStore.open(configuration, clock: clock, logger: logger)
        }
        opened = (place, opening)
        do { return try await opening.value } catch {
            // One that could not be opened is opened again by whoever asks next.
            if opened?.store == opening { opened = nil }
            throw error
        }
    }

    /// The members as they are now; throws when nobody answers, or none has a leader.
    func members(at place: Place) async throws -> [StoreMember] {
        try await EtcdMembership(try await store(at: place).administration).members()
    }

    /// Has the store at `place`, on which no conductor works, count on after `revision`.
    func beginNewHistory(at place: Place, beyond revision: Revision) async throws {
        close()
        try await EtcdStore.beginNewHistory(try await configuration(place), beyond: revision, logger: logger)
        // One that was opened meanwhile would count as before.
        close()
    }

    /// Ends the connections.
    func close() {
        guard let opened else { return }
        self.opened = nil
        // Nobody waits for it: whoever opens the next one must not hang on members that do not answer.
        Task { try? await opened.store.value.close() }
    }

    private func configuration(_ place: Place) async throws -> EtcdConfiguration {
        try await ensureCertificate()
        return EtcdConfiguration(endpoints: place.addresses.map { "https://\($0)" }, tls: files)
    }

    /// Sees to a certificate that has more than a third of its life left; the store reads the files at each connection.
    private func ensureCertificate() async throws {
        if let validUntil, validUntil.since(clock.now) > StoreAuthority.lifetime / 3 { return }
        let issuing =
            issuing
            ?? Task { [authority, name, files] in
                let authority = try await authority()
                let client = try authority.issueClient(named: name)
                try PrivateFile.replace(files.authority, Array(authority.certificatePEM.utf8))
                try PrivateFile.replace(files.key, Array(client.privateKey.revealed.utf8))
                try PrivateFile.replace(files.certificate, Array(client.certificate.certificatePEM.utf8))
                return client.certificate.notAfter
            }
        self.issuing = issuing
        defer { if self.issuing == issuing { self.issuing = nil } }
        validUntil = try await issuing.value
    }
}
