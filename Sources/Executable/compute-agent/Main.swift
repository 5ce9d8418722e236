import NodeAgent
import RoleCompute
import RoleNetwork

@main
struct Main {
    static func main() async {
        await AgentProgram.main(program: "compute-agent", version: "0.1.0") { _ in [ComputeRole(), NetworkRole()] }
    }
}
