import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel

/// The body of `ready` when a conductor is.
public struct ReadyReply: Codable, Sendable, Hashable {
    /// Always true: one that is not ready answers with an error.
    public var isReady: Bool

    /// A reply.
    public init(isReady: Bool) { self.isReady = isReady }
}

/// One thing that happened to a node.
public struct EventRecord: Codable, Sendable, Hashable {
    /// The event's key; give the last one of a page as `marker` for the next.
    public var key: String
    /// When.
    public var time: Timestamp
    /// To whom.
    public var node: NodeID
    /// Its name now; nil when it is gone.
    public var nodeName: String?
    /// For example `StateChanged`.
    public var type: String
    /// What, for people.
    public var message: String

    /// An event.
    public init(
        key: String, time: Timestamp, node: NodeID, nodeName: String?, type: String, message: String
    ) {
        self.key = key
        self.time = time
        self.node = node
        self.nodeName = nodeName
        self.type = type
        self.message = message
    }
}

/// Who did what.
public struct AuditRecord: Codable, Sendable, Hashable {
    /// The event's key; give the last one of a page as `marker` for the next.
    public var key: String
    /// When.
    public var time: Timestamp
    /// For example `operator:admin`.
    public var who: String
    /// The remote address.
    public var from: String?
    /// The request it belongs to.
    public var requestID: String?
    /// For example `approve`.
    public var verb: String
    /// What it was done to, `kind/name`.
    public var resource: String
    /// `ok`, `denied` or `failed`.
    public var outcome: String
    /// Why it failed.
    public var message: String?
    /// What changed.
    public var summary: String?

    /// A record.
    public init(
        key: String, time: Timestamp, who: String, from: String?, requestID: String?, verb: String, resource: String,
        outcome: String, message: String?, summary: String?
    ) {
        self.key = key
        self.time = time
        self.who = who
        self.from = from
        self.requestID = requestID
        self.verb = verb
        self.resource = resource
        self.outcome = outcome
        self.message = message
        self.summary = summary
    }
}

/// A BMC, without its password.
public struct BMCRecord: Codable, Sendable, Hashable {
    /// Its name.
    public var name: String
    /// Where it is.
    public var address: String
    /// The Redfish system's identifier.
    public var system: String?
    /// The user.
    public var username: String
    /// Whether a machine that is off and unknown is switched on to be discovered.
    public var powersOnForDiscovery: Bool
    /// How its machine boots the ramdisk; nil: from the network.
    public var boot: BMC.BootWay?
    /// SHA-256 of the certificate that the site file names; nil: none.
    public var certificateDigest: Digest?
    /// The certificate that an operator has approved; nil: none.
    public var approvedCertificate: BMC.ApprovedCertificate?
    /// The newest order to change its password; nil: there was none.
    public var passwordOrder: BMC.PasswordOrder?
    /// What was seen.
    public var status: BMC.Status
    /// The nodes that it belongs to, by name.
    public var nodes: [String]

    /// What operators may know of `bmc`, which belongs to `nodes`.
    public init(_ bmc: BMC, nodes: [String]) {
        name = bmc.metadata.name
        address = bmc.spec.address
        system = bmc.spec.system
        username = bmc.spec.username
        powersOnForDiscovery = bmc.spec.powersOnForDiscovery
        boot = bmc.spec.boot
        certificateDigest = bmc.spec.certificateDigest
        approvedCertificate = bmc.spec.approvedCertificate
        passwordOrder = bmc.spec.passwordOrder
        status = bmc.status
        self.nodes = nodes
    }
}

extension BMCRecord {
    /// Whether its password is being changed, or is to be.
    public var isPasswordChanging: Bool {
        if case .pending? = status.password?.state { return true }
        return passwordOrder.map { $0.number > status.password?.orderSeen ?? 0 } ?? false
    }
}

/// POST `bmcs/{bmc}/rotate-password`: gives the BMC's user another password, which the conductor makes.
public struct RotateBMCPasswordRequest: Codable, Sendable, Hashable {
    /// A request.
    public init() {}
}

/// POST `bmcs/{bmc}/approve`: trusts the certificate that a BMC shows.
public struct ApproveBMCRequest: Codable, Sendable, Hashable {
    /// SHA-256 of the certificate, as the caller has compared it.
    public var fingerprint: Digest

    /// A request.
    public init(fingerprint: Digest) { self.fingerprint = fingerprint }
}

/// GET `bmcs/{bmc}`: a BMC and what its sensors tell.
public struct BMCDetail: Codable, Sendable, Hashable {
    /// The BMC.
    public var bmc: BMCRecord
    /// The conductor's time.
    public var time: Timestamp
    /// The newest readings; empty: none lately.
    public var sensors: [SensorReading]
    /// When they were read.
    public var sensorsRead: Timestamp?

    /// A BMC in detail.
    public init(bmc: BMCRecord, time: Timestamp, sensors: [SensorReading], sensorsRead: Timestamp?) {
        self.bmc = bmc
        self.time = time
        self.sensors = sensors
        self.sensorsRead = sensorsRead
    }
}

/// An address that a machine has on a segment.
public struct LeaseRecord: Codable, Sendable, Hashable {
    /// The segment.
    public var segment: String
    /// The address.
    public var address: IPv4Address
    /// Who has it.
    public var mac: MACAddress
    /// Whether it is in use.
    public var phase: Lease.Phase
    /// When it ends.
    public var expires: Timestamp
    /// What the client calls itself; nobody vouches for it.
    public var hostname: String?
    /// The node that the MAC belongs to, by name.
    public var node: String?

    /// A lease.
    public init(
        segment: String, address: IPv4Address, mac: MACAddress, phase: Lease.Phase, expires: Timestamp,
        hostname: String? = nil, node: String? = nil
    ) {
        self.segment = segment
        self.address = address
        self.mac = mac
        self.phase = phase
        self.expires = expires
        self.hostname = hostname
        self.node = node
    }
}

/// Two or more nodes behind one machine's claim.
public struct ConflictRecord: Codable, Sendable, Hashable {
    /// Its name.
    public var name: String
    /// The claim and whom it touches.
    public var spec: IdentityConflict.Spec
    /// How often it came.
    public var status: IdentityConflict.Status
    /// The names of the nodes it touches.
    public var nodeNames: [String]

    /// A conflict.
    public init(
        name: String, spec: IdentityConflict.Spec, status: IdentityConflict.Status, nodeNames: [String]
    ) {
        self.name = name
        self.spec = spec
        self.status = status
        self.nodeNames = nodeNames
    }
}

/// A page of anything that is listed.
public struct RecordList<Record: Codable & Sendable & Hashable>: Codable, Sendable, Hashable {
    /// The entries.
    public var items: [Record]
    /// Give it as `marker` for the next page; nil: this is the last.
    public var next: String?

    /// A page.
    public init(items: [Record], next: String? = nil) {
        self.items = items
        self.next = next
    }
}

/// The newest lines of a node's logs, oldest first.
public struct LogReply: Codable, Sendable, Hashable {
    /// The programs whose lines are kept.
    public var sources: [String]
    /// The lines.
    public var lines: [Line]
    /// Give it as `after` for the lines that come later.
    public var next: String?

    /// A line of a program.
    public struct Line: Codable, Sendable, Hashable {
        /// Which program wrote it.
        public var source: String
        /// Time, level and text.
        public var text: String

        /// A line.
        public init(source: String, text: String) {
            self.source = source
            self.text = text
        }
    }

    /// A reply.
    public init(sources: [String], lines: [Line], next: String? = nil) {
        self.sources = sources
        self.lines = lines
        self.next = next
    }
}

/// The newest lines of a serial console, oldest first.
public struct ConsoleReply: Codable, Sendable, Hashable {
    /// The lines, made printable.
    public var lines: [String]
    /// Give it as `after` for the lines that come later; nil: they cannot be asked for.
    public var next: String?

    /// A reply.
    public init(lines: [String], next: String? = nil) {
        self.lines = lines
        self.next = next
    }
}

/// An entry of Prometheus' HTTP service discovery.
public struct MetricsTarget: Codable, Sendable, Hashable {
    /// `host:port`.
    public var targets: [String]
    /// `__metrics_path__`, `node` and `role`.
    public var labels: [String: String]

    /// An entry.
    public init(targets: [String], labels: [String: String]) {
        self.targets = targets
        self.labels = labels
    }
}

/// A segment and how it goes with it.
public struct SegmentRecord: Codable, Sendable, Hashable {
    /// Its name.
    public var name: String
    /// What was asked for.
    public var spec: Segment.Spec
    /// What was seen.
    public var status: Segment.Status

    /// A segment.
    public init(name: String, spec: Segment.Spec, status: Segment.Status) {
        self.name = name
        self.spec = spec
        self.status = status
    }
}

/// Something that happened on a segment.
public struct SegmentEventRecord: Codable, Sendable, Hashable {
    /// The event's key.
    public var key: String
    /// When.
    public var time: Timestamp
    /// For example `ForeignServer`.
    public var type: String
    /// What, for people.
    public var message: String

    /// An event.
    public init(key: String, time: Timestamp, type: String, message: String) {
        self.key = key
        self.time = time
        self.type = type
        self.message = message
    }
}
