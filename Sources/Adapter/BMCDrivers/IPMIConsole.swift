import BareMetal
import Glibc
import IPMI
import Logging
import NIOCore
import Primitives
import ProgramRuns
import Synchronization
import SystemPackage

/// Serial over LAN (IPMI v2.0 section 15) through `ipmitool` in a pseudo terminal, one run a console.
///
/// A BMC has one such session: who comes second is refused, or ends the first with `takesOver`.
public struct IPMIConsole: ConsoleAccess {
    private let connection: IPMIConnection
    private let password: SecretText
    private let passwordLater: @Sendable () async -> SecretText?
    private let limits: BMCLimits
    private let group: any EventLoopGroup
    private let logger: Logger

    private static let program = "ipmitool"
    /// Until the BMC has opened the session.
    static let openLimit: Duration = .seconds(20)
    /// `ipmitool` takes this key for itself at the beginning of a line (Ctrl-], as muster's own); it is not sent.
    static let escape: UInt8 = 0x1D

    /// The console of the BMC at `host`; `passwordLater` gives the password once the console has been open for a while.
    init(
        host: String, port: Int, user: String, password: SecretText,
        passwordLater: @escaping @Sendable () async -> SecretText?, cipherSuite: Int?, limits: BMCLimits,
        group: any EventLoopGroup, logger: Logger
    ) {
        self.passwordLater = passwordLater
        connection = IPMIConnection(
            host: host, port: port, user: user, cipherSuite: cipherSuite ?? IPMIConnection.cipherSuite,
            retries: limits.attemptCountMax - 1)
        self.password = password
        self.limits = limits
        self.group = group
        self.logger = logger
    }

    public func openConsole(takesOver: Bool) async throws(BMCError) -> ConsoleLine {
        if takesOver { await deactivate() }
        let terminal: PseudoTerminal
        do { terminal = try PseudoTerminal() } catch { throw .refused("no pseudo terminal: \(error)") }
        let connection = connection
        let arguments = connection.arguments(.console(.activate))
        // Ended and waited for by `close`.
        let run = Task { [password] in
            try await TerminalRun.run(
                Self.program, arguments, secrets: [IPMIConnection.passwordVariable: password], on: terminal.slave)
        }
        let line: ConsoleLine
        do { line = try await ConsoleChannel.adopt(terminal.master, group: group) } catch {
            run.cancel()
            throw .refused("the pseudo terminal cannot be read: \(error)")
        }
        let close: @Sendable () async -> Void = { [self] in
            run.cancel()
            _ = await run.result
            await line.close()
            await deactivate(with: await passwordLater())
        }
        let (output, continuation) = AsyncThrowingStream.makeStream(
            of: [UInt8].self, bufferingPolicy: .bufferingNewest(ConsoleChannel.waitingCountMax))
        let opening = SessionOpening()
        // Ends with the line's output, which `close` ends.
        let reader = Task {
            for try await bytes in line.output {
                let rest = opening.take(bytes)
                if !rest.isEmpty { continuation.yield(rest) }
            }
            opening.end()
            continuation.finish()
        }
        let isOpen = await opening.wait(Self.openLimit)
        guard isOpen else {
            await close()
            reader.cancel()
            if case .failure(let error as TerminalRun.Failure) = await run.result, error == .notInstalled {
                throw .noProgram(Self.program)
            }
            let error = opening.error(connection)
            if case .unreachable = error { try await explain() }
            throw error
        }
        return ConsoleLine(
            output: output, send: { bytes in await line.send(bytes.filter { $0 != Self.escape }) }, close: close)
    }

    private func ask(
        _ command: IPMICommand, with newer: SecretText? = nil
    ) async throws(ProgramError) -> ProgramRun.Outcome {
        try await ProgramRun(
            Self.program, connection.arguments(command),
            secrets: [IPMIConnection.passwordVariable: newer ?? password], patience: limits.request,
            outputMax: 256 << 10
        ).finish()
    }

    /// Throws why no session was made, which `ipmitool` only says verbosely: that would stand among what machines send.
    private func explain() async throws(BMCError) {
        guard let outcome = try? await ask(.powerStatus) else { return }
        let answer = IPMIAnswer(
            status: outcome.status, output: String(decoding: outcome.output, as: UTF8.self),
            errorOutput: String(decoding: outcome.errors, as: UTF8.self))
        do { _ = try answer.isPoweredOn() } catch { throw BMCError(error, cipherSuite: connection.cipherSuite) }
    }

    /// Tells the BMC that the session is over; it may be so already.
    private func deactivate(with newer: SecretText? = nil) async {
        if let outcome = try? await ask(.console(.deactivate), with: newer), outcome.status != 0 {
            logger.debug(
                "a console was not deactivated",
                metadata: ["bmc": .string(connection.host), "why": .string(outcome.words.printable(limit: 200))])
        }
    }
}

/// What `ipmitool` says until the session is there.
private final class SessionOpening: Sendable {
    private let state = Mutex(State())
    private let signals = AsyncStream.makeStream(of: Bool.self)

    private struct State {
        var text: [UInt8] = []
        var isOpen = false
    }

    /// The most that is read before the session is there.
    private static let textSizeMax = 64 << 10
    private static let banner = Array("[SOL Session operational.".utf8)

    /// What of `bytes` is the machine's.
    func take(_ bytes: [UInt8]) -> [UInt8] {
        let (rest, hasOpened) = state.withLock { state -> ([UInt8], Bool) in
            if state.isOpen { return (bytes, false) }
            state.text += bytes.prefix(max(0, Self.textSizeMax - state.text.count))
            guard let banner = state.text.firstRange(of: Self.banner),
                let end = state.text[banner.upperBound...].firstIndex(of: UInt8(ascii: "\n"))
            else { return ([], false) }
            state.isOpen = true
            return (Array(state.text[(end + 1)...]), true)
        }
        if hasOpened { signals.continuation.yield(true) }
        return rest
    }

    func end() { signals.continuation.finish() }

    /// Whether the session is there within `limit`.
    func wait(_ limit: Duration) async -> Bool {
        let timer = Task { [continuation = signals.continuation] in
            try await Task.sleep(for: limit)
            continuation.finish()
        }
        defer { timer.cancel() }
        for await isOpen in signals.stream { return isOpen }
        return false
    }

    /// Why it is not.
    func error(_ connection: IPMIConnection) -> BMCError {
        let text = state.withLock { String(decoding: $0.text, as: UTF8.self) }
        if text.contains("already active") {
            return .refused("somebody else has this console open; 'muster node console NAME --take' ends that")
        }
        if text.contains("SOL payload disabled") || text.contains("payload not enabled") {
            return .unsupported("serial over LAN is switched off; switch it on with 'ipmitool sol set enabled true'")
        }
        let answer = IPMIAnswer(status: 1, output: "", errorOutput: text)
        do { _ = try answer.succeeded() } catch { return BMCError(error, cipherSuite: connection.cipherSuite) }
        return .timeout("no serial console within \(IPMIConsole.openLimit.seconds)")
    }
}

/// A pair of descriptors (pty(7)) that changes nothing on its way.
private struct PseudoTerminal {
    /// This side.
    let master: CInt
    /// The program's side, three times; closed by who starts it.
    let slave: [SystemPackage.FileDescriptor]

    /// TIOCSPTLCK and TIOCGPTN (ioctl_tty(2)).
    private static let lock: UInt = 0x4004_5431
    private static let number: UInt = 0x8004_5430

    init() throws {
        let master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        guard master >= 0 else { throw Errno(rawValue: errno) }
        var unlocked: CInt = 0
        var number: CUnsignedInt = 0
        guard ioctl(master, Self.lock, &unlocked) == 0, ioctl(master, Self.number, &number) == 0 else {
            let code = errno
            close(master)
            throw Errno(rawValue: code)
        }
        let name = "/dev/pts/\(number)"
        var slave: [SystemPackage.FileDescriptor] = []
        for _ in 0..<3 {
            let descriptor = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)
            guard descriptor >= 0 else {
                let code = errno
                for opened in slave { try? opened.close() }
                close(master)
                throw Errno(rawValue: code)
            }
            slave.append(SystemPackage.FileDescriptor(rawValue: descriptor))
        }
        var settings = termios()
        tcgetattr(slave[0].rawValue, &settings)
        cfmakeraw(&settings)
        tcsetattr(slave[0].rawValue, TCSANOW, &settings)
        self.master = master
        self.slave = slave
    }
}
