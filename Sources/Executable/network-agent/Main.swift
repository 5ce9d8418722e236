import NodeAgent
import RoleNetwork

@main
struct Main {
    static func main() async {
        await AgentProgram.main(program: "network-agent", version: "0.1.0") { _ in [NetworkRole()] }
    }
}
