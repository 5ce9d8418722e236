import Foundation
import Primitives
import Synchronization

/// Machines that only ask for an address, one after the other, with busybox's DHCP client on a card of their own: a ledger
/// of who answered which of them with what.
final class Lessees: Sendable {
    /// What one of them heard in one attempt of three seconds.
    private struct Attempt {
        let client: Int
        /// Whether the seed had said before the attempt that it answers no DHCP any more.
        let isAfterEnd: Bool
        /// Servers that offered something which was asked for then, and the one whose address it got.
        var offers: [String] = []
        var lease: (address: String, server: String)?
    }

    private let namespace: String
    /// What the seed writes, and its address.
    private let log: String
    private let seed: String
    private let attempts = Mutex<[Attempt]>([])
    /// The most of them: the segment's pool has some more addresses.
    private static let clientCountMax = 60

    /// Machines at `bridge` of the scene's namespace, on which the program that was started last gives addresses as `seed`.
    init(_ scene: ConductorScene, bridge: String, seed: String) async throws {
        namespace = scene.far
        log = scene.lastLogFile
        self.seed = seed
        try await scene.host("ip netns add \(scene.far)")
        try await scene.ip("link add lessees type veth peer name eth0 netns \(scene.far)")
        try await scene.ip("link set lessees master \(bridge) up")
        try await scene.host("ip -n \(scene.far) link set eth0 up")
    }

    /// Has one after the other ask until the task is cancelled: each second one is new, the others have asked before.
    func ask(rest: Duration) async throws {
        for number in 0... {
            let known = min(number / 2, Self.clientCountMax - 1)
            try await attempt(by: number.isMultiple(of: 2) ? known : number / 3 % (known + 1))
            try await Task.sleep(for: rest)
        }
    }

    private func attempt(by client: Int) async throws {
        let said = try String(contentsOfFile: log, encoding: .utf8)
        var attempt = Attempt(
            client: client, isAfterEnd: said.contains("moving to the controllers: done: stop DHCP at the seed"))
        let card = "52:54:00:dd:00:\(client + 10)"
        let heard = try await Shell.run(
            "ip link set eth0 address \(card) && busybox udhcpc -f -q -n -t 3 -T 1 -i eth0 -s /bin/true 2>&1",
            in: namespace)
        for line in heard.output.split(separator: "\n") {
            let words = line.split { " ,".contains($0) }.map(String.init)
            if let place = words.firstIndex(of: "server"), place + 1 < words.count {
                attempt.offers.append(words[place + 1])
            }
            if let place = words.firstIndex(of: "obtained"), place >= 1, place + 2 < words.count {
                attempt.lease = (words[place - 1], words[place + 2])
            }
        }
        attempts.withLock { $0.append(attempt) }
    }

    /// How many addresses each server has given.
    var leaseCounts: [String: Int] {
        attempts.withLock {
            $0.reduce(into: [:]) { counts, attempt in
                if let lease = attempt.lease { counts[lease.server, default: 0] += 1 }
            }
        }
    }

    /// How often one has asked after the seed had said that it answers no DHCP any more.
    var countAfterEnd: Int { attempts.withLock { $0.count(where: \.isAfterEnd) } }

    /// Whether somebody else than the seed gives addresses.
    var areServedByOthers: Bool { leaseCounts.keys.contains { $0 != seed } }

    /// What must not be: an answer of the seed after it has ended DHCP, an address that two have, one of those that are
    /// `taken` by others, and another address for somebody who had one.
    func faults(taken: Set<String>) -> [String] {
        var (owners, faults): ([String: Int], [String]) = ([:], [])
        var addresses: [Int: String] = [:]
        for attempt in attempts.withLock({ $0 }) {
            if attempt.isAfterEnd, attempt.offers.contains(seed) || attempt.lease?.server == seed {
                faults.append("the seed answered client \(attempt.client) after it had ended DHCP")
            }
            guard let address = attempt.lease?.address else { continue }
            if let owner = owners[address], owner != attempt.client {
                faults.append("\(address) was given to the clients \(owner) and \(attempt.client)")
            }
            if taken.contains(address) { faults.append("\(address) of a machine was given to \(attempt.client)") }
            if let before = addresses[attempt.client], before != address {
                faults.append("client \(attempt.client) had \(before) and was given \(address)")
            }
            owners[address] = attempt.client
            addresses[attempt.client] = address
        }
        return faults
    }
}
