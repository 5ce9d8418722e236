import Glibc
import LinuxSystem
import NodeAgent
import Primitives
import RoleNetwork

@main
struct Main {
    static func main() async {
        do {
            try await AgentProgram.run(
                program: "network-agent", version: "0.1.0", metrics: { MachineMetrics.read() },
                addresses: { (try? Netlink().addresses().map(\.address).filter { $0.value >> 24 != 127 }) ?? [] },
                modules: { _ in [NetworkRole()] })
        } catch {
            print("network-agent: \(error)")
            exit(78)
        }
    }
}
