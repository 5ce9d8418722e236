import Testing

/// Whether what is broken on purpose is noticed, by whom it should be, within the seeds that are always run.
@Suite struct MutationTests {
    /// What is violated first, in the first of the seeds in which anything is.
    private func caught(_ mutation: Mutation) -> Invariant? {
        for seed in 1...20 as ClosedRange<UInt64> {
            if let violation = Report(seed: seed, mutation: mutation).violations.first { return violation.invariant }
        }
        return nil
    }

    @Test func `an effect that is lost is noticed`() {
        #expect(caught(.lostEffect) == .effects)
    }

    @Test func `a wait without a deadline is noticed`() {
        #expect(caught(.missingDeadline) == .deadlines)
    }

    @Test func `an address that is given twice is noticed`() {
        #expect(caught(.doubleLease) == .oneAddress)
    }
}
