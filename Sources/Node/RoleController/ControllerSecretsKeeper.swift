import AgentProtocol
import Glibc
import LinuxSystem
import NodeAgent
import Primitives

/// Keeps what a controller's programs open the store and the vault with: the certificate for the store, and the site's
/// master key. Asks for what is missing or comes to its end, and removes both once the view names the node no more.
struct ControllerSecretsKeeper: Sendable {
    /// The first line of a file of master keys, and the most bytes of one.
    private static let masterKeyHeader = "muster-master-key 1\n"
    private static let masterKeySizeMax = 1 << 10

    private let folder: String
    private let masterKeyPath: String
    private var item: ControllerSecretsItem?
    private var unreadable: String?
    /// A key of which no certificate has come yet; made on this node, and only in memory until then.
    private var pending: (key: NodeKey, request: ControllerSecretsRequest)?
    /// Why there is no answer, or none that is of use.
    private var refusal: String?

    init(places: ServicePlaces) {
        folder = "\(places.directory)/identities/\(CertificateReference.store.name)"
        masterKeyPath = ConductorProgram(places: places).masterKeyPath
    }

    /// What is amiss, beyond what is in the files.
    private enum Lack: Hashable {
        case masterKey
        case certificate(String)
        /// It is good still.
        case renewal(Timestamp)
    }

    mutating func apply(_ items: [String: NodeView.Item]) {
        let before = item
        (item, unreadable) = NodeView.read(ControllerSecretsItem.self, in: items)
        if item != before { (pending, refusal) = (nil, nil) }
    }

    /// Removes all that was kept when neither it nor a program that reads it is named any more; what etcd has stored stays.
    func removeUnnamed(_ items: [String: NodeView.Item]) {
        let readers = [ControllerSecretsItem.kind, EtcdMemberItem.kind, ConductorItem.kind]
        guard !items.values.contains(where: { readers.contains($0.kind) }) else { return }
        unlink(masterKeyPath)
        for path in [folder, "\(folder).new"] { try? StoreIdentity.remove(path) }
    }

    /// What has to be asked for; nil: nothing has.
    mutating func wish(now: Timestamp) -> ControllerSecretsRequest? {
        guard let item, lack(item, now) != nil else {
            pending = nil
            return nil
        }
        if let pending { return pending.request }
        do {
            let key = NodeKey()
            let request = ControllerSecretsRequest(signingRequest: try key.signingRequest(named: "\(item.address)"))
            pending = (key, request)
            return request
        } catch {
            refusal = "no signing request could be made"
            return nil
        }
    }

    /// Keeps what has come, when it is what was asked for.
    mutating func take(_ reply: ControllerSecretsReply, now: Timestamp) {
        guard let item, let pending else { return }
        switch reply {
        case .refused(let message): refusal = message.printable(limit: 300)
        case .granted(let secrets):
            do {
                try Self.keep(secrets, pending.key, item, folder: folder, masterKey: masterKeyPath, now: now)
                (self.pending, refusal) = (nil, nil)
            } catch let problem as StoreIdentityProblem {
                refusal = "What the conductor has sent cannot be used: \(problem.reason)."
            } catch {
                refusal = "What the conductor has sent could not be kept: \(error)"
            }
        }
    }

    /// The master key first: a conductor is started once both are there.
    private static func keep(
        _ secrets: ControllerSecrets, _ key: NodeKey, _ item: ControllerSecretsItem, folder: String,
        masterKey: String, now: Timestamp
    ) throws {
        let identity = try StoreIdentity(
            authorityPEM: secrets.authority, certificatePEM: secrets.certificate, keyPEM: key.pem)
        try identity.check(item, now: now)
        let content = Array(secrets.masterKey.revealed.utf8)
        guard isMasterKey(content) else { throw StoreIdentityProblem("the master key is none") }
        for path in [folder, masterKey] {
            let parent = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
            guard SystemFile.makeDirectory(parent) else { throw SystemError("make \(parent)", errno: errno) }
        }
        if SystemFile.bytes(masterKey, limit: masterKeySizeMax + 1) != content {
            try SystemFile.replace(masterKey, content: content, mode: 0o600)
        }
        try identity.write(folder)
    }

    private static func isMasterKey(_ bytes: [UInt8]) -> Bool {
        bytes.count <= masterKeySizeMax && bytes.count > masterKeyHeader.utf8.count
            && bytes.starts(with: masterKeyHeader.utf8)
    }

    private func lack(_ item: ControllerSecretsItem, _ now: Timestamp) -> Lack? {
        guard Self.isMasterKey(SystemFile.bytes(masterKeyPath, limit: Self.masterKeySizeMax + 1) ?? []) else {
            return .masterKey
        }
        do throws(StoreIdentityProblem) {
            guard let identity = try StoreIdentity.read(folder) else { return .certificate("there is none yet") }
            try identity.check(item, now: now)
            return identity.renewal <= now ? .renewal(identity.notAfter) : nil
        } catch {
            return .certificate(error.reason)
        }
    }

    /// Whether it has what it has to have; none when it has to have nothing.
    func conditions(now: Timestamp) -> [Condition] {
        func condition(_ isTrue: Bool, _ message: String) -> [Condition] {
            let text = message.printable(limit: 1000)
            return [Condition(type: Condition.controllerSecretsReady, isTrue: isTrue, message: text, since: now)]
        }
        if let unreadable { return condition(false, unreadable) }
        guard let item else { return [] }
        let answer = refusal.map { " The last answer: \($0)" } ?? ""
        return switch lack(item, now) {
        case nil: condition(true, "It has the site's master key, and a certificate for the store at \(item.address).")
        case .renewal(let end):
            condition(true, "Its certificate for the store is good until \(end), and another is asked for.\(answer)")
        case .masterKey: condition(false, "The site's master key is asked for from the conductor.\(answer)")
        case .certificate(let why):
            condition(false, "A certificate for the store is asked for from the conductor: \(why).\(answer)")
        }
    }
}
