import Testing

/// Whether what is broken on purpose is noticed, by whom it should be, within the seeds that are always run.
@Suite struct MutationTests {
    private func caught(_ mutation: Mutation) -> [Invariant] {
        (1...5).compactMap { Report(seed: $0, mutation: mutation).violations.first?.invariant }
    }

    @Test func `an effect that is lost is noticed`() {
        let caught = caught(.lostEffect)
        #expect(Set(caught) == [.effects])
    }

    @Test func `a wait without a deadline is noticed`() {
        let caught = caught(.missingDeadline)
        #expect(Set(caught) == [.deadlines])
    }

    @Test func `an address that is given twice is noticed`() {
        let caught = caught(.doubleLease)
        #expect(Set(caught) == [.oneAddress])
    }
}
