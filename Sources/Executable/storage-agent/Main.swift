import NodeAgent
import RoleStorage

@main
struct Main {
    static func main() async {
        await AgentProgram.main(program: "storage-agent", version: "0.1.0") { _ in [StorageRole()] }
    }
}
