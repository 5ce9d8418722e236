/// Where a machine is in its life. Ironic's words, since clients know them (Ironic, "Bare metal state machine").
public enum NodeState: Hashable, Sendable {
    /// Seen, but nobody has let it in.
    case enroll
    /// Let in; its BMC is being asked whether it can be managed.
    case verifying
    /// It can be managed; nothing is known of its hardware or nothing is asked of it.
    case manageable
    /// The ramdisk looks at the hardware.
    case inspecting
    /// The inspection failed.
    case inspectFailed
    /// It can be given a role.
    case available
    /// An image is on its way to the disk.
    case deploying(DeployPhase)
    /// The deployment failed; `muster node deploy` tries again.
    case deployFailed
    /// It does its role.
    case active
    /// It is wiped between owners.
    case cleaning(CleanPhase)
    /// Wiping failed.
    case cleanFailed
    /// It is booted into the rescue ramdisk.
    case rescuing(RescuePhase)
    /// The rescue ramdisk runs on it, and an operator may log in.
    case rescue
    /// Its disk is booted again.
    case unrescuing(UnrescuePhase)
    /// The rescue could not be started or ended.
    case rescueFailed
    /// Work is done on an active machine.
    case servicing
    /// That work failed.
    case serviceFailed
    /// It is being taken out of the inventory.
    case deleting
    /// That failed.
    case deleteFailed

    /// The word for the state, without its phase.
    public var name: String {
        switch self {
        case .enroll: "enroll"
        case .verifying: "verifying"
        case .manageable: "manageable"
        case .inspecting: "inspecting"
        case .inspectFailed: "inspect failed"
        case .available: "available"
        case .deploying: "deploying"
        case .deployFailed: "deploy failed"
        case .active: "active"
        case .cleaning: "cleaning"
        case .cleanFailed: "clean failed"
        case .rescuing: "rescuing"
        case .rescue: "rescue"
        case .unrescuing: "unrescuing"
        case .rescueFailed: "rescue failed"
        case .servicing: "servicing"
        case .serviceFailed: "service failed"
        case .deleting: "deleting"
        case .deleteFailed: "delete failed"
        }
    }
}

/// How far a cleaning is.
public enum CleanPhase: String, Codable, Sendable, Hashable, CaseIterable {
    /// The BMC is told to boot the machine over the network.
    case bootingRamdisk
    /// The ramdisk empties the disks.
    case wiping
}

/// How far the beginning of a rescue is.
public enum RescuePhase: String, Codable, Sendable, Hashable, CaseIterable {
    /// The BMC is told to boot the machine over the network.
    case bootingRamdisk
    /// The ramdisk makes a host key and lets the operator in.
    case opening
}

/// How far the end of a rescue is.
public enum UnrescuePhase: String, Codable, Sendable, Hashable, CaseIterable {
    /// The ramdisk ends logins and writes what is mounted back.
    case closing
    /// The BMC is told to boot the disk, whose agent has to come back.
    case bootingDisk
    /// The agent has to report that its roles are ready.
    case checking
}

/// How far a deployment is.
public enum DeployPhase: String, Codable, Sendable, Hashable, CaseIterable {
    /// The BMC is told to boot the machine over the network.
    case bootingRamdisk
    /// The ramdisk writes the image.
    case writing
    /// The BMC is told to boot the disk.
    case bootingDisk
    /// The installed agent has to come for its certificate and open its stream.
    case enrolling
    /// The agent has to report that its roles are ready.
    case checking
}

extension NodeState: CustomStringConvertible {
    /// The name, with the phase in parentheses.
    public var description: String {
        switch self {
        case .deploying(let phase): "deploying (\(phase.rawValue))"
        case .cleaning(let phase): "cleaning (\(phase.rawValue))"
        case .rescuing(let phase): "rescuing (\(phase.rawValue))"
        case .unrescuing(let phase): "unrescuing (\(phase.rawValue))"
        default: name
        }
    }
}

extension NodeState: Codable {
    private static let plain: [NodeState] = [
        .enroll, .verifying, .manageable, .inspecting, .inspectFailed, .available, .deployFailed, .active, .cleanFailed,
        .rescue, .rescueFailed, .servicing, .serviceFailed, .deleting, .deleteFailed,
    ]

    /// Every state with every phase.
    public static let all: [NodeState] =
        plain + DeployPhase.allCases.map { .deploying($0) } + CleanPhase.allCases.map { .cleaning($0) }
        + RescuePhase.allCases.map { .rescuing($0) } + UnrescuePhase.allCases.map { .unrescuing($0) }

    private enum CodingKeys: String, CodingKey {
        case name
        case phase
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let name = try container.decode(String.self, forKey: .name)
        if name == "deploying" {
            self = .deploying(try container.decode(DeployPhase.self, forKey: .phase))
        } else if name == "cleaning" {
            self = .cleaning(try container.decode(CleanPhase.self, forKey: .phase))
        } else if name == "rescuing" {
            self = .rescuing(try container.decode(RescuePhase.self, forKey: .phase))
        } else if name == "unrescuing" {
            self = .unrescuing(try container.decode(UnrescuePhase.self, forKey: .phase))
        } else if let state = Self.plain.first(where: { $0.name == name }) {
            self = state
        } else {
            throw DecodingError.dataCorruptedError(
                forKey: .name, in: container, debugDescription: "'\(name)' is not a state of a node")
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(name, forKey: .name)
        switch self {
        case .deploying(let phase): try container.encode(phase, forKey: .phase)
        case .cleaning(let phase): try container.encode(phase, forKey: .phase)
        case .rescuing(let phase): try container.encode(phase, forKey: .phase)
        case .unrescuing(let phase): try container.encode(phase, forKey: .phase)
        default: break
        }
    }
}
