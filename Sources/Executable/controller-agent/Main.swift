import NodeAgent
import RoleController

@main
struct Main {
    static func main() async {
        await AgentProgram.main(program: "controller-agent", version: "0.1.0") { _ in [ControllerRole()] }
    }
}
