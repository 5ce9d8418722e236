import CLICommands
import Glibc

@main
struct Main {
    static func main() async {
        exit(await Muster.run(Array(CommandLine.arguments.dropFirst())))
    }
}
