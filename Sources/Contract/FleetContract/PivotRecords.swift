import Primitives

/// POST `controllers/pivot`: that the site shall move from its first conductor to controllers.
public struct PivotRequest: Codable, Sendable, Hashable {
    /// The nodes that shall be controllers, by name: one, three or five.
    public var controllers: [String]
    /// The address that clients shall know, with the length of its segment's prefix, for example `10.77.0.5/24`; nil: none
    /// is shared.
    public var vip: String?
    /// VRRP's virtual router identifier for it, 1 to 255, which nobody else on that segment has; nil: 51.
    public var routerID: Int?
    /// Whether only the plan is asked for; nil: it is not.
    public var dryRun: Bool?

    /// A request.
    public init(controllers: [String], vip: String? = nil, routerID: Int? = nil, dryRun: Bool? = nil) {
        self.controllers = controllers
        self.vip = vip
        self.routerID = routerID
        self.dryRun = dryRun
    }
}

/// The answer to POST and DELETE `controllers/pivot`: the way, step by step.
public struct PivotReport: Codable, Sendable, Hashable {
    /// The nodes that take over, by name.
    public var controllers: [String]
    /// Where the API is once the site has moved, best first.
    public var endpoints: [String]
    /// Where each controller answers by itself then, whoever has the shared address.
    public var controllerEndpoints: [String]
    /// The steps, in their order.
    public var steps: [Step]
    /// Whether it was ordered; false: it was only asked for.
    public var isOrdered: Bool
    /// What those controllers would not survive, and what to do; for people.
    public var warnings: [String]

    /// A step.
    public struct Step: Codable, Sendable, Hashable {
        /// What is done.
        public var step: String
        /// Whether it is waited for others.
        public var isWait: Bool
        /// Whether nothing can be written meanwhile.
        public var isFrozen: Bool
        /// Whether there is no way back after it.
        public var isPointOfNoReturn: Bool

        /// A step.
        public init(step: String, isWait: Bool, isFrozen: Bool, isPointOfNoReturn: Bool) {
            self.step = step
            self.isWait = isWait
            self.isFrozen = isFrozen
            self.isPointOfNoReturn = isPointOfNoReturn
        }
    }

    /// A report.
    public init(
        controllers: [String], endpoints: [String], controllerEndpoints: [String] = [], steps: [Step], isOrdered: Bool,
        warnings: [String] = []
    ) {
        self.controllerEndpoints = controllerEndpoints
        self.warnings = warnings
        self.controllers = controllers
        self.endpoints = endpoints
        self.steps = steps
        self.isOrdered = isOrdered
    }
}
