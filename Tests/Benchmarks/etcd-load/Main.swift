import ArgumentParser
import EtcdBed
import StoreEtcd

/// What etcd costs, through the store and beside it; make bench-ha uses it.
@main
struct EtcdLoadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "etcd-load",
        abstract: "Commits and reads on etcd, through the store and, beside it, by the bare stubs.",
        discussion: """
            Starts three members on loopback unless --endpoint names others. Commits are a comparison and a put of 1 KiB, \
            each writer in a document of its own; both ways take turns, so that each sees the same machine. Prints figures as JSON, one object a line.
            """)

    @Option(help: "A member's URL; again for each.") var endpoint: [String] = []
    @Option(help: "The files of the client's certificate: authority, certificate and key, with commas between.")
    var tls: String?
    @Option(help: "The directory of members that are started here.") var directory: String?
    @Option(help: "How many write or read at once; again for each.") var callers: [Int] = [1, 64]
    @Option(help: "For how many seconds, each way.") var seconds = 5
    @Option(help: "How many documents a fresh store lists.") var documents = 10_000

    func run() async throws {
        var cluster: EtcdTestCluster?
        if endpoint.isEmpty {
            let own = try EtcdTestCluster(members: 3, directory: directory)
            try await own.start()
            cluster = own
        }
        defer { cluster?.stop() }
        let load = try await EtcdLoad(configuration(cluster), seconds: seconds)
        for callers in callers { try await load.measure(callers) }
        try await load.measureLag()
        try await load.measureStart(documents)
        try await load.close()
    }

    private func configuration(_ cluster: EtcdTestCluster?) throws -> EtcdConfiguration {
        if let cluster, let files = cluster.certificates {
            return EtcdConfiguration(
                endpoints: cluster.endpoints,
                tls: EtcdTLS(authority: files.authority, certificate: files.certificate, key: files.key))
        }
        guard let files = tls?.split(separator: ",").map(String.init), files.count == 3 else {
            throw ValidationError("--tls has three files")
        }
        return EtcdConfiguration(
            endpoints: endpoint, tls: EtcdTLS(authority: files[0], certificate: files[1], key: files[2]))
    }
}
