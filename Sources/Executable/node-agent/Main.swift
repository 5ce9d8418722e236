import NodeAgent
import RoleCompute
import RoleController
import RoleNetwork
import RoleStorage

/// All role modules in one program; the node's view says which of them run.
@main
struct Main {
    static func main() async {
        await AgentProgram.main(program: "node-agent", version: "0.1.0") { _ in
            [ComputeRole(), NetworkRole(), StorageRole(), ControllerRole()]
        }
    }
}
