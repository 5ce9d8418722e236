/// What must hold at every moment of a simulation.
enum Invariant: String {
    case oneWriter = "each status and each specification has one writer"
    case oneAddress = "no address is two machines'"
    case orderedWrites = "no disk is written without an order that names it"
    case secrets = "no secret goes to a machine that was not let in"
    case acknowledged = "no acknowledged write is lost, and none appears that was refused"
    case deadlines = "everything that waits has a live deadline, an owner, a cause and a next action"
    case effects = "what a state asks of a BMC reaches it"
    case identity = "one machine is one node, and names are unique"
    case progress = "all machines get to a good end once nothing goes wrong any more"
}

/// Something that must never be and was.
struct Violation: CustomStringConvertible {
    let invariant: Invariant
    let time: Int64
    let what: String

    var description: String { "at \(time) ms: \(invariant.rawValue): \(what)" }
}

/// A defect that a test puts into the simulated conductor, around its steps, to see that it is noticed.
enum Mutation: CaseIterable {
    /// Orders to boot the disk are dropped between commit and BMC.
    case lostEffect
    /// A node that is told to boot the ramdisk waits without a deadline.
    case missingDeadline
    /// The lease engine gives each second machine the address of the one before.
    case doubleLease
}
