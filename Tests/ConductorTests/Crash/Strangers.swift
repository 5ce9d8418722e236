import AgentProtocol
import Foundation
import Primitives
import Synchronization

/// Machines that only register, one after the other, each as often as it takes: a ledger of what was acknowledged.
final class Strangers: Sendable {
    private let namespace: String?
    private let folder: String
    private let authority: String
    private let port: Int
    private let hosts: [String]
    private let place = Mutex(0)
    private let acknowledged = Mutex<[Int: (node: String, time: ContinuousClock.Instant)]>([:])
    private let refusal = Mutex<(status: String, text: String)?>(nil)

    /// Machines that ask the first of `hosts`, and from then on the next one whenever that does not acknowledge.
    init(
        namespace: String?, folder: String, state: String, hosts: [String] = ["127.0.0.1"], port: Int = 8443
    ) throws {
        self.namespace = namespace
        self.folder = folder
        self.hosts = hosts
        self.port = port
        authority = "\(state)/ca.pem"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    /// The node that each stranger was taken for, by the stranger's number.
    var nodes: [Int: String] { acknowledged.withLock { $0.mapValues(\.node) } }
    /// When each was acknowledged, in order.
    var times: [ContinuousClock.Instant] { acknowledged.withLock { $0.values.map(\.time) }.sorted() }
    /// What the last one that was refused was told.
    var lastRefusal: (status: String, text: String)? { refusal.withLock { $0 } }

    /// Registers strangers of these numbers until its task is cancelled; each is tried until it is acknowledged, and then
    /// comes the next one after `rest`.
    func register(
        _ numbers: some Sequence<Int> & Sendable, pause: Duration = .milliseconds(200), rest: Duration = .zero
    ) async throws {
        for number in numbers {
            while try await !tryOnce(number) {
                if Task.isCancelled { return }
                try? await Task.sleep(for: pause)
            }
            if rest > .zero { try? await Task.sleep(for: rest) }
            if Task.isCancelled { return }
        }
    }

    /// Posts the inventory of a stranger; whether it was acknowledged.
    @discardableResult
    func tryOnce(_ number: Int) async throws -> Bool {
        let host = hosts[place.withLock { $0 } % hosts.count]
        let file = "\(folder)/\(number).json"
        if !FileManager.default.fileExists(atPath: file) {
            try Self.inventory(number).write(toFile: file, atomically: true, encoding: .utf8)
        }
        let answer = try await Shell.run(
            "curl -s --max-time 10 --cacert \(authority) -H 'Content-Type: application/json' --data-binary @\(file) "
                + "-w '\\n%{http_code}' https://\(host):\(port)\(DiscoveryPath.inventory)", in: namespace)
        let lines = answer.output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        guard answer.status == 0, let status = lines.last, lines.count >= 2 else {
            place.withLock { $0 += 1 }
            return false
        }
        guard status == "200" else {
            refusal.withLock { $0 = (status, lines[0]) }
            place.withLock { $0 += 1 }
            return false
        }
        let reply = try JSONDecoder().decode(InventoryReply.self, from: Data(lines[0].utf8))
        acknowledged.withLock { $0[number] = (reply.node.raw, .now) }
        return true
    }

    /// An inventory that differs from all others in what names a machine.
    static func inventory(_ number: Int) throws -> String {
        let now = Timestamp(millisecondsSinceEpoch: Int64(Date().timeIntervalSince1970 * 1000))
        let post = InventoryPost(bootID: "boot-of-\(number)-000", inventory: FleetScene.inventory(now: now))
        let digits = String(10_000 + number)
        return String(decoding: try JSONEncoder().encode(post), as: UTF8.self)
            .replacing("4c4c4544-0042-5110-8032-b7c04f583833", with: "4c4c4544-0042-5110-8032-b7c04f5\(digits)")
            .replacing("7BQ2X83", with: "STR\(digits)")
            .replacing("52:54:00:00:31:", with: "52:\(digits.dropFirst().prefix(2)):\(digits.suffix(2)):00:31:")
    }
}
