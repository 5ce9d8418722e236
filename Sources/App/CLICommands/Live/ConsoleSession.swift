import ClientSDK
import FleetContract
import Foundation
import Glibc
import Primitives

/// One visit to a live console: keys go to the machine, what it sends goes to the terminal.
struct ConsoleSession {
    let client: FleetClient
    let node: String
    let isViewing: Bool
    let takes: Bool

    /// Until the end is asked for or comes by itself; throws `Failure` when the console could not be had.
    func run() async throws {
        guard let mode = RawMode.begin(farewell: "\u{1B}[0m\u{1B}[?25h\r\n") else {
            throw Failure(
                message: "A live console needs a terminal; 'muster node console \(node) --recorded' prints what was "
                    + "recorded.", exitCode: 2)
        }
        let keys = KeyReader()
        defer {
            keys.end()
            mode.end()
        }
        tell("Connecting to \(node). \(ConsoleKeys.help)")
        let (input, typed) = AsyncStream.makeStream(of: ConsoleInput.self, bufferingPolicy: .bufferingOldest(1024))
        // Cancelled when the console ends.
        let reading = Task {
            var machine = ConsoleKeys()
            for await piece in keys.keys {
                for effect in machine.take(piece) {
                    switch effect {
                    case .send(let bytes):
                        for start in stride(from: 0, to: bytes.count, by: ConsoleInput.sizeMax) {
                            let end = min(bytes.count, start + ConsoleInput.sizeMax)
                            typed.yield(ConsoleInput(Data(bytes[start..<end])))
                        }
                    case .help: tell(ConsoleKeys.moreHelp)
                    case .leave:
                        typed.finish()
                        return
                    }
                }
            }
            typed.finish()
        }
        defer { reading.cancel() }
        var filter = ConsoleFilter()
        var reason: String?
        var hasOpened = false
        try await client.attachConsole(to: node, views: isViewing, takes: takes, input: input) { event in
            switch event.kind {
            case .seated:
                if event.isWriter != true, !isViewing {
                    tell("\(event.text ?? "Somebody") types here; you look. Come with --take to type yourself.")
                }
            case .opened:
                hasOpened = true
                tell("Connected to \(node). \(ConsoleKeys.help)")
            case .output: Self.write(filter.take(event.data ?? Data()))
            case .note: tell(event.text ?? "")
            case .ended: reason = event.text
            case .idle: break
            }
        }
        if let reason {
            guard hasOpened else { throw Failure(message: reason) }
            tell(reason)
        }
    }

    /// A line of muster's own, apart from the machine's.
    private func tell(_ text: String) { Self.write(Array("\r\n\u{1B}[0m[\(text.printable(limit: 400))]\r\n".utf8)) }

    private static func write(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR || errno == EAGAIN { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
