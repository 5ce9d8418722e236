import ArgumentParser
import Glibc
import Primitives

/// Plays machines, agents and readers against a conductor, over the protocols that real ones speak.
@main
struct FleetLoad: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fleet-load", abstract: "Plays many machines against a conductor; make bench uses it.",
        discussion: "Each subcommand prints its figures as JSON, one object a line.",
        subcommands: [Ingest.self, Read.self, Fetch.self, Commit.self])
}

struct Ingest: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Takes machines from their first DISCOVER to an open stream, then keeps the streams.",
        discussion: """
            Afterwards it takes commands on standard input: 'storm' waits until every stream has been lost and opened \
            anew, 'change' until every agent was told a change; the end of input ends it.
            """)

    @Option(help: "How many machines.") var machines = 1000
    @Option(help: "How many are on their way at once.") var concurrency = 64
    @Option(help: "The conductor's address.") var server = "10.99.0.1"
    @Option(help: "The relay's address, which is this machine's and the segment's.") var relay = "10.98.0.1"

    func run() async throws {
        let site = LoadSite(server: try IPv4Address(server), relay: try IPv4Address(relay))
        try await Fleet(site: site, machines: machines, concurrency: concurrency).run()
    }
}

struct Read: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Reads one path of the operators' API again and again.")

    @Option(help: "The API, host:port.") var api: String
    @Option(help: "The file with the CA's certificate.") var ca: String
    @Option(help: "The file with the operator's token.") var tokenFile: String
    @Option(help: "How often.") var count = 200
    @Flag(help: "Follows 'next' from page to page; all pages are one reading.") var allPages = false
    @Argument(help: "The path with its query.") var path: String

    func run() async throws {
        let reader = try APIReader(endpoint: api, ca: ca, tokenFile: tokenFile)
        try await reader.measure(path, count: count, allPages: allPages).write()
    }
}

struct Fetch: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Fetches a file by TFTP again and again.")

    @Option(help: "The server, address:port.") var server = "127.0.0.1:69"
    @Option(help: "The block size (RFC 2348).") var blockSize = 1468
    @Option(help: "The window size (RFC 7440); 1: it is not asked for.") var windowSize = 1
    @Option(help: "How often.") var count = 20
    @Argument(help: "The file's name.") var file: String

    func run() async throws {
        try TFTPFetch(server: server, file: file, blockSize: blockSize, windowSize: windowSize).measure(count).write()
    }
}

struct Commit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Commits documents of a node's size to an SQLite store, from many writers at once.")

    @Option(help: "A directory on the disk to measure.") var directory: String
    @Option(help: "How many write at once.") var writers = 1
    @Option(help: "For how many seconds.") var seconds = 5

    func run() async throws {
        try await StoreLoad(directory: directory, writers: writers, seconds: seconds).measure().write()
    }
}
