import ArgumentParser
import ClientSDK
import FleetContract
import Primitives

struct Top: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "top", abstract: "Show how it goes with all machines, live.",
        discussion: """
            Keys: q ends, s changes the order (S backwards), / filters by name, role or state, the arrows and Page keys \
            scroll. CPU, IN/S and OUT/S are between the agent's last two reports, TRIP is the round trip of its stream, \
            AGE that of its newest figures. Without a terminal, or with --once, one table is printed.
            """)

    @Option(help: "The order: name, state, processor, memory, network or age.")
    var sort = TopView.Order.name

    @Option(help: "Only machines with this in their name, role or state.")
    var filter = ""

    @Option(help: "Seconds between two looks, 1 to 60.")
    var every = 2

    @Flag(help: "Print one table and end.")
    var once = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        guard (1...60).contains(every) else { throw ValidationError("--every must be 1 to 60 seconds.") }
    }

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        var view = TopView()
        (view.order, view.filter) = (sort, filter)
        let first = try await client.top()
        if terminal.isJSON {
            var reply = first
            reply.nodes = view.rows(of: first)
            return terminal.json(reply)
        }
        guard !once, terminal.isScreen, let mode = RawMode.begin(farewell: Screen.leaving) else {
            for line in view.lines(first, terminal) { terminal.print(line) }
            return
        }
        let keys = KeyReader()
        let outcome: Result<Void, any Error>
        do {
            Screen.enter()
            outcome = .success(try await show(first, view, keys, client, terminal))
        } catch {
            outcome = .failure(error)
        }
        keys.end()
        mode.end()
        try outcome.get()
    }

    private enum News: Sendable {
        case keys([UInt8])
        case reply(TopReply)
        case problem(String)
    }

    /// Draws at each key and each answer until the end is asked for.
    private func show(
        _ first: TopReply, _ start: TopView, _ keys: KeyReader, _ client: FleetClient, _ terminal: Terminal
    ) async throws {
        let (news, continuation) = AsyncStream.makeStream(of: News.self, bufferingPolicy: .bufferingNewest(1024))
        let pause = Duration.seconds(every)
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask {
                for await piece in keys.keys { continuation.yield(.keys(piece)) }
                continuation.finish()
            }
            group.addTask {
                while !Task.isCancelled {
                    try await Task.sleep(for: pause)
                    do { continuation.yield(.reply(try await client.top())) } catch let error as ClientError {
                        guard error.mayPass else { throw error }
                        continuation.yield(.problem("The conductor does not answer; waiting for it."))
                    }
                }
            }
            var (reply, view) = (first, start)
            var problem: String?
            Screen.draw(view, reply, problem, terminal)
            events: for await event in news {
                switch event {
                case .keys(let piece):
                    if view.take(piece, pageSize: max(1, Screen.height - 4)) == .quit { break events }
                case .reply(let newer): (reply, problem) = (newer, nil)
                case .problem(let text): problem = text
                }
                Screen.draw(view, reply, problem, terminal)
            }
            keys.end()
            group.cancelAll()
        }
    }
}

extension TopView.Order: ExpressibleByArgument {}
