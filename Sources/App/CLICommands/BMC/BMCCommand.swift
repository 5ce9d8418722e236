import ArgumentParser

struct BMCCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bmc", abstract: "See BMCs, change their passwords, and switch machines that are no nodes yet.",
        subcommands: [BMCList.self, BMCShow.self, BMCApprove.self, BMCPower.self, BMCRotatePassword.self])
}
