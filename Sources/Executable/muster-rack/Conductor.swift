import ArgumentParser
import FoundationEssentials
import VirtualRack

struct Spawn: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Start a program on the rack's network that goes on after this command and ends with the rack.")
    @OptionGroup var options: RackOptions
    @Argument(help: "A name for it; its output goes to log/<name>.log.") var name: String
    @Argument(parsing: .postTerminator, help: "The program and its arguments.") var command: [String]

    func validate() throws {
        guard !command.isEmpty else { throw ValidationError("Say what to start, after '--'.") }
    }

    func run() async throws {
        let process = try options.load().spawn(inNamespace: command, name: name)
        print("\(name) runs with PID \(process.pid).")
    }
}

struct SiteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "site", abstract: "Print the site file that describes the rack to a conductor.")
    @OptionGroup var options: RackOptions
    @Option(help: "A file with an SSH public key of an operator; may be given again.") var sshKey: [String] = []

    func run() async throws {
        let here = FileManager.default.currentDirectoryPath
        let keys = sshKey.map { $0.hasPrefix("/") ? $0 : "\(here)/\($0)" }
        print(try options.load().siteFile(sshKeyFiles: keys), terminator: "")
    }
}
