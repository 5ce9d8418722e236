import AgentProtocol
import CatalogBareMetal
import Primitives

/// What can happen to a node.
public enum NodeInput: Sendable, Hashable {
    /// The machine booted the ramdisk and posted its inventory.
    case registered(Registration)
    /// The specification may have changed.
    case specified
    /// A conductor has begun to look after nodes: what the state asks for is asked for anew. These runs of conductors are
    /// there; streams of others are gone.
    case resumed(runs: Set<String>)
    /// These runs of conductors are there now.
    case conductorsChanged(runs: Set<String>)
    /// A deadline may have passed.
    case tick
    /// The BMC answered with good credentials (true) or there is none to ask (false).
    case bmcVerified(hasBMC: Bool)
    /// The BMC could not do what the state asked for.
    case bmcFailed(String)
    /// The BMC was told to boot the ramdisk, or the disk.
    case bootOrdered(BootOrder)
    /// There is no BMC to boot the machine with: a person has to, as the text says.
    case bootLeftToOperator(BootOrder, String)
    /// What the site's rules have against it now, after they have changed.
    case judged([Node.Block])
    /// The power as the BMC tells it.
    case powerRead(PowerReading)
    /// The power order with this number was carried out, or could not be.
    case powerDone(number: UInt64, failure: String?)
    /// The ramdisk tells how far it is.
    case progressed(order: UInt64, DiscoveryProgress.Stage)
    /// The order to write this image was handed to the machine.
    case imageChosen(Digest)
    /// There is nothing to write.
    case imageMissing(String)
    /// The installed agent got its certificate.
    case agentEnrolled
    /// The installed agent opened its stream.
    case agentConnected(AgentHello, Node.Stream)
    /// That stream is gone.
    case agentDisconnected(Node.Stream)
    /// It told how its roles are.
    case agentReported(NodeStatusReport)
    /// How many milliseconds its clock is ahead of the conductor's, negative: behind; nil: at most a second.
    case clockRead(Int64?)
}

/// What a machine that booted the ramdisk is taken for.
public struct Registration: Sendable, Hashable {
    /// What it says that it is, fused with what was known of it.
    public var claim: Node.Claim
    /// SHA-256 of the session's token.
    public var tokenHash: Digest
    /// The boot's random text.
    public var bootID: String
    /// In what its hardware differs from last time; see `InventoryDifference`.
    public var changes: [String]

    /// Why its TPM proved nothing; nil: it proved, or nothing was tried.
    public var attestationProblem: String?
    /// The PCRs in which a boot must not differ from the one that was accepted last.
    public var requiredPCRs: Set<Int> = []

    /// A registration.
    public init(claim: Node.Claim, tokenHash: Digest, bootID: String, changes: [String] = []) {
        self.changes = changes
        self.claim = claim
        self.tokenHash = tokenHash
        self.bootID = bootID
    }
}

/// What a machine is told to boot.
public enum BootOrder: String, Sendable, Hashable {
    case ramdisk
    case disk
}

/// What has to be done for a node; the controller does it and feeds the answer back.
public enum NodeEffect: Sendable, Hashable {
    /// Ask the BMC whether it can be reached with its credentials.
    case verifyBMC
    /// Set the boot order and reset (or switch on) the power.
    case boot(BootOrder)
    /// Carry out an operator's power order.
    case power(number: UInt64, Node.PowerRequest.Action)
    /// Record what happened.
    case record(type: String, message: String)
    /// Keep what the roles told of the node.
    case keep(RoleFacts)
}

/// An input that the state does not allow.
public struct InvalidTransition: UserFacingError, Hashable {
    /// The state.
    public let state: NodeState
    /// What was asked for.
    public let asked: String
    /// What to do instead.
    public let hint: String

    /// A refusal.
    public init(state: NodeState, asked: String, hint: String) {
        self.state = state
        self.asked = asked
        self.hint = hint
    }

    public var publicMessage: String { "\(asked) is not possible while the node is '\(state)'. \(hint)" }
}

/// How long each wait may take before something is done about it.
public struct NodeDeadlines: Sendable, Hashable {
    /// The BMC's answer.
    public var verify: Duration = .seconds(90)
    /// From the power order to the inventory: firmware of real machines needs up to ten minutes.
    public var ramdiskBoot: Duration = .seconds(1200)
    /// Between two reports of a machine that writes.
    public var writeStall: Duration = .seconds(300)
    /// The same when its BMC says that it is off.
    public var offStall: Duration = .seconds(30)
    /// The BMC's order to boot the disk.
    public var diskBoot: Duration = .seconds(180)
    /// From the power reset to the agent's certificate.
    public var enrol: Duration = .seconds(1200)
    /// From the certificate to ready roles.
    public var check: Duration = .seconds(300)
    /// From the order to empty disks to the last of them: a large disk is overwritten and read at 100 MB/s.
    public var clean: Duration = .seconds(3 * 86400)
    /// From the order to let an operator in to the ramdisk's answer.
    public var rescueOpen: Duration = .seconds(120)
    /// From the end of a rescue to the power reset: what is mounted is written back.
    public var rescueClose: Duration = .seconds(90)
    /// From the end of a conductor to the return of its nodes' agents to another one.
    public var streamReturn: Duration = .seconds(60)
    /// From a conductor's start on, whatever a deadline of before said.
    public var resumeGrace: Duration = .seconds(120)
    /// Between two reminders that an operator is waited for.
    public var operatorReminder: Duration = .seconds(86400)
    /// How often a machine that fell silent is rebooted in one deployment.
    public var retryCountMax = 3

    /// The defaults.
    public init() {}
}
