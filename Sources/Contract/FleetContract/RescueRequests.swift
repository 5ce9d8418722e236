import Primitives

/// POST `nodes/{node}/rescue`: boots an active machine into the ramdisk, where an operator may log in.
public struct RescueRequestBody: Codable, Sendable, Hashable {
    /// For how many hours the one-time password is good; nil: `Node.RescueRequest.hoursDefault`.
    public var hours: Int?
    /// Whether the machine is in rescue and only another password is wanted; nil: no.
    public var newPassword: Bool?

    /// A request.
    public init(hours: Int? = nil, newPassword: Bool? = nil) {
        self.hours = hours
        self.newPassword = newPassword
    }
}

/// The answer to it: the only place where the password stands.
public struct RescueReply: Codable, Sendable, Hashable {
    /// The node as it is after the order was written.
    public var node: NodeSummary
    /// What happens now, for people.
    public var message: String
    /// Root's password for one login; it is not kept and never shown again.
    public var password: String
    /// When it ends.
    public var passwordEnds: Timestamp
    /// The order's number; see `Node.Status.rescued`.
    public var number: UInt64

    /// A reply.
    public init(node: NodeSummary, message: String, password: String, passwordEnds: Timestamp, number: UInt64) {
        self.node = node
        self.message = message
        self.password = password
        self.passwordEnds = passwordEnds
        self.number = number
    }
}
