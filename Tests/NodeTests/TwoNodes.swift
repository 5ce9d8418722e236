import CLinux
import Glibc
import NIOCore
import Testing

@testable import NodeAgent

/// Two network namespaces that a cable joins, `10.9.0.1/24` and `10.9.0.2/24`; they go with `close`.
struct TwoNodes {
    let names: [String]

    init(_ tag: String) {
        names = ["a", "b"].map { "muster-\(tag)-\(getpid())-\($0)" }
        for name in names {
            Shell.run("ip netns add \(name) && ip -n \(name) link set lo up")
            // IPv6 has a life of its own, which the watching of changes would see.
            Shell.run("ip netns exec \(name) sh -c 'echo 1 | tee /proc/sys/net/ipv6/conf/*/disable_ipv6'")
        }
        Shell.run("ip -n \(names[0]) link add cable type veth peer name cable netns \(names[1])")
        for (index, name) in names.enumerated() {
            Shell.run("ip -n \(name) addr add 10.9.0.\(index + 1)/24 dev cable && ip -n \(name) link set cable up")
        }
    }

    func close() {
        for name in names { Shell.run("ip netns delete \(name)") }
    }

    /// Runs a command in one of them.
    @discardableResult
    func run(_ index: Int, _ command: String, sourceLocation: SourceLocation = #_sourceLocation) -> String {
        Shell.run("ip netns exec \(names[index]) \(command)", sourceLocation: sourceLocation)
    }

    /// Moves each thread into the namespace at the same place of `places`, and gives an executor for each.
    func executors(_ loops: [any EventLoop], _ places: [Int]) async throws -> [LoopExecutor] {
        var executors: [LoopExecutor] = []
        for (loop, place) in zip(loops, places) {
            let path = "/run/netns/\(names[place])"
            let code = try await loop.submit {
                let file = open(path, O_RDONLY | O_CLOEXEC)
                defer { Glibc.close(file) }
                return clinux_enter_network_namespace(file)
            }.get()
            try #require(code == 0)
            executors.append(LoopExecutor(loop: loop))
        }
        return executors
    }
}
