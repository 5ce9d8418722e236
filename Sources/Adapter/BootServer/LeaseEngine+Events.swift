import CatalogBareMetal
import DHCP
import NetworkBoot
import Primitives

/// An address and who has it until when.
public struct LeaseRecord: Hashable, Sendable {
    /// The address.
    public let address: IPv4Address
    /// Who has it; of a quarantined one, who declined it.
    public let mac: MACAddress
    /// Whether it is in use.
    public let phase: Lease.Phase
    /// When it may go to another machine.
    public let expires: Timestamp
    /// When the client last asked.
    public let lastSeen: Timestamp
    /// What the client calls itself, printable, at most 64 characters.
    public let hostname: String?

    /// A record.
    public init(
        address: IPv4Address, mac: MACAddress, phase: Lease.Phase = .bound, expires: Timestamp,
        lastSeen: Timestamp, hostname: String? = nil
    ) {
        self.address = address
        self.mac = mac
        self.phase = phase
        self.expires = expires
        self.lastSeen = lastSeen
        self.hostname = hostname
    }
}

/// A machine that was heard on a segment.
public struct BootClient: Hashable, Sendable {
    /// The segment's name.
    public let segment: String
    /// The interface it uses.
    public let mac: MACAddress
    /// The SMBIOS UUID it claims (option 97).
    public let uuid: String?
    /// Its firmware (option 93); nil for clients that do not boot from the network.
    public let architecture: BootArchitecture?
    /// Whether iPXE asks (option 77).
    public let isIPXE: Bool
    /// Option 60, for example `PXEClient:Arch:00000:UNDI:002001`, at most 128 characters.
    public let vendorClass: String?
    /// What it calls itself, at most 64 characters.
    public let hostname: String?
    /// How far it is.
    public let phase: Phase
    /// When it was heard.
    public let time: Timestamp

    /// How far a client is.
    public enum Phase: Hashable, Sendable {
        /// It looks for a server; reported at most every ten seconds for a machine.
        case looking
        /// It has been given this address.
        case bound(IPv4Address)
    }

    /// Whether firmware or a boot program asks, not an operating system.
    public var isNetworkBoot: Bool { architecture != nil || isIPXE }
}

/// What operators should know of a DHCP server.
public enum LeaseReport: Hashable, Sendable, CustomStringConvertible {
    /// There was no address for this machine.
    case poolExhausted(MACAddress)
    /// A machine found its address used by another; it is not handed out for a while.
    case addressInUse(IPv4Address, reportedBy: MACAddress)
    /// A machine took another server's offer.
    case otherServer(IPv4Address, chosenBy: MACAddress)
    /// Requests are dropped because too many come in; given once a minute.
    case overloaded
    /// Another server gives addresses on the segment, beside ours.
    case foreignServer(IPv4Address)
    /// An address that was to be offered is in use already; by whom is known where it answered ARP.
    case addressAnswers(IPv4Address, by: MACAddress?)
    /// The store has another machine's lease on the address.
    case conflict(IPv4Address, wantedBy: MACAddress, heldBy: MACAddress)
    /// The lease could not be stored; the machine gets no answer and asks again.
    case storeFailed(MACAddress, String)
    /// A reserved address is in use by another machine.
    case reservationHeld(IPv4Address, reservedFor: MACAddress)

    public var description: String {
        switch self {
        case .poolExhausted(let mac):
            "No address is free for \(mac); enlarge the segment's pool or shorten its lease time."
        case .addressInUse(let address, let mac):
            "\(mac) found \(address) used by another machine; look for a fixed address inside the pool."
        case .otherServer(let server, let mac):
            "\(mac) took the offer of another DHCP server at \(server); switch that server off on this segment."
        case .foreignServer(let server):
            "Another DHCP server at \(server) gives addresses on this segment too; switch it off, or set 'mode: proxy' "
                + "so that only it gives them."
        case .addressAnswers(let address, let mac):
            "\(address) is free here but \(mac.map { "\($0) uses it" } ?? "a host answers there"); it is not handed "
                + "out for a while. Look for a fixed address inside the pool."
        case .overloaded:
            "DHCP requests come faster than they are answered; some are dropped. Look for a client that loops."
        case .conflict(let address, let wanted, let held):
            "\(wanted) asked for \(address), which the store shows as leased to \(held); it was refused."
        case .storeFailed(let mac, let why):
            "The lease of \(mac) could not be stored: \(why) The machine will ask again."
        case .reservationHeld(let address, let mac):
            "\(address) is reserved for \(mac) but used by another machine; it gets another address until that lease ends."
        }
    }
}

/// Names one commit that is under way.
public struct LeaseCommitID: Hashable, Sendable {
    let number: UInt64
}

/// Why a lease was not stored.
public enum LeaseCommitFailure: Error, Hashable, Sendable {
    /// Another machine has the address.
    case held(LeaseRecord)
    /// The store takes nothing for some seconds, on purpose; nobody has to be told.
    case frozen
    /// The store failed; the text says how.
    case unavailable(String)
}

/// A message to be sent.
public struct DHCPReply: Hashable, Sendable {
    /// The message.
    public let packet: DHCPPacket
    /// Where to.
    public let destination: Destination
    /// How many bytes of UDP payload the client accepts.
    public let sizeMax: Int

    /// Where a reply goes (RFC 2131 section 4.1).
    public enum Destination: Hashable, Sendable {
        /// 255.255.255.255, port 68.
        case broadcast
        /// An address that answers ARP, or a relay.
        case unicast(IPv4Address, port: UInt16)
        /// A client that does not have its address yet: an Ethernet frame to its MAC, port 68.
        case hardware(MACAddress, IPv4Address)
    }
}

extension LeaseReport {
    /// One word for the kind of report, as in the events of a segment.
    public var type: String {
        switch self {
        case .poolExhausted: "PoolExhausted"
        case .addressInUse: "AddressDeclined"
        case .otherServer, .foreignServer: "ForeignServer"
        case .addressAnswers: "AddressInUse"
        case .overloaded: "Overloaded"
        case .conflict: "LeaseConflict"
        case .storeFailed: "StoreFailed"
        case .reservationHeld: "ReservationHeld"
        }
    }
}

extension LeaseEngine {
    /// What can happen.
    public enum Event: Hashable, Sendable {
        /// A message came in.
        case received(DHCPPacket)
        /// `Effect.commitLease` has been done, or not.
        case committed(LeaseCommitID, LeaseCommitFailure?)
        /// `Effect.releaseLease` has been done, or not.
        case released(LeaseRecord, isDone: Bool)
        /// `Effect.probe` has been done.
        case probed([IPv4Address: ProbeAnswer])
        /// What is stored of these addresses by now, this server's own writes among it; nil: nothing.
        case leasesChanged([IPv4Address: LeaseRecord?])
        /// Time has passed; comes about every second.
        case tick
    }

    /// What is to be done, in order.
    public enum Effect: Hashable, Sendable {
        /// Send a message.
        case send(DHCPReply)
        /// Store a lease durably, delete the holder's lease `replacing` if it is still that, then give `Event.committed`.
        case commitLease(LeaseCommitID, LeaseRecord, replacing: LeaseRecord?)
        /// Store that an address is not to be used.
        case quarantine(LeaseRecord)
        /// Delete a lease, then give `Event.released`.
        case releaseLease(LeaseRecord)
        /// Ask whether anybody uses these addresses, then give `Event.probed`.
        case probe([IPv4Address])
        /// Tell the conductor.
        case observed(BootClient)
        /// Tell the operators.
        case report(LeaseReport)
    }
}
