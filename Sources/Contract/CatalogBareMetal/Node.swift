import AgentProtocol
import Primitives
import ResourceModel

/// A physical machine under management. Stored under its `NodeID`, shown under its name.
public struct Node: Resource {
    public static let kind = "baremetal.node"
    public static let schemaVersion = 1

    public var metadata: Metadata
    /// What was asked for: written by the API, and once by the registration that made the node.
    public var spec: Spec
    /// What was seen: written by the node controller only.
    public var status: Status

    /// A node.
    public init(metadata: Metadata, spec: Spec, status: Status) {
        self.metadata = metadata
        self.spec = spec
        self.status = status
    }

    /// How far the machine is trusted to be what it says.
    public var trust: TrustLevel {
        if status.attestation?.isVouched == true { return .attested }
        return spec.approval == nil ? .quarantined : .approved
    }

    /// When something has to be done about it that nobody else brings about; nil: nothing.
    public var nextDeadline: Timestamp? {
        [status.wait?.deadline, status.agent?.unknownUntil].compactMap { $0 }.min()
    }

    /// The node's identifier, which is also its key.
    public var id: NodeID {
        get throws(InvalidValue) { try NodeID(metadata.name) }
    }

    /// What was asked for.
    public struct Spec: Codable, Sendable, Hashable {
        /// A DNS label, unique among nodes; the machine's host name.
        public var name: String
        /// What the node shall do; nil until somebody or a rule says so.
        public var role: Role?
        /// The rack it stands in; nil: not known.
        public var rack: String?
        /// Its bill of materials, by name; nil: none.
        public var sku: String?
        /// Who let it in; nil: nobody has, it gets no secret.
        public var approval: Approval?
        /// Raised by each order to write the image anew; 0: never.
        public var deployment: Generation
        /// The image to write, by name; nil: the role's own.
        public var image: String?
        /// Chooses the root disk.
        public var rootDisk: RootDiskHint
        /// The disks of a storage node's pool; nil: none is taken.
        public var dataDisks: DataDisks?
        /// The BMC, by name; nil: found by the machine's identity, or none.
        public var bmc: String?
        /// The node network, by name; nil: DHCP on every card.
        public var network: String?
        /// The newest order to empty disks.
        public var cleaning: CleanRequest?
        /// The newest order to begin or to end a rescue.
        public var rescue: RescueRequest?
        /// The newest power order.
        public var power: PowerRequest?
        /// The endorsement key by which the node is not known any more, as the board or the TPM was replaced.
        public var forgottenTPM: Digest?
        /// Why nothing shall be done to it; nil: it may.
        public var maintenance: Maintenance?

        /// Whether nothing shall be done to it: faults are told, and nobody acts on them but operators.
        public var isInMaintenance: Bool { maintenance != nil }

        /// What was asked for.
        public init(name: String) {
            self.name = name
            deployment = Generation(0)
            rootDisk = RootDiskHint()
        }
    }

    /// That a machine is left alone.
    public struct Maintenance: Codable, Sendable, Hashable {
        /// Why, in the words of who said so; nil: no reason was given.
        public var reason: String?
        /// Who said so.
        public var by: String
        /// Since when.
        public var since: Timestamp

        /// The most bytes of a reason.
        public static let reasonLengthMax = 200

        /// A maintenance.
        public init(reason: String?, by: String, since: Timestamp) {
            self.reason = reason
            self.by = by
            self.since = since
        }
    }

    /// Who let a machine in.
    public struct Approval: Codable, Sendable, Hashable {
        /// The operator or the rule.
        public var by: String
        /// When.
        public var at: Timestamp
        /// Raised by each approval: approving again trusts the machine's present boot.
        public var number: UInt64
        /// The session (its token's SHA-256) that was there when the operator approved, and no other is trusted by it;
        /// nil: none was there.
        public var session: Digest?
        /// Whether a rule gave it: it trusts the boot by which the machine is seen first.
        public var isByRule: Bool
        /// What would have kept the machine out and was accepted; nil: nothing.
        public var accepted: [Block]?

        /// An approval.
        public init(
            by: String, at: Timestamp, number: UInt64, session: Digest? = nil, isByRule: Bool = false,
            accepted: [Block]? = nil
        ) {
            self.accepted = accepted
            self.by = by
            self.at = at
            self.number = number
            self.session = session
            self.isByRule = isByRule
        }
    }

    /// An order to empty disks.
    public struct CleanRequest: Codable, Sendable, Hashable {
        /// Raised by each order.
        public var number: UInt64
        /// Which disks, and how.
        public var order: CleanOrder
        /// Whether the node may be active: what it does then ends.
        public var isRelease: Bool

        /// An order.
        public init(number: UInt64, order: CleanOrder, isRelease: Bool) {
            self.number = number
            self.order = order
            self.isRelease = isRelease
        }
    }

    /// An order to the BMC.
    public struct PowerRequest: Codable, Sendable, Hashable {
        /// Raised by each order.
        public var number: UInt64
        /// What to do.
        public var action: Action

        /// What a BMC can be told to do.
        public enum Action: String, Codable, Sendable, Hashable, CaseIterable {
            case on
            case off
            case reset
        }

        /// An order.
        public init(number: UInt64, action: Action) {
            self.number = number
            self.action = action
        }
    }

    /// What was seen.
    public struct Status: Codable, Sendable, Hashable {
        /// Where the machine is in its life.
        public var state: NodeState
        /// Since when.
        public var since: Timestamp
        /// What is waited for; nil in states that rest.
        public var wait: Wait?
        /// Why the last thing that failed did.
        public var lastError: String?
        /// All that the machine is known by.
        public var identity: MachineIdentity
        /// What its TPM proved in the boot that was accepted last; nil: nothing.
        public var attestation: Attestation?
        /// The full inventory in the blob store.
        public var inventory: Digest?
        /// What lists show of it.
        public var summary: InventorySummary?
        /// What keeps it from being let in until an operator says that it does not matter; nil: nothing.
        public var blocks: [Block]?
        /// The ramdisk that runs on it now.
        public var session: Session?
        /// The boot that ran when another was ordered: it is not the ordered one.
        public var formerBoot: String?
        /// How far the image is.
        public var progress: Progress?
        /// The deployment that the disk holds; 0: none.
        public var deployed: Generation
        /// The deployment that was last begun.
        public var attempted: Generation
        /// How often the machine was rebooted to go on with it.
        public var retries: Int
        /// The manifest that the disk holds or gets.
        public var image: Digest?
        /// The approval that was acted upon.
        public var approvalSeen: UInt64
        /// The cleaning that was last begun; nil: none.
        public var cleaned: UInt64?
        /// The rescue order that was last followed; nil: none.
        public var rescued: UInt64?
        /// How to log in, while it is in rescue.
        public var rescue: Rescue?
        /// The power order that was carried out.
        public var powerSeen: UInt64
        /// The power as the BMC last told.
        public var power: PowerReading?
        /// The installed agent.
        public var agent: Agent?

        /// The status of a machine that has just been seen.
        public init(state: NodeState, since: Timestamp, identity: MachineIdentity) {
            self.state = state
            self.since = since
            self.identity = identity
            deployed = Generation(0)
            attempted = Generation(0)
            retries = 0
            approvalSeen = 0
            powerSeen = 0
        }
    }

    /// Something waited for: nothing waits without a deadline, an owner, a cause and a next action.
    public struct Wait: Codable, Sendable, Hashable {
        /// What is waited for and why.
        public var cause: String
        /// Who has to act: `machine`, `bmc`, `agent`, `conductor` or `operator`.
        public var owner: Owner
        /// When the wait is over.
        public var deadline: Timestamp
        /// What happens then, or what to do now.
        public var next: String

        /// Who has to act.
        public enum Owner: String, Codable, Sendable, Hashable {
            case machine
            case bmc
            case agent
            case conductor
            case `operator`
        }

        /// A wait.
        public init(cause: String, owner: Owner, deadline: Timestamp, next: String) {
            self.cause = cause
            self.owner = owner
            self.deadline = deadline
            self.next = next
        }
    }

    /// Something about the machine that an operator has to settle before it is let in.
    public struct Block: Codable, Sendable, Hashable {
        /// What it is about.
        public var kind: Kind
        /// What is so, for people.
        public var message: String

        /// What a block is about.
        public enum Kind: String, Codable, Sendable, Hashable {
            /// The site's rules contradict each other.
            case rules
            /// The machine is not what its bill of materials says.
            case sku
            /// Its TPM measured another boot than the one that was accepted last.
            case measurements
        }

        /// The most that a node keeps.
        public static let countMax = 8
        /// The most characters of a message.
        public static let messageLengthMax = 240

        /// A block; a long message is cut.
        public init(kind: Kind, message: String) {
            self.kind = kind
            self.message = message.printable(limit: Self.messageLengthMax)
        }
    }

    /// A ramdisk on the machine.
    public struct Session: Codable, Sendable, Hashable {
        /// SHA-256 of the session's token.
        public var tokenHash: Digest
        /// The boot's random text.
        public var bootID: String
        /// When the machine posted its inventory.
        public var opened: Timestamp
        /// Whether secrets may go to it: it was there when the node was approved, or the conductor had ordered its boot.
        public var isTrusted: Bool

        /// What an untrusted boot of a known machine says of itself; taken over when it is approved.
        public var claim: Claim?

        /// A session.
        public init(tokenHash: Digest, bootID: String, opened: Timestamp, isTrusted: Bool, claim: Claim? = nil) {
            self.tokenHash = tokenHash
            self.bootID = bootID
            self.opened = opened
            self.isTrusted = isTrusted
            self.claim = claim
        }
    }

    /// What a machine says that it is.
    public struct Claim: Codable, Sendable, Hashable {
        /// All that it is known by.
        public var identity: MachineIdentity
        /// Its inventory's blob.
        public var inventory: Digest
        /// What lists show of it.
        public var summary: InventorySummary
        /// What would keep it from being let in; nil: nothing.
        public var blocks: [Block]?
        /// What its TPM proved; nil: nothing.
        public var attestation: Attestation?

        /// A claim.
        public init(
            identity: MachineIdentity, inventory: Digest, summary: InventorySummary, blocks: [Block]? = nil,
            attestation: Attestation? = nil
        ) {
            self.attestation = attestation
            self.identity = identity
            self.inventory = inventory
            self.summary = summary
            self.blocks = blocks
        }
    }

    /// How far an image is.
    public struct Progress: Codable, Sendable, Hashable {
        /// Data chunks written and verified.
        public var done: Int
        /// Data chunks in all.
        public var total: Int
        /// Bytes received.
        public var bytes: UInt64

        /// Progress.
        public init(done: Int, total: Int, bytes: UInt64) {
            self.done = done
            self.total = total
            self.bytes = bytes
        }

        /// The share that is done in whole percent, 0 to 100; nil when there is nothing to do.
        public var percent: Int? { total > 0 ? Int(Double(min(max(done, 0), total)) / Double(total) * 100) : nil }
    }

    /// One stream of an agent.
    public struct Stream: Codable, Sendable, Hashable {
        /// The run of the conductor that accepted it.
        public var conductor: String
        /// Rises with each stream that this run accepts.
        public var number: UInt64

        /// A stream.
        public init(conductor: String, number: UInt64) {
            self.conductor = conductor
            self.number = number
        }
    }

    /// The installed agent.
    public struct Agent: Codable, Sendable, Hashable {
        /// Its version.
        public var version: String
        /// The kernel's boot identifier.
        public var bootID: String
        /// Its newest stream; nil when a release that did not note it wrote this.
        public var stream: Stream?
        /// Whether that stream is open.
        public var isConnected: Bool
        /// Since when the stream is open or gone.
        public var since: Timestamp
        /// Until when nobody knows whether that stream is open, as the conductor that had it is gone; nil: it is known.
        public var unknownUntil: Timestamp?
        /// The node's addresses.
        public var addresses: [IPv4Address]
        /// Whether every role is ready.
        public var isReady: Bool
        /// The roles' checks.
        public var conditions: [Condition]
        /// How far the node's clock is ahead of the conductor's when that is over a second; negative: behind.
        public var clockOffsetMilliseconds: Int64?
        /// The events about checks in the present window of time; nil before the first.
        public var checkEvents: CheckEvents?

        /// What is known of the stream.
        public var connection: Connection {
            guard isConnected else { return .gone }
            return unknownUntil == nil ? .open : .unknown
        }

        /// What is known of a stream. Nothing is done to a node, or taken from it, because it is `unknown`.
        public enum Connection: String, Codable, Sendable, Hashable {
            case open
            case unknown
            case gone
        }

        /// How many events there were about checks, so that one that comes and goes all the time does not fill the list.
        public struct CheckEvents: Codable, Sendable, Hashable {
            /// When the window began.
            public var since: Timestamp
            /// The changes of checks in it.
            public var count: Int

            /// A window.
            public init(since: Timestamp, count: Int) {
                self.since = since
                self.count = count
            }
        }

        /// An agent.
        public init(
            version: String, bootID: String, stream: Stream? = nil, isConnected: Bool, since: Timestamp,
            addresses: [IPv4Address] = [], isReady: Bool = false, conditions: [Condition] = []
        ) {
            self.version = version
            self.bootID = bootID
            self.stream = stream
            self.isConnected = isConnected
            self.since = since
            self.addresses = addresses
            self.isReady = isReady
            self.conditions = conditions
        }
    }
}
