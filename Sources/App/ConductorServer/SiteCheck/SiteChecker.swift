import AgentProtocol
import BareMetal
import CatalogBareMetal
import FleetContract
import Primitives

/// What a check is told to look at.
struct SiteUnderCheck: Sendable {
    /// The site as a whole.
    var site: Site.Spec
    /// The segments.
    var segments: [CheckedSegment]
    /// The BMCs.
    var bmcs: [CheckedBMC]
    /// The roles that rules and nodes ask for.
    var roles: Set<Role>
    /// Name servers that only nodes have to reach.
    var nodeNameServers: [IPv4Address] = []
    /// Time servers that only nodes have to reach.
    var nodeTimeServers: [String] = []
    /// The ports that the conductor needs.
    var ports: [CheckedPort]
}

/// What the checks need to know of a segment.
struct CheckedSegment: Sendable, Hashable {
    var name: String
    /// Nil: it is reached through relays alone.
    var interface: String?
    var network: IPv4Network
    var server: IPv4Address
    var relays: [IPv4Address] = []
    var dnsServers: [IPv4Address] = []
    var ntpServers: [String] = []
    var domain: String?
    /// The MTU that machines are told; nil: none.
    var mtu: Int?
    /// Whether another DHCP server gives the addresses.
    var isProxy = false
}

/// A BMC with what opens it.
struct CheckedBMC: Sendable {
    var name: String
    var spec: BMC.Spec
    /// Nil: it cannot be had, for this reason.
    var password: SecretText?
    var passwordProblem: String?
}

/// A port that the conductor needs.
struct CheckedPort: Sendable, Hashable {
    enum Transport: String, Sendable {
        case udp
        case tcp
    }

    var what: String
    var transport: Transport
    var number: Int
}

/// Who has a port.
enum PortHolder: Sendable, Hashable {
    case nobody
    case ourselves
    /// Another program, as `name (process)`; nil: it cannot be told which.
    case others(String?)
}

/// An interface of the conductor's host.
struct InterfaceFacts: Sendable, Hashable {
    var isUp: Bool
    var hasCarrier: Bool
    var mtu: Int
    /// The addresses with their prefix lengths.
    var addresses: [IPv4Address: Int]
}

/// A DHCP server that is not the conductor's.
struct ForeignServer: Sendable, Hashable {
    /// It, for people.
    var text: String
    /// Whether it gives addresses and does not only tell what to boot.
    var givesAddresses: Bool
}

/// Whether an address can be reached.
enum Reach: Sendable, Hashable {
    case answers
    case silent
    case noRoute
}

/// Kernel, ramdisk and images as they are stored.
struct ImageFacts: Sendable, Hashable {
    /// Whether there is a discovery ramdisk.
    var hasRamdisk: Bool
    /// The roles that have an image.
    var roles: Set<Role>
    /// What is named and is not in the store, for people.
    var missing: [String]
    /// The programs that firmware loads first and that the conductor does not have.
    var missingPrograms: [MissingProgram] = []
}

/// A program that firmware cannot be sent.
struct MissingProgram: Sendable, Hashable {
    /// Its file's name.
    var name: String
    /// What does not work without it.
    var consequence: String
    /// How to get it.
    var change: String
}

/// The world around the checks; tests put another in its place.
struct CheckSurroundings: Sendable {
    var clock: any WallClock
    var interfaces: @Sendable () -> [String: InterfaceFacts]
    var foreignServers: @Sendable (_ interface: String, _ own: Set<IPv4Address>) async throws -> [ForeignServer]
    var holder: @Sendable (CheckedPort) -> PortHolder
    /// Sends one datagram and gives the first answer; throws `QuestionError`.
    var ask: @Sendable (_ host: IPv4Address, _ port: UInt16, _ question: [UInt8]) async throws -> [UInt8]
    /// The addresses of a host name; empty when it has none.
    var addresses: @Sendable (String) async -> [IPv4Address]
    var hardwareClock: @Sendable () -> Timestamp?
    var identify: @Sendable (BMC.Spec, SecretText) async throws -> BMCIdentification
    var reach: @Sendable (IPv4Address) async -> Reach
    /// The folder of the state, and what is free there.
    var stateDirectory: String
    var freeSpace: @Sendable (String) -> ByteCount?
    var images: @Sendable () async -> ImageFacts
    var authority: (notBefore: Timestamp, notAfter: Timestamp)
}

/// How one thing was found, and what is wrong with it.
enum Finding: Sendable, Hashable {
    case ok
    case skipped
    case warning(SiteCheckReply.Problem)
    case failed(SiteCheckReply.Problem)

    var outcome: SiteCheckReply.Outcome {
        switch self {
        case .ok: .ok
        case .skipped: .skipped
        case .warning: .warning
        case .failed: .failed
        }
    }

    var problem: SiteCheckReply.Problem? {
        switch self {
        case .ok, .skipped: nil
        case .warning(let problem), .failed(let problem): problem
        }
    }
}

/// One check: a name and what it finds.
protocol SiteCheck: Sendable {
    /// What people call it.
    static var name: String { get }
    /// Looks at all of `site`; ends early with what it has when it is cancelled.
    func findings(_ site: SiteUnderCheck, _ around: CheckSurroundings) async -> [SiteCheckReply.Row]
}

extension SiteCheck {
    func row(
        _ subject: String, _ finding: Finding, _ found: String, change: String? = nil
    ) -> SiteCheckReply.Row {
        SiteCheckReply.Row(
            check: Self.name, subject: subject, outcome: finding.outcome, found: found.printable(limit: 300),
            change: change, problem: finding.problem)
    }
}

/// Makes all checks at once and tells what they found, in their order.
struct SiteChecker: Sendable {
    /// How long all of it may take.
    static let deadlineDefault: Duration = .seconds(45)

    var checks: [any SiteCheck] = [
        InterfaceCheck(), MTUCheck(), ForeignDHCPCheck(), RelayCheck(), PortCheck(), ClockCheck(), DNSCheck(),
        BMCCheck(), DiskSpaceCheck(), ImageCheck(), AuthorityCheck(),
    ]
    var deadline = SiteChecker.deadlineDefault

    /// What the checks find; one that is not done by the deadline says so in its row.
    func findings(_ site: SiteUnderCheck, _ around: CheckSurroundings) async -> [SiteCheckReply.Row] {
        let deadline = deadline
        return await withTaskGroup(of: (Int, [SiteCheckReply.Row])?.self) { group in
            for (index, check) in checks.enumerated() {
                group.addTask { (index, await check.findings(site, around)) }
            }
            group.addTask {
                try? await Task.sleep(for: deadline)
                return nil
            }
            var found: [Int: [SiteCheckReply.Row]] = [:]
            while found.count < checks.count, let result = await group.next() {
                // The deadline: the checks that are not done end with what they have.
                guard let (index, rows) = result else {
                    group.cancelAll()
                    continue
                }
                found[index] = rows
            }
            group.cancelAll()
            return checks.indices.flatMap { found[$0] ?? [] }
        }
    }
}
