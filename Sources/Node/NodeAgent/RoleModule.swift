import AgentProtocol

/// One role of a node: it makes the kernel what the view says, and tells what is so.
///
/// An agent executable is a list of these. The agent calls one module's methods one at a time, never two at once.
public protocol RoleModule: Sendable {
    /// The role that this module does.
    var role: Role { get }

    /// The kinds of view items that it reads; others are not shown to it.
    var itemKinds: Set<String> { get }

    /// Makes the kernel what `items` (by key) say, by difference: what is already so is left alone, what this module
    /// made before and is no longer named is taken away. Called at start with the view from disk, then with each
    /// changed one. Never throws: what failed is a condition that says what to do.
    func apply(_ items: [String: NodeView.Item]) async -> NodeStatusReport.RoleStatus

    /// Looks whether what was applied is still so, and changes nothing; called before each regular status report.
    func check() async -> NodeStatusReport.RoleStatus

    /// Figures of this role, at most 500 samples.
    func metrics() async -> [MetricsReport.Sample]

    /// What this module lacks that only the conductor has; called after each `apply` and `check`, and asked for with
    /// growing pauses until it is nil.
    func wish() async -> ControllerSecretsRequest?

    /// Takes the conductor's answer to a wish; an `apply` follows.
    func take(_ reply: ControllerSecretsReply) async

    /// Runs beside the other calls, on a thread of its own that it may block for up to a second at a time, until its
    /// task is cancelled: for what has to be watched all the time. `changed` asks for a `check` soon, however often it
    /// is called.
    func run(_ changed: @escaping @Sendable () -> Void) async
}

extension RoleModule {
    /// Wishes for nothing.
    public func wish() async -> ControllerSecretsRequest? { nil }

    /// Has wished for nothing.
    public func take(_ reply: ControllerSecretsReply) async {}

    /// Watches nothing.
    public func run(_ changed: @escaping @Sendable () -> Void) async {}
}
