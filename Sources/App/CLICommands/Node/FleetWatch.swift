import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

/// Follows nodes and prints a line for each change; an image that is being written has a bar.
struct FleetWatch {
    private let client: FleetClient
    private let terminal: Terminal
    private let node: String?
    private let until: String?
    /// Give up after this.
    var timeout: Duration?
    /// A state counts only once this deployment has been begun, when one was just asked for.
    var deployment: Generation?
    /// A state counts only once this order of a rescue has been followed.
    var rescue: UInt64?

    /// How long a conductor that does not answer is waited for.
    private static let outageMax: Duration = .seconds(300)
    /// Percent of an image between two lines where lines cannot be drawn over.
    private static let step = 10

    init(_ client: FleetClient, _ terminal: Terminal, node: String?, until: String?) {
        self.client = client
        self.terminal = terminal
        self.node = node
        self.until = until?.split { "-_ ".contains($0) }.joined(separator: " ")
    }

    /// Follows until the node is in the state asked for; throws `Failure` when it failed or time is over.
    func run() async throws {
        guard let timeout else { return try await follow() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await follow() }
            group.addTask {
                try await Task.sleep(for: timeout)
                let what = until.map { "'\($0)'" } ?? "the end"
                throw Failure(message: "\(what) was not reached within \(Ages.text(timeout)); ask 'muster node why'.")
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func follow() async throws {
        var screen = WatchScreen(terminal: terminal, step: Self.step)
        var revision: Revision?
        var silence = Timestamp(millisecondsSinceEpoch: 0)
        var isOut = false
        while true {
            do {
                var isDone = false
                try await client.watch(since: revision) { line in
                    isOut = false
                    revision = line.revision
                    isDone = try await take(line, &screen)
                    return !isDone
                }
                if isDone { return }
                throw ClientError.failed(status: 503, "The conductor ended the watch.")
            } catch let error as ClientError {
                if case .gone = error {
                    revision = nil
                    continue
                }
                let mayReturn: Bool =
                    switch error {
                    case .unreachable, .failed: true
                    default: false
                    }
                guard mayReturn, revision != nil else { throw error }
                let now = terminal.clock.now
                if !isOut {
                    (silence, isOut) = (now, true)
                    screen.note("the conductor does not answer; waiting for it")
                }
                guard now.since(silence) < Self.outageMax else { throw error }
                try await Task.sleep(for: .seconds(1))
            }
        }
    }

    /// Prints a line; true when the end is reached.
    private func take(_ line: WatchLine, _ screen: inout WatchScreen) async throws -> Bool {
        if let gone = line.id {
            guard node == nil || node == gone.raw else { return false }
            screen.note("\(gone) is gone")
            if until != nil { throw Failure(message: "The node is gone.", exitCode: 3) }
            return false
        }
        guard let node = line.node, self.node == nil || self.node == node.id.raw else { return false }
        screen.show(node, line)
        guard let until else { return false }
        if let deployment {
            // Right after the order the state of the deployment before still stands.
            guard try await client.node(node.id.raw).attempted >= deployment else { return false }
        }
        if let rescue {
            guard try await client.node(node.id.raw).rescued ?? 0 >= rescue else { return false }
        }
        if node.state == until {
            screen.end()
            return true
        }
        if NodeText.hasFailed(node) {
            screen.end()
            let why = node.lastError ?? node.wait?.cause ?? "no reason is known"
            throw Failure(message: "\(node.name) is \(node.state): \(why). 'muster node why \(node.name)' tells more.")
        }
        return false
    }
}

/// What a watch has on the screen.
struct WatchScreen {
    let terminal: Terminal
    let step: Int
    private var shown: [String: String] = [:]
    private var isDrawn = false

    init(terminal: Terminal, step: Int) {
        self.terminal = terminal
        self.step = step
    }

    /// Shows a node when what is worth a line has changed.
    mutating func show(_ node: NodeSummary, _ line: WatchLine) {
        if terminal.isJSON { return terminal.print(JSONText.line(line)) }
        let percent = node.progress.map { $0.percent ?? 0 }
        let isWriting = node.phase == .writing && percent != nil
        // On a terminal the bar is drawn anew at every change; elsewhere a line every `step` percent will do.
        let grain = isWriting ? "\((percent ?? 0) / (terminal.isInteractive ? 1 : step))" : ""
        let mark =
            "\(node.state)|\(node.phase?.rawValue ?? "")|\(NodeText.waiting(node))|\(grain)|\(node.isConnected ?? false)|\(node.isUncertain ?? false)"
        guard shown[node.id.raw] != mark else { return }
        let isSameBar = isDrawn && shown.keys.contains(node.id.raw)
        shown[node.id.raw] = mark
        let text = Self.text(node, terminal)
        guard isWriting, terminal.isInteractive else {
            end()
            return terminal.print(text)
        }
        if !isSameBar { end() }
        terminal.redraw(text)
        isDrawn = true
    }

    /// Shows something that is not about one node.
    mutating func note(_ text: String) {
        end()
        terminal.isJSON ? Terminal.standardError(text) : terminal.print(text)
    }

    /// Ends a line that was drawn over.
    mutating func end() {
        if isDrawn { terminal.print("") }
        isDrawn = false
    }

    static func text(_ node: NodeSummary, _ terminal: Terminal) -> String {
        let now = terminal.clock.now
        let age = "\(Ages.since(node.since, now: now)) so far"
        let head = "\(Ages.clock(now))  \(node.name)  \(node.state)"
        var rest = node.phase.map { " (\(NodeText.words($0)))" } ?? ""
        if node.phase == .writing, let progress = node.progress {
            let bar = ProgressBar.text(percent: progress.percent ?? 0)
            rest += "  \(bar)  \(ByteCount(bytes: progress.bytes))  \(age)"
        } else {
            let waiting = NodeText.waiting(node)
            if !waiting.isEmpty { rest += "  \(waiting)" }
        }
        let text = head + rest
        return terminal.styled(terminal.width.map { text.cut(to: $0 - 1) } ?? text, NodeText.style(node))
    }
}
