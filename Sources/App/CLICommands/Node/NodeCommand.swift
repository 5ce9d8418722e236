import ArgumentParser

struct NodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node", abstract: "See machines, let them in, and tell them what to be.",
        subcommands: [
            NodeList.self, NodeShow.self, NodeInventory.self, NodeApprove.self, NodeDeploy.self, NodeClean.self,
            NodeRescue.self, NodeUnrescue.self,
            NodePower.self, NodeSet.self, NodeWhy.self, NodeEvents.self, NodeStages.self, NodeWatch.self, NodeLogs.self,
            NodeConsole.self, NodeSSH.self,
            NodeRevoke.self, NodeDelete.self,
        ])
}

/// The node that a command is about.
struct NodeArgument: ParsableArguments {
    @Argument(help: ArgumentHelp("The node's name or identifier.", valueName: "node"))
    var name: String
}
