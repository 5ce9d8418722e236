import Primitives

/// Opens a machine's serial console.
public protocol ConsoleAccess: Sendable {
    /// Opens it; `takesOver` ends what somebody else has open where the console can be had once only.
    func openConsole(takesOver: Bool) async throws(BMCError) -> ConsoleLine
}

/// An open serial console.
public struct ConsoleLine: Sendable {
    /// What the machine sends; ends, or throws `BMCError`, when the console is gone.
    public let output: AsyncThrowingStream<[UInt8], any Error>
    /// Sends bytes to the machine; nothing happens when the console is gone.
    public let send: @Sendable ([UInt8]) async -> Void
    /// Ends it, and returns when the other side knows.
    public let close: @Sendable () async -> Void

    /// A console.
    public init(
        output: AsyncThrowingStream<[UInt8], any Error>, send: @escaping @Sendable ([UInt8]) async -> Void,
        close: @escaping @Sendable () async -> Void
    ) {
        self.output = output
        self.send = send
        self.close = close
    }
}

/// No serial console of a machine is known.
public struct NoConsole: UserFacingError, Hashable {
    /// The node's name.
    public let node: String
    /// Its BMC's name; nil: it has none.
    public let bmc: String?

    /// An error about `node`.
    public init(node: String, bmc: String?) {
        self.node = node
        self.bmc = bmc
    }

    public var publicMessage: String {
        guard let bmc else {
            return
                "'\(node)' has no BMC, so the conductor knows no console of it. Name its BMC in a rule of the site file."
        }
        return
            "No console of '\(node)' is known. Set 'console' of the BMC '\(bmc)' in the site file: ipmi://HOST where "
            + "it speaks IPMI beside Redfish, tcp://HOST:PORT of a terminal server, or unix:///PATH."
    }
}
