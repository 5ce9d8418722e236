import ControlPlane

/// What the API asks about controllers beside the catalog.
public struct ControllerServices: Sendable {
    /// The store's members; nil: it is a file of the only conductor.
    public var membership: (any StoreMembership)?
    /// Nodes and conductors; nil: as for `membership`.
    public var surroundings: (any ControllerSurroundings)?
    /// What a move to controllers begins with; nil: the store is shared, and nothing is left to be moved.
    public var pivot: PivotServices?
    /// How long the store's members may take to tell how they are.
    public var patience: Duration

    /// Without either the site has no control plane.
    public init(
        membership: (any StoreMembership)? = nil, surroundings: (any ControllerSurroundings)? = nil,
        pivot: PivotServices? = nil, patience: Duration = .seconds(5)
    ) {
        self.pivot = pivot
        self.membership = membership
        self.surroundings = surroundings
        self.patience = patience
    }

    /// `body`'s result; throws `MembersSilent` when it takes too long, and what `body` throws.
    func limited<Result: Sendable>(_ body: @escaping @Sendable () async throws -> Result) async throws -> Result {
        try await withThrowingTaskGroup(of: Result.self) { group in
            group.addTask(operation: body)
            group.addTask { [patience] in
                try await Task.sleep(for: patience)
                throw MembersSilent(patience: patience)
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw MembersSilent(patience: patience) }
            return first
        }
    }
}
