/// What carries a control plane's steps out.
public protocol ControlPlaneActions: Sendable {
    /// What is there now; blobs are counted for the controllers of `wish`.
    func look(for wish: ControlPlaneWish) async throws -> ControlPlaneSight
    /// Does one step and returns once it shows; may be called again for the same step. `sight` is what it was planned
    /// from.
    func carryOut(_ step: MembershipStep, from sight: ControlPlaneSight) async throws
    /// Tells people what is done next; the rest of the plan comes with it. Nothing is done that could not be told: who
    /// does not lead any more cannot.
    func show(_ plan: MembershipPlan) async throws
}

/// Makes a control plane what is wanted, a step at a time.
///
/// It keeps nothing: before each step it looks and plans again. So one that was stopped anywhere is gone on with by
/// running another, and nothing is done by a plan that is no longer true. Two of them at once are kept apart by the
/// caller (one leader), and by the store, which refuses a second change of its members.
public struct ControlPlaneExecutor<Actions: ControlPlaneActions>: Sendable {
    private let actions: Actions
    /// How often one step may be needed in succession.
    private static var attemptCountMax: Int { 3 }

    /// An executor of `actions`.
    public init(_ actions: Actions) { self.actions = actions }

    /// Goes on until all is as `wish` says; returns the steps that it took. Throws `MembershipRefusal`, or what an
    /// action throws; both leave the control plane in a state that another run goes on from.
    public func run(_ wish: ControlPlaneWish) async throws -> [MembershipStep] {
        var taken: [MembershipStep] = []
        while true {
            try Task.checkCancellation()
            let sight = try await actions.look(for: wish)
            let plan = try MembershipPlan(from: sight, to: wish)
            try await actions.show(plan)
            guard let step = plan.entries.first?.step else { return taken }
            if taken.suffix(Self.attemptCountMax) == ArraySlice(repeating: step, count: Self.attemptCountMax) {
                throw MembershipRefusal.noProgress(step)
            }
            try await actions.carryOut(step, from: sight)
            taken.append(step)
        }
    }
}
