/// What a simulation came to, for whoever reads a failure.
struct Report: CustomStringConvertible {
    let world: World

    init(seed: UInt64, mutation: Mutation? = nil) {
        world = World(seed: seed, mutation: mutation)
        world.run()
    }

    var violations: [Violation] { world.violations }

    /// The seed, what was violated, the command that does it again, and the last lines of the trace.
    var description: String {
        let shape = world.shape
        let machines = shape.machines.map { machine in
            [
                machine.hasBMC ? "BMC" : "no BMC", machine.isStranger ? "stranger" : nil,
                machine.isRescued ? "rescued" : nil, machine.isReleased ? "released" : nil,
            ].compactMap { $0 }.joined(separator: " ")
        }
        return """
            seed \(world.seed): \(violations.map { "\($0)" }.joined(separator: "; "))
            again: MUSTER_SEED=\(world.seed) swift test --filter SimulationTests
            \(shape.engine), \(machines.joined(separator: ", ")); faults \(counts(world.faults))
            \(world.trace.tail.suffix(Self.tailCount).joined(separator: "\n"))
            """
    }

    private static let tailCount = 80
}

/// For example `crash 3, BMC hung 1`.
func counts(_ faults: [Fault: Int]) -> String {
    Fault.allCases.compactMap { fault in faults[fault].map { "\(fault.rawValue) \($0)" } }.joined(separator: ", ")
}
