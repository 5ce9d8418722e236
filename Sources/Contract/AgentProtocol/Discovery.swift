import Primitives

/// Paths and limits of the provisioning port: HTTPS on the segment with server authentication only.
///
/// A machine that boots the discovery ramdisk posts what it is and gets a session; until the node is approved
/// the session may only wait. Nothing secret is sent before.
public enum DiscoveryPath {
    /// POST `InventoryPost` → `InventoryReply`. No authentication: anybody on the segment may ask to be noticed.
    public static let inventory = "/discovery/v1/inventory"
    /// POST `AttestationOffer` → `AttestationChallenge`. No authentication; the evidence goes with the inventory.
    public static let attestation = "/discovery/v1/attestation"
    /// GET with the session's token → `DiscoveryOrder`; `?after=N&wait=S` waits up to S ≤ 30 seconds for another order
    /// than number N. Being asked is the machine's heartbeat.
    public static let orders = "/discovery/v1/orders"
    /// POST `DiscoveryProgress` with the session's token → 204.
    public static let progress = "/discovery/v1/progress"
    /// POST `LogBatch` with the session's token → 204.
    public static let logs = "/discovery/v1/logs"
    /// GET `/discovery/v1/manifests/<digest>` with the session's token → the manifest's bytes.
    public static let manifests = "/discovery/v1/manifests"
    /// POST `EnrolmentRequest` → `EnrolmentReply`; the one-time token is in the body.
    public static let enrol = "/enrol/v1/certificate"
    /// GET on the plain boot port → the site's CA certificate in PEM; checked against the boot script's digest.
    public static let authority = "/boot/ca.pem"
    /// GET `/images/<manifest digest>/chunks?from=N` on the plain boot port → chunk frames in disk order.
    public static let images = "/images"
}

/// A machine's first word: what it is.
public struct InventoryPost: Codable, Sendable, Hashable {
    /// The version of this message's form.
    public var schemaVersion: Int
    /// A random text that the ramdisk made at boot: a retry of the same post is not a second machine.
    public var bootID: String
    /// What udev, blkid and the kernel told.
    public var inventory: InventoryReport
    /// What its TPM proves; nil: it has none, or it could not be asked.
    public var evidence: AttestationEvidence?

    /// A post of `inventory`.
    public init(bootID: String, inventory: InventoryReport, evidence: AttestationEvidence? = nil) {
        self.evidence = evidence
        schemaVersion = 1
        self.bootID = bootID
        self.inventory = inventory
    }
}

/// What the conductor made of an inventory.
public struct InventoryReply: Codable, Sendable, Hashable {
    /// The node that the machine is taken for.
    public var node: NodeID
    /// Its name, for the console.
    public var name: String
    /// Sent as `Authorization: Bearer <session>` from now on; good for this boot only.
    public var session: String

    /// A reply.
    public init(node: NodeID, name: String, session: String) {
        self.node = node
        self.name = name
        self.session = session
    }
}

/// What a machine in the ramdisk shall do now. Numbers rise; a number once done is not done again.
public struct DiscoveryOrder: Codable, Sendable, Hashable {
    /// Rises with every new order of this session.
    public var number: UInt64
    /// What to do.
    public var action: Action

    /// What there is to do.
    public enum Action: Codable, Sendable, Hashable {
        /// Nothing yet; `reason` is for the console.
        case wait(reason: String)
        /// Write an image and the node's identity.
        case deploy(DeployOrder)
        /// Empty disks.
        case clean(CleanOrder)
        /// Let an operator log in, and leave the disks alone.
        case rescue(RescueOrder)
        /// Stand still: the power will be reset from outside. After a rescue: end logins, write what is mounted back, and
        /// report `finished`.
        case standBy
        /// Collect and post the inventory anew.
        case inspect
    }

    /// An order.
    public init(number: UInt64, action: Action) {
        self.number = number
        self.action = action
    }
}

/// Which image goes to which disk, and what the node is to be. Sent only to an approved machine.
public struct DeployOrder: Codable, Sendable, Hashable {
    /// The generation of the node's specification that this was made from.
    public var generation: Generation
    /// The image's manifest; fetched from `DiscoveryPath.manifests` and checked against this digest.
    public var manifest: Digest
    /// Chooses the root disk; none or two matches is an error that lists the disks.
    public var rootDisk: RootDiskHint
    /// The files to write on the state partition, path below it → content.
    public var stateFiles: [StateFile]

    /// An order.
    public init(generation: Generation, manifest: Digest, rootDisk: RootDiskHint, stateFiles: [StateFile]) {
        self.generation = generation
        self.manifest = manifest
        self.rootDisk = rootDisk
        self.stateFiles = stateFiles
    }
}

/// A file on a node's state partition.
public struct StateFile: Codable, Sendable, Hashable {
    /// Relative, without `..`, for example `muster/hostname`.
    public var path: String
    /// The text.
    public var content: String
    /// The mode bits, for example 0o600.
    public var mode: UInt32

    /// A file.
    public init(path: String, content: String, mode: UInt32 = 0o644) {
        self.path = path
        self.content = content
        self.mode = mode
    }
}

/// Facts that the root disk must match, all of them; nil matches anything.
public struct RootDiskHint: Codable, Sendable, Hashable {
    /// The disk's serial number, exactly.
    public var serial: String?
    /// The disk's World Wide Name, exactly.
    public var wwn: String?
    /// The bus path (udev's ID_PATH), exactly.
    public var path: String?
    /// The model, exactly.
    public var model: String?
    /// The smallest size.
    public var sizeMin: ByteCount?
    /// The largest size.
    public var sizeMax: ByteCount?

    /// A hint; without any fact it matches every disk.
    public init(
        serial: String? = nil, wwn: String? = nil, path: String? = nil, model: String? = nil,
        sizeMin: ByteCount? = nil, sizeMax: ByteCount? = nil
    ) {
        self.serial = serial
        self.wwn = wwn
        self.path = path
        self.model = model
        self.sizeMin = sizeMin
        self.sizeMax = sizeMax
    }
}

/// How far a machine in the ramdisk is with an order.
public struct DiscoveryProgress: Codable, Sendable, Hashable {
    /// The order's number.
    public var order: UInt64
    /// Where it is.
    public var stage: Stage

    /// The stages of a deployment.
    public enum Stage: Codable, Sendable, Hashable {
        /// The order was understood and the disk chosen.
        case started(disk: String)
        /// `done` of `total` data chunks are written and verified; `bytes` were received.
        case writing(done: Int, total: Int, bytes: UInt64)
        /// All is on the disk and synced; the machine waits for its power reset.
        case finished
        /// Of disk `index` (from 1) of `count`, `done` of `total` bytes are written or read back.
        case cleaning(disk: String, index: Int, count: Int, done: UInt64, total: UInt64)
        /// Every disk is empty, which was read back.
        case cleaned([CleanedDisk])
        /// An operator may log in.
        case rescued(RescueAccess)
        /// Somebody has logged in with the one-time password, from this address and port; it is void now.
        case login(from: String)
        /// It cannot be done; `message` says why and what to change.
        case failed(message: String, retryable: Bool)
    }

    /// Progress of an order.
    public init(order: UInt64, stage: Stage) {
        self.order = order
        self.stage = stage.bounded
    }

    /// Reads a report; its texts become printable and short, its counts possible ones.
    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            order: try fields.decode(UInt64.self, forKey: .order), stage: try fields.decode(Stage.self, forKey: .stage))
    }
}

/// Log lines of a machine, at most 200 lines of 2,000 characters a batch.
public struct LogBatch: Codable, Sendable, Hashable {
    /// Which program wrote them, for example `discovery-agent`.
    public var source: String
    /// The lines in order.
    public var lines: [Line]

    /// One line.
    public struct Line: Codable, Sendable, Hashable {
        /// When it was written, by the machine's clock.
        public var time: Timestamp
        /// For example `info` or `error`.
        public var level: String
        /// The text.
        public var text: String

        /// A line.
        public init(time: Timestamp, level: String, text: String) {
            self.time = time
            self.level = level
            self.text = text
        }
    }

    /// A batch.
    public init(source: String, lines: [Line]) {
        self.source = source
        self.lines = lines
    }

    /// The most lines of a batch.
    public static let lineCountMax = 200
    /// The most characters of a line.
    public static let lineLengthMax = 2000
}

/// The installed agent's request for its certificate.
public struct EnrolmentRequest: Codable, Sendable, Hashable {
    /// Which node it is.
    public var node: NodeID
    /// The one-time token from the state partition.
    public var token: String
    /// A certificate signing request (RFC 2986) in PEM, made with a key that never leaves the node.
    public var signingRequest: String

    /// A request.
    public init(node: NodeID, token: String, signingRequest: String) {
        self.node = node
        self.token = token
        self.signingRequest = signingRequest
    }
}

/// The certificate for a request.
public struct EnrolmentReply: Codable, Sendable, Hashable {
    /// The node's certificate, then intermediates, in PEM.
    public var certificateChain: String
    /// When it ends; the agent asks for another over its stream when two thirds are gone.
    public var notAfter: Timestamp

    /// A reply.
    public init(certificateChain: String, notAfter: Timestamp) {
        self.certificateChain = certificateChain
        self.notAfter = notAfter
    }
}

/// `muster/agent.json` on the state partition: how the role agent finds and proves itself (mode 0600).
public struct AgentIdentityFile: Codable, Sendable, Hashable {
    /// Which node this is.
    public var node: NodeID
    /// Its name.
    public var name: String
    /// The conductors, each `host:port` of the provisioning port (enrolment).
    public var provisioning: [String]
    /// The conductors, each `host:port` of the agent port (the stream).
    public var conductors: [String]
    /// The one-time token; taken out of the file once it has been used.
    public var token: String?

    /// An identity.
    public init(node: NodeID, name: String, provisioning: [String], conductors: [String], token: String?) {
        self.node = node
        self.name = name
        self.provisioning = provisioning
        self.conductors = conductors
        self.token = token
    }
}

/// The body of every error answer of the provisioning port.
public struct ErrorBody: Codable, Sendable, Hashable {
    /// For example `tokenUsed`; for programs.
    public var code: String
    /// What is wrong and what to do; for people.
    public var message: String

    /// An error.
    public init(code: String, message: String) {
        self.code = code
        self.message = message
    }
}
