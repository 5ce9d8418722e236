import AgentPort
import ArgumentParser
import Glibc
import Primitives

/// Opens many real agents on loopback, one certificate and one TLS stream each, and measures what they cost.
@main
struct AgentLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agent-load", abstract: "Measures the agent port with many real TLS agents on loopback.",
        subcommands: [Prove.self, Serve.self, Run.self])
}

struct Prove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serves in this process, forks the agents into another, measures, kills them, and checks.")

    @Option(help: "How many agents, 1 to 5000.") var agents = 1000
    @Option(help: "Seconds of silence before a ping.") var ping = 5
    @Option(help: "Seconds over which idle cost is measured.") var idle = 10
    @Flag(help: "Print the figures as JSON.") var json = false

    func validate() throws {
        guard (1...5000).contains(agents), (1...60).contains(ping), (1...120).contains(idle) else {
            throw ValidationError("agents: 1 to 5000, ping: 1 to 60, idle: 1 to 120")
        }
    }

    func run() async throws {
        let proof = Proof(agents: agents, ping: .seconds(ping), idle: .seconds(idle))
        let figures = try await proof.run()
        print(json ? try figures.json() : figures.table)
        if !figures.failures.isEmpty { throw ExitCode(1) }
    }
}

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serves agents and prints the process's figures each second; the CA is written to a directory.")

    @Option(help: "The port on 127.0.0.1.") var port = 7443
    @Option(help: "How many agents are expected.") var agents = 1000
    @Option(help: "An empty directory of its own for ca.pem and ca.key.") var directory: String
    @Option(help: "Ends after this many seconds.") var seconds = 60

    func run() async throws {
        let server = try LoadServer(port: port, agents: agents, ping: .seconds(15))
        try server.writeAuthority(to: directory)
        try await server.serve {
            for _ in 0..<seconds {
                let now = ProcessFigures.read()
                say("\(server.port.statistics.sessions) streams, RSS \(now.residentBytes >> 10) KiB, CPU \(now.cpu)")
                try await Task.sleep(for: .seconds(1))
            }
        }
    }
}

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Opens agents to a server, and ends when standard input ends or after some seconds.")

    @Option(help: "How many agents.") var agents = 1000
    @Option(help: "The server, host:port.") var endpoint = "127.0.0.1:7443"
    @Option(help: "The directory with the server's ca.pem and ca.key.") var directory: String
    @Option(help: "Ends after this many seconds.") var seconds = 600

    func run() async throws {
        try await LoadClient(agents: agents, endpoint: endpoint, directory: directory).run(
            until: .now + .seconds(seconds))
    }
}

/// Prints a line at once, also into a file or a pipe.
func say(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = bytes.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
}
