import Foundation
import Glibc
import Primitives
import ProgramRuns
import Synchronization

/// Some etcd members on loopback, on free ports, with client and peer certificates; they die with this object or with
/// the process at the latest, and their folder goes with them.
public final class EtcdTestCluster: Sendable {
    /// How the members are started.
    public struct Options: Sendable {
        /// `--heartbeat-interval`.
        public var heartbeat: Duration
        /// `--election-timeout`; no lease is shorter than one and a half of it.
        public var election: Duration
        /// `--quota-backend-bytes`.
        public var quota: UInt64

        /// The options.
        public init(
            heartbeat: Duration = .milliseconds(100), election: Duration = .milliseconds(1000), quota: UInt64 = 2 << 30
        ) {
            self.heartbeat = heartbeat
            self.election = election
            self.quota = quota
        }
    }

    private struct Member {
        let clientPort: UInt16
        let peerPort: UInt16
        var process: EtcdProcess?
    }

    /// Where everything is.
    public let directory: String
    /// The certificates; nil: without TLS.
    public let certificates: EtcdCertificates?
    private let options: Options
    private let members: Mutex<[Member]>
    private let ownsDirectory: Bool

    /// A cluster that is not started yet; without `directory` in one of its own among the temporary files.
    public init(members count: Int = 3, tls: Bool = true, directory: String? = nil, options: Options = Options()) throws
    {
        self.options = options
        ownsDirectory = directory == nil
        self.directory =
            directory
            ?? FileManager.default.temporaryDirectory
            .appending(path: "muster-etcd-\(UUID().uuidString.lowercased())").path
        try FileManager.default.createDirectory(atPath: self.directory, withIntermediateDirectories: true)
        certificates = tls ? try EtcdCertificates(directory: self.directory) : nil
        let ports = try Self.freePorts(count * 2)
        members = Mutex(
            (0..<count).map { Member(clientPort: ports[$0 * 2], peerPort: ports[$0 * 2 + 1], process: nil) })
    }

    deinit {
        stop()
        if ownsDirectory { try? FileManager.default.removeItem(atPath: directory) }
    }

    /// How many members there are, running or not.
    public var count: Int { members.withLock { $0.count } }

    /// The members' URLs for clients, in order.
    public var endpoints: [String] {
        members.withLock { $0.map(\.clientPort) }.map { "\(scheme)://127.0.0.1:\($0)" }
    }

    /// The members' URLs for each other, in order.
    public var peers: [String] { members.withLock { $0.map(\.peerPort) }.map { "\(scheme)://127.0.0.1:\($0)" } }

    /// Starts all members as a new cluster and waits until they answer.
    public func start() async throws {
        for number in 0..<count { try launch(number, state: "new", initial: Array(0..<count)) }
        try await waitUntilHealthy()
    }

    /// Makes a place for one more member, which has to be added to the cluster before it is started; returns its number.
    public func addMember() throws -> Int {
        let ports = try Self.freePorts(2)
        return members.withLock { members in
            members.append(Member(clientPort: ports[0], peerPort: ports[1], process: nil))
            return members.count - 1
        }
    }

    /// Starts a member that was added to a cluster of the members `initial`.
    public func startAdded(_ number: Int, beside initial: [Int]) throws {
        try launch(number, state: "existing", initial: initial + [number])
    }

    /// Kills a member (SIGKILL).
    public func kill(_ number: Int) { members.withLock { $0[number].process.take() }?.end() }

    /// Stops a member where it is (SIGSTOP): its connections stay open and nothing is answered.
    public func pause(_ number: Int) { members.withLock { $0[number].process?.signal(SIGSTOP) } }

    /// Lets a paused member go on.
    public func resume(_ number: Int) { members.withLock { $0[number].process?.signal(SIGCONT) } }

    /// Starts a killed member on its data.
    public func restart(_ number: Int) throws {
        kill(number)
        try launch(number, state: "existing", initial: Array(0..<count))
    }

    /// Forgets the data of a killed member.
    public func wipe(_ number: Int) throws { try FileManager.default.removeItem(atPath: dataDirectory(number)) }

    /// Kills all members.
    public func stop() { for number in 0..<count { kill(number) } }

    /// Returns when the members that run answer and agree on a leader; throws after `limit`.
    public func waitUntilHealthy(within limit: Duration = .seconds(30)) async throws {
        let running = members.withLock { members in
            members.enumerated().filter { $0.element.process != nil }.map(\.offset)
        }
        let urls = endpoints
        let deadline = ContinuousClock.now + limit
        for number in running {
            while true {
                let outcome = try? await control(["--endpoints", urls[number], "endpoint", "health"]).finish()
                if outcome?.status == 0 { break }
                guard ContinuousClock.now < deadline else {
                    throw EtcdBedError("member \(number) is not healthy after \(limit): \(outcome?.words ?? "")")
                }
                try await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    /// A run of `etcdctl` with the client's certificate; add `--endpoints`.
    public func control(_ arguments: [String]) -> ProgramRun {
        var options = ["--dial-timeout=2s", "--command-timeout=3s"]
        if let certificates {
            options += [
                "--cacert", certificates.authority, "--cert", certificates.certificate, "--key", certificates.key,
            ]
        }
        return ProgramRun("etcdctl", options + arguments, variables: ["ETCDCTL_API": "3"])
    }

    private var scheme: String { certificates == nil ? "http" : "https" }

    private func dataDirectory(_ number: Int) -> String { "\(directory)/m\(number)" }

    private func launch(_ number: Int, state: String, initial: [Int]) throws {
        let (client, peer) = (endpoints[number], peers[number])
        let cluster = initial.map { "m\($0)=\(peers[$0])" }.joined(separator: ",")
        var command = [
            "/usr/bin/etcd", "--name", "m\(number)", "--data-dir", dataDirectory(number),
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", cluster, "--initial-cluster-state", state, "--initial-cluster-token", "bed",
            "--heartbeat-interval", "\(options.heartbeat.milliseconds)",
            "--election-timeout", "\(options.election.milliseconds)",
            "--quota-backend-bytes", "\(options.quota)", "--auto-compaction-retention", "0",
            "--logger", "zap", "--log-level", "warn",
        ]
        if let certificates {
            for prefix in ["--", "--peer-"] {
                command += [
                    "\(prefix)client-cert-auth", "\(prefix)trusted-ca-file", certificates.authority,
                    "\(prefix)cert-file", certificates.memberCertificate, "\(prefix)key-file", certificates.memberKey,
                ]
            }
        }
        let process = try EtcdProcess(command, log: "\(directory)/m\(number).log")
        members.withLock { $0[number].process = process }
    }

    /// Ports on loopback that nobody listens on now.
    private static func freePorts(_ count: Int) throws -> [UInt16] {
        var sockets: [Int32] = []
        defer { for descriptor in sockets { close(descriptor) } }
        return try (0..<count).map { _ in
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            sockets.append(descriptor)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let code = withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                    bind(descriptor, address, length) == 0 && getsockname(descriptor, address, &length) == 0
                }
            }
            guard code else { throw EtcdBedError("no free port") }
            return UInt16(bigEndian: address.sin_port)
        }
    }
}
