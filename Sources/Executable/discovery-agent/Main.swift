import Discovery
import Glibc
import LinuxSystem

@main
struct Main {
    static func main() async {
        do {
            let parameters = try DiscoveryParameters(KernelCommandLine.current)
            try await DiscoveryProgram(parameters: parameters, agentVersion: "0.1.0").run()
        } catch {
            print("discovery-agent: \(error)")
            exit(78)
        }
    }
}
