/// What goes wrong in a simulation.
enum Fault: String, CaseIterable {
    case lostMessage = "message lost"
    case doubledMessage = "message doubled"
    case delayedMessage = "message late, after others"
    case corruptedMessage = "message corrupted"
    case lostAnswer = "answer lost"
    case brokenStream = "stream broken"
    case crash = "conductor crashed"
    case crashBeforeCommit = "conductor crashed before a commit"
    case crashAfterCommit = "conductor crashed after a commit"
    case failedCommit = "commit failed"
    case fullStore = "store's disk full"
    case busyStore = "store busy"
    case powerCut = "power cut"
    case bmcUnreachable = "BMC unreachable"
    case bmcHang = "BMC hung"
    case bmcRefusal = "BMC refused"
    case bmcReset = "BMC reset"
    case bmcLie = "BMC lied of an order"
    case bmcLiedPower = "BMC lied of the power"
    case hungBoot = "boot hung"
    case failedLoad = "boot file not loaded"
    case diskError = "disk error"
    case fullDisk = "disk full"
    case corruptedChunk = "chunk corrupted"
    case clockJump = "conductor's clock jumped"
    case slowness = "everything slow"
    case roleNotReady = "role not ready"
    case foreignAddress = "address used by a stranger"
}

/// How a seed's world is made and what happens to it.
struct Shape {
    /// Where the conductor keeps what it has acknowledged.
    enum Engine: String {
        case memory
        case sqlite
    }

    /// One machine.
    struct Machine {
        var hasBMC: Bool
        /// It boots the ramdisk and is never let in.
        var isStranger: Bool
        var isUEFI: Bool
        /// iPXE is in its firmware, so that no program is loaded first.
        var hasIPXE: Bool
        /// It has a second disk, which no order names.
        var hasDataDisk: Bool
        var isRescued: Bool
        var isReleased: Bool
    }

    var engine: Engine
    var machines: [Machine]
    var isApprovedByRule: Bool
    var leaseSeconds: UInt32
    var spareAddresses: Int
    /// Milliseconds after which nothing goes wrong any more.
    var faultsEnd: Int64
    /// In a thousand.
    var chances: [Fault: Int]

    /// The shape of a seed; every eighth is on SQLite.
    init(seed: UInt64, random: inout some RandomNumberGenerator) {
        engine = seed % 8 == 0 ? .sqlite : .memory
        // Small worlds find most and are quick; a few are large.
        let count = [3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 8, 12].randomElement(using: &random) ?? 3
        machines = (0..<count).map { index in
            Machine(
                hasBMC: Int.random(in: 0..<8, using: &random) != 0,
                isStranger: index > 1 && Int.random(in: 0..<8, using: &random) == 0,
                isUEFI: .random(using: &random), hasIPXE: Int.random(in: 0..<4, using: &random) == 0,
                hasDataDisk: .random(using: &random), isRescued: Int.random(in: 0..<4, using: &random) == 0,
                isReleased: Int.random(in: 0..<6, using: &random) == 0)
        }
        isApprovedByRule = Int.random(in: 0..<4, using: &random) == 0
        leaseSeconds = [300, 600, 3600].randomElement(using: &random) ?? 600
        spareAddresses = Int.random(in: 2...8, using: &random)
        faultsEnd = Int64.random(in: 300...900, using: &random) * 1000
        chances = Self.usual
        // Each seed leaves some faults out and makes others frequent, so that not everything hides everything.
        for fault in Fault.allCases {
            switch Int.random(in: 0..<6, using: &random) {
            case 0: chances[fault] = 0
            case 1: chances[fault] = min(300, (chances[fault] ?? 0) * 4)
            default: break
            }
        }
    }

    private static let usual: [Fault: Int] = [
        .lostMessage: 40, .doubledMessage: 30, .delayedMessage: 40, .corruptedMessage: 15, .lostAnswer: 40,
        .brokenStream: 20, .crashBeforeCommit: 8, .crashAfterCommit: 8, .failedCommit: 10, .bmcUnreachable: 20,
        .bmcHang: 15, .bmcRefusal: 10, .bmcReset: 10, .bmcLie: 20, .bmcLiedPower: 20, .hungBoot: 40, .failedLoad: 30,
        .diskError: 10, .fullDisk: 10, .corruptedChunk: 40, .roleNotReady: 50,
        // Of these, a chance in a thousand each ten seconds.
        .crash: 25, .fullStore: 12, .busyStore: 12, .powerCut: 30, .clockJump: 20, .slowness: 10, .foreignAddress: 8,
    ]
}
