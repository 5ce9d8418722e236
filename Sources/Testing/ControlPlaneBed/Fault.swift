import Primitives

/// Something bad that happens to a bed for a time.
public enum Fault: Sendable, Hashable, CustomStringConvertible {
    /// Whom it happens to: a controller by name, or whoever leads when it happens.
    public enum Target: Sendable, Hashable, CustomStringConvertible {
        case named(String)
        /// The member that leads.
        case storeLeader
        /// The conductor that leads.
        case leadingConductor
        /// Who has the virtual address.
        case virtualAddress

        public var description: String {
            switch self {
            case .named(let name): name
            case .storeLeader: "etcd's leader"
            case .leadingConductor: "the leading conductor"
            case .virtualAddress: "the virtual address"
            }
        }
    }

    /// Which packets are dropped.
    public enum Direction: String, Sendable, Hashable, CaseIterable {
        case both, incoming, outgoing
    }

    /// kill -9 of a part, which is started again at the end; nil: of all parts.
    case kill(Bed.Part?, Target)
    /// SIGSTOP of a part, SIGCONT at the end; nil: of all parts.
    case pause(Bed.Part?, Target)
    /// A controller and the other controllers do not hear each other; with `clients` nor do the clients.
    case cut(Target, Direction, clients: Bool)
    /// A conductor's wall clock is wrong by this many seconds.
    case clock(Target, seconds: Int)
    /// The last controller's disk is full.
    case fullDisk
    /// A member runs a tenth of the time.
    case slow(Target)

    public var description: String {
        switch self {
        case .kill(let part, let target): "kill -9 of \(Self.word(part)) of \(target)"
        case .pause(let part, let target): "SIGSTOP of \(Self.word(part)) of \(target)"
        case .cut(let target, let direction, let clients):
            "\(target) cut off from \(clients ? "all" : "the controllers") (\(direction.rawValue))"
        case .clock(let target, let seconds): "the conductor's clock of \(target) wrong by \(seconds) s"
        case .fullDisk: "a full disk of the last controller"
        case .slow(let target): "a slow member of \(target)"
        }
    }

    private static func word(_ part: Bed.Part?) -> String { part?.rawValue ?? "everything" }

    /// What a command line calls it, for example `kill conductor leader`.
    public static let forms = """
        kill|pause PART TARGET, cut TARGET [both|incoming|outgoing] [clients], clock TARGET SECONDS, full-disk, slow TARGET; \
        PART is etcd, conductor, haproxy, keepalived or all; TARGET is c1, c2, …, etcd, leader or vip
        """

    /// Reads such words; throws `BedError.failed`.
    public init(words: [String]) throws(BedError) {
        let wrong = BedError.failed("No fault is called '\(words.joined(separator: " "))'; there is \(Self.forms).")
        guard let verb = words.first else { throw wrong }
        let rest = Array(words.dropFirst())
        switch (verb, rest.count) {
        case ("kill", 2), ("pause", 2):
            let part = Bed.Part(rawValue: rest[0])
            guard part != nil || rest[0] == "all" else { throw wrong }
            self = verb == "kill" ? .kill(part, Self.target(rest[1])) : .pause(part, Self.target(rest[1]))
        case ("cut", 1...3):
            let direction = rest.dropFirst().compactMap(Direction.init).first ?? .both
            self = .cut(Self.target(rest[0]), direction, clients: rest.contains("clients"))
        case ("clock", 2):
            guard let seconds = Int(rest[1]), abs(seconds) <= 1_000_000 else { throw wrong }
            self = .clock(Self.target(rest[0]), seconds: seconds)
        case ("full-disk", 0): self = .fullDisk
        case ("slow", 1): self = .slow(Self.target(rest[0]))
        default: throw wrong
        }
    }

    private static func target(_ word: String) -> Target {
        switch word {
        case "etcd": .storeLeader
        case "leader": .leadingConductor
        case "vip": .virtualAddress
        default: .named(word)
        }
    }
}

/// What happens to a bed and when; made from a seed.
public struct FaultSchedule: Sendable, Hashable {
    /// Faults that are there at one time, each on a controller of its own, with the quiet time before them.
    public struct Step: Sendable, Hashable {
        public var quiet: Duration
        public var faults: [Fault]
        public var lasts: Duration

        public init(quiet: Duration, faults: [Fault], lasts: Duration) {
            self.quiet = quiet
            self.faults = faults
            self.lasts = lasts
        }
    }

    public var seed: UInt64
    public var steps: [Step]

    /// `count` times faults of all sorts, `atOnce` at a time; the same seed gives the same.
    public init(seed: UInt64, faults count: Int, atOnce: Int = 1, controllers: [String], withClocks: Bool) {
        self.seed = seed
        var random = SeededRandom(seed: seed)
        steps = (0..<count).map { _ in
            let first = Self.fault(&random, controllers, withClocks)
            let (quiet, lasts) = (
                Int.random(in: 500...2000, using: &random), Int.random(in: 1500...5000, using: &random)
            )
            let more = (1..<max(1, atOnce)).map { _ in Self.fault(&random, controllers, withClocks) }
            return Step(quiet: .milliseconds(quiet), faults: [first] + more, lasts: .milliseconds(lasts))
        }
    }

    private static func fault(_ random: inout SeededRandom, _ controllers: [String], _ withClocks: Bool) -> Fault {
        let target = target(&random, controllers)
        switch Int.random(in: 0..<12, using: &random) {
        case 0: return .kill(.conductor, target)
        case 1: return .kill(.etcd, target)
        case 2: return .kill(nil, target)
        case 3, 4: return .pause(.conductor, target)
        case 5: return .pause(.etcd, target)
        case 6: return .pause(nil, target)
        case 7, 8:
            let direction = Fault.Direction.allCases.randomElement(using: &random) ?? .both
            return .cut(target, direction, clients: Bool.random(using: &random))
        case 9 where withClocks:
            return .clock(target, seconds: [-300, -20, 20, 300].randomElement(using: &random) ?? 20)
        case 10: return .fullDisk
        default: return .slow(target)
        }
    }

    private static func target(_ random: inout SeededRandom, _ controllers: [String]) -> Fault.Target {
        switch Int.random(in: 0..<6, using: &random) {
        case 0, 1: .storeLeader
        case 2, 3: .leadingConductor
        case 4: .virtualAddress
        default: .named(controllers.randomElement(using: &random) ?? "c1")
        }
    }
}
