import AgentProtocol
import BMCDrivers
import BareMetal
import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import FleetAPI
import FleetContract
import Foundation
import Logging
import NIOCore
import NIOPosix
import Primitives
import ResourceModel
import Synchronization
import TestSupport
import Testing

@testable import CLICommands
@testable import ConductorServer

/// Live consoles from the machine's end to the operator's terminal; the machine is a server that answers in brackets.
@Suite(.serialized, .timeLimit(.minutes(3)))
struct ConsoleTests {
    // MARK: Keys and screen

    @Test func `the escape key begins a word to muster`() {
        var keys = ConsoleKeys()
        #expect(keys.take(Array("ls\r".utf8)) == [.send(Array("ls\r".utf8))])
        #expect(keys.take([0x1D]) == [] && keys.take(Array("?".utf8)) == [.help], "also in two pieces")
        #expect(keys.take([0x61, 0x1D, 0x1D, 0x62]) == [.send([0x61, 0x1D, 0x62])])
        #expect(keys.take([0x1D, 0x78]) == [.send([0x1D, 0x78])])
        #expect(keys.take([0x03, 0x04, 0x1A]) == [.send([0x03, 0x04, 0x1A])], "Ctrl-C is the machine's")
        #expect(keys.take([0x61, 0x1D, 0x2E, 0x62]) == [.send([0x61]), .leave])
    }

    @Test func `a machine cannot make the terminal type, nor change its title or clipboard`() {
        func shown(_ text: String) -> String {
            var filter = ConsoleFilter()
            return String(decoding: filter.take(text.utf8), as: UTF8.self)
        }
        #expect(
            shown("a\u{1B}[1;31mred\u{1B}[0m\u{1B}[2J\u{1B}[H\r\n\u{08}\u{07}")
                == "a\u{1B}[1;31mred\u{1B}[0m\u{1B}[2J\u{1B}[H\r\n\u{08}\u{07}")
        #expect(shown("a\u{1B}]0;title\u{07}b\u{1B}]52;c;aGk=\u{1B}\\c\u{1B}Pq\u{1B}\\d") == "abcd")
        #expect(shown("\u{05}\u{1B}[6n\u{1B}[c\u{1B}[>0c\u{1B}[21t\u{1B}Z.") == ".")
        #expect(shown("\u{1B}7\u{1B}8\u{1B}M") == "\u{1B}7\u{1B}8\u{1B}M")
        #expect(
            shown("\u{1B}[\(String(repeating: "1", count: 500))mx").hasSuffix("mx"), "what is too long is no sequence")
        var filter = ConsoleFilter()
        #expect(filter.take([0x1B]) == [] && filter.take([0x5B]) == [] && filter.take([0x6D]) == [0x1B, 0x5B, 0x6D])
    }

    // MARK: From end to end

    /// A machine that greets, and answers what is typed in brackets; `stop` switches it off.
    private final class EchoMachine: Sendable {
        let channel: any Channel
        let connections = Mutex(0)
        private let open = Mutex<[any Channel]>([])

        init(_ channel: any Channel) { self.channel = channel }

        var port: Int { channel.localAddress?.port ?? 0 }

        static func start() async throws -> EchoMachine {
            let box = Box()
            let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .childChannelInitializer { child in child.pipeline.addHandler(Answering(box)) }
                .bind(host: "127.0.0.1", port: 0).get()
            let machine = EchoMachine(channel)
            box.machine.withLock { $0 = machine }
            return machine
        }

        func say(_ text: String) async throws {
            for child in open.withLock({ $0 }) { try await child.writeAndFlush(ByteBuffer(string: text)) }
        }

        /// Ends every connection; the machine goes on.
        func hangUp() async {
            let children = open.withLock { channels in
                defer { channels = [] }
                return channels
            }
            for child in children { try? await child.close() }
        }

        func stop() async throws {
            for child in open.withLock({ $0 }) { try? await child.close() }
            try await channel.close()
        }

        final class Box: Sendable {
            let machine = Mutex<EchoMachine?>(nil)
        }

        private final class Answering: ChannelInboundHandler, Sendable {
            typealias InboundIn = ByteBuffer
            typealias OutboundOut = ByteBuffer
            private let box: Box
            init(_ box: Box) { self.box = box }

            func channelActive(context: ChannelHandlerContext) {
                let channel = context.channel
                box.machine.withLock { machine in
                    machine?.connections.withLock { $0 += 1 }
                    machine?.open.withLock { $0.append(channel) }
                }
                context.writeAndFlush(
                    Self.wrapOutboundOut(ByteBuffer(string: "\u{1B}]0;own\u{07}login: ")), promise: nil)
            }

            func channelRead(context: ChannelHandlerContext, data: NIOAny) {
                let text = String(buffer: Self.unwrapInboundIn(data)).replacing("\r", with: "\r\n")
                context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(string: "<\(text)>")), promise: nil)
            }

            func channelInactive(context: ChannelHandlerContext) {
                box.machine.withLock { machine in machine?.connections.withLock { $0 -= 1 } }
            }
        }
    }

    private final class Kept: Sendable {
        let lines = Mutex<[String]>([])
        let audit = Mutex<[AuditEventSpec]>([])
    }

    /// Whether the site wants the console recorded.
    private final class Wish: Sendable {
        let isRecorded = Mutex(true)
    }

    /// Somebody before the console.
    private final class Visitor: Sendable {
        private struct State {
            var events: [ConsoleEvent] = []
            var problem: (any Error)?
            var isOver = false
        }

        private let state = Mutex(State())
        private let typing: AsyncStream<ConsoleInput>.Continuation

        init(_ fleet: FleetFixture, _ role: OperatorRole, views: Bool = false, takes: Bool = false) {
            let (input, typing) = AsyncStream.makeStream(of: ConsoleInput.self)
            self.typing = typing
            Task { [self] in
                do {
                    try await fleet.with(role) { client in
                        try await client.attachConsole(to: "n1", views: views, takes: takes, input: input) { event in
                            state.withLock { $0.events.append(event) }
                        }
                    }
                } catch { state.withLock { $0.problem = error } }
                state.withLock { $0.isOver = true }
            }
        }

        func type(_ text: String) { typing.yield(ConsoleInput(Data(text.utf8))) }

        func leave() { typing.finish() }

        var events: [ConsoleEvent] { state.withLock { $0.events } }
        var problem: (any Error)? { state.withLock { $0.problem } }
        var isOver: Bool { state.withLock { $0.isOver } }

        var output: String {
            String(decoding: events.compactMap(\.data).reduce(Data(), +), as: UTF8.self)
        }

        func wait(
            _ what: String, sourceLocation: SourceLocation = #_sourceLocation, for condition: (Visitor) -> Bool
        ) async throws {
            for _ in 0..<1500 {
                if condition(self) { return }
                try await Task.sleep(for: .milliseconds(20))
            }
            Issue.record(
                "\(what) did not come: \(events), \(problem.map { "\($0)" } ?? "no problem")",
                sourceLocation: sourceLocation)
        }
    }

    private func withConsole(
        _ body: @escaping @Sendable (FleetFixture, EchoMachine, Kept) async throws -> Void
    ) async throws {
        let machine = try await EchoMachine.start()
        let kept = Kept()
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let opener = BMCOpener(logger: logger)
        let bmc = BMC.Spec(address: "https://10.0.0.1", system: nil, username: "u", passwordSecret: "s")
        let port = machine.port
        let desk = ConsoleDesk(
            access: { node in
                guard node.spec.name == "n1" else { throw NoConsole(node: node.spec.name, bmc: "bmc-2") }
                return opener.console(at: .tcp(host: "127.0.0.1", port: port), of: bmc, password: SecretText("p"))
            },
            record: { _, lines in kept.lines.withLock { $0 += lines } },
            audit: { event in kept.audit.withLock { $0.append(event) } }, clock: ManualWallClock(), logger: logger)
        let live = LiveNodeData(attachConsole: { try await desk.attach($0, $1) })
        do {
            try await withFleet(live: live) { fleet in
                try await fleet.addNode("n1", number: 1)
                try await fleet.addNode("n2", number: 2)
                try await body(fleet, machine, kept)
            }
        } catch {
            try? await machine.stop()
            throw error
        }
        try? await machine.stop()
    }

    @Test func `one types, others look, and it is recorded who typed and what was shown`() async throws {
        try await withConsole { fleet, machine, kept in
            let ann = Visitor(fleet, .member)
            try await ann.wait("the prompt") { $0.output.contains("login: ") }
            let seen = ann.events
            #expect(seen.first?.isWriter == true && seen.contains { $0.kind == .opened })
            ann.type("root\r")
            try await ann.wait("the answer") { $0.output.contains("<root\r\n>") }

            let bob = Visitor(fleet, .admin)
            try await bob.wait("a seat") { $0.events.contains { $0.kind == .opened } }
            let seat = bob.events.first
            #expect(seat?.isWriter == false && seat?.text?.contains("test-member") == true)
            bob.type("x")
            try await bob.wait("the refusal") { $0.events.contains { $0.text?.contains("types here") == true } }
            #expect(machine.connections.withLock { $0 } == 1, "all share one line")

            let eve = Visitor(fleet, .admin, takes: true)
            try await eve.wait("a seat") { $0.events.first?.isWriter == true }
            try await ann.wait("the loss") { $0.events.contains { $0.text?.contains("types from now on") == true } }
            eve.type("y\r")
            for visitor in [ann, bob, eve] {
                try await visitor.wait("the same for all") { $0.output.contains("<y\r\n>") }
            }
            #expect(!bob.output.contains("<x>"))
            for visitor in [ann, bob, eve] { visitor.leave() }
            for visitor in [ann, bob, eve] {
                try await visitor.wait("the end") { $0.isOver }
                #expect(visitor.problem == nil)
            }
            for _ in 0..<300 where machine.connections.withLock({ $0 }) > 0 {
                try await Task.sleep(for: .milliseconds(20))
            }
            #expect(machine.connections.withLock { $0 } == 0, "the last closes the line")
            let lines = kept.lines.withLock { $0 }
            #expect(lines.first == "login: <root" && lines.contains { $0.contains("<y") }, "\(lines)")
            let audit = kept.audit.withLock { $0 }
            #expect(
                audit.map { String(($0.summary ?? "").prefix(13)) } == ["typed 5 bytes", "typed 2 bytes"], "\(audit)")
            #expect(audit.allSatisfy { $0.summary?.contains("root") == false }, "not what was typed")
            let events = try await fleet.with(.admin) { client in
                try await client.audit(since: fleet.clock.now.advanced(by: .seconds(-10)), limit: 20)
            }
            #expect(events.count { $0.verb == "console" && $0.outcome == "ok" } == 3, "\(events)")
        }
    }

    @Test func `what the site wants recorded is recorded without anybody, and opened again`() async throws {
        let machine = try await EchoMachine.start()
        let (kept, clock) = (Kept(), ManualWallClock())
        let wish = Wish()
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let opener = BMCOpener(logger: logger)
        let bmc = BMC.Spec(address: "https://10.0.0.1", system: nil, username: "u", passwordSecret: "s")
        let node = Node(
            metadata: Metadata(
                name: "00000000-0000-4000-8000-000000000001", schemaVersion: Node.schemaVersion, created: clock.now),
            spec: Node.Spec(name: "n1"),
            status: Node.Status(state: .active, since: clock.now, identity: MachineIdentity()))
        let port = machine.port
        let desk = ConsoleDesk(
            access: { _ in opener.console(at: .tcp(host: "127.0.0.1", port: port), of: bmc, password: SecretText("p"))
            },
            recorded: { wish.isRecorded.withLock { $0 } ? [node] : [] },
            record: { _, lines in kept.lines.withLock { $0 += lines } },
            audit: { _ in Issue.record("nobody typed") }, clock: clock, logger: logger)
        @Sendable func wait(for count: Int) async throws {
            try await waitUntil { machine.connections.withLock { $0 } == count }
        }
        await desk.keepRecording()
        try await wait(for: 1)
        try await machine.say("\r\nfirst boot\r\n")
        try await waitUntil { kept.lines.withLock { $0.contains("first boot") } }
        await machine.hangUp()
        try await wait(for: 0)
        try await waitUntil { await desk.openCount == 0 }
        await desk.keepRecording()
        #expect(machine.connections.withLock { $0 } == 0, "not at once again")
        clock.advance(by: .seconds(1))
        await desk.keepRecording()
        try await wait(for: 1)
        try await machine.say("\r\nsecond boot\r\n")
        try await waitUntil { kept.lines.withLock { $0.contains("second boot") } }
        wish.isRecorded.withLock { $0 = false }
        await desk.keepRecording()
        try await wait(for: 0)
        try await machine.stop()
    }

    @Test func `who may not, and what there is not, is told`() async throws {
        try await withConsole { fleet, machine, _ in
            let reader = try await fleet.raw(
                "POST", "/fleet/v1/nodes/n1/console", token: fleet.tokens[.reader], body: "")
            #expect(reader.status == 403)
            let none = try await fleet.raw("POST", "/fleet/v1/nodes/n2/console", token: fleet.tokens[.admin], body: "")
            #expect(none.status == 404 && none.body.contains("Set 'console' of the BMC 'bmc-2'"), "\(none)")
            let ann = Visitor(fleet, .member)
            try await ann.wait("the prompt") { $0.output.contains("login: ") }
            try await machine.stop()
            try await ann.wait("the end of a machine that goes") { $0.events.last?.kind == .ended && $0.isOver }
            let late = Visitor(fleet, .member)
            try await late.wait("the cause") {
                $0.events.last?.text?.contains("cannot be reached") == true && $0.isOver
            }
        }
    }

    @Test func `at a terminal the escape key is told first, and the terminal is what it was afterwards`() async throws {
        let program = RunningConductor.package + "/.build/debug/muster"
        try await withConsole { fleet, _, _ in
            let directory = try TemporaryDirectory("console")
            let token = directory.appending("token")
            try (fleet.tokens[.member] ?? "").write(toFile: token, atomically: true, encoding: .utf8)
            let call = "\(program) node console n1 --api \(fleet.api) --token-file \(token)"
            let check = "stty -a | grep -c ' icanon '"
            let run = try TerminalRun("\(call); \(check)")
            try await run.wait(for: "login: ")
            run.type("hello\r")
            try await run.wait(for: "<hello\r\n>")
            run.type("\u{1D}?")
            try await run.wait(for: "Ctrl-] twice sends")
            run.type("\u{1D}.")
            let output = try await run.end()
            let first = output.firstRange(of: "Ctrl-] then . to leave")
            let prompt = output.firstRange(of: "login: ")
            #expect(
                first != nil && prompt != nil
                    && (first?.lowerBound ?? output.endIndex) < (prompt?.lowerBound ?? output.startIndex))
            #expect(output.contains("Connected to n1.") && output.contains("<hello\r\n>"), "\(output.debugDescription)")
            #expect(output.contains("Ctrl-] twice sends Ctrl-]") && !output.contains("]0;own"))
            #expect(output.hasSuffix("1\r\n"), "\(output.debugDescription)")
            // A signal ends it: the terminal is in lines again all the same.
            let killed = try TerminalRun("sh -c 'echo pid=$$=; exec \(call)'; \(check)")
            try await killed.wait(for: "login: ")
            let identifier = killed.text.split(separator: "=").dropFirst().first.flatMap { Int32($0) }
            kill(try #require(identifier), SIGTERM)
            let rest = try await killed.end()
            #expect(rest.hasSuffix("1\r\n"), "\(rest.debugDescription)")
            withExtendedLifetime(directory) {}
        }
    }
}
