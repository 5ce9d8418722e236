import ArgumentParser

struct ControllerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "controller",
        abstract: "See the nodes that run the site's store and conductors, and change which.",
        discussion: """
            A site that has moved to its controllers has one, three, five or seven of them: each runs a member of the store, \
            a conductor and a proxy. More than half of the members have to answer for anything to be written, and every \
            change is planned so that they do at each step. Whoever leads carries it out and goes on with what another left \
            undone; the commands only say what is wanted, and watch.
            """,
        subcommands: [
            ControllerList.self, ControllerPlan.self, ControllerGrow.self, ControllerReplace.self,
            ControllerShrink.self, ControllerPivot.self,
        ])
}
