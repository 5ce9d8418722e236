import BMCDrivers
import BareMetal
import CatalogBareMetal
import Glibc
import Logging
import Primitives
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// Serial over LAN to the real `ipmi_sim`, whose serial port is a pseudo terminal with a machine that answers.
@Suite(
    .serialized, .timeLimit(.minutes(2)),
    .enabled(if: SimulatedBMC.isInstalled, "openipmi or ipmitool is not installed"))
struct IPMIConsoleTests {
    /// The machine's side: greets after the first byte, and answers everything in brackets.
    private final class Machine: Sendable {
        let device: String
        private let master: CInt
        private let received = Mutex<[UInt8]>([])
        private let isOver = Atomic<Bool>(false)

        init() throws {
            master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
            // TIOCSPTLCK and TIOCGPTN (ioctl_tty(2)).
            var unlocked: CInt = 0
            var number: CUnsignedInt = 0
            guard master >= 0, ioctl(master, UInt(0x4004_5431), &unlocked) == 0,
                ioctl(master, UInt(0x8004_5430), &number) == 0
            else { throw Errno(rawValue: errno) }
            device = "/dev/pts/\(number)"
            let slave = open(device, O_RDWR | O_NOCTTY | O_CLOEXEC)
            guard slave >= 0 else { throw Errno(rawValue: errno) }
            var settings = termios()
            tcgetattr(slave, &settings)
            cfmakeraw(&settings)
            tcsetattr(slave, TCSANOW, &settings)
            // It stays open, so that the terminal is there while the simulator opens and closes it.
            self.slave = slave
        }

        private let slave: CInt

        var text: String { received.withLock { String(decoding: $0, as: UTF8.self) } }

        func end() {
            isOver.store(true, ordering: .relaxed)
            close(slave)
            close(master)
        }

        /// Answers until it is ended.
        func run() async {
            var bytes = [UInt8](repeating: 0, count: 1024)
            while !isOver.load(ordering: .relaxed), !Task.isCancelled {
                var wanted = pollfd(fd: master, events: Int16(POLLIN), revents: 0)
                guard poll(&wanted, 1, 0) > 0 else {
                    try? await Task.sleep(for: .milliseconds(10))
                    continue
                }
                let count = read(master, &bytes, bytes.count)
                guard count > 0 else { continue }
                received.withLock { $0 += bytes[..<count] }
                let answer = Array("<".utf8) + bytes[..<count] + Array(">".utf8)
                _ = answer.withUnsafeBytes { write(master, $0.baseAddress, $0.count) }
            }
        }
    }

    private func console(
        _ bmc: SimulatedBMC, password: String = "hunter2", later: String? = nil
    ) throws -> any ConsoleAccess {
        let spec = BMC.Spec(
            address: "ipmi://127.0.0.1:\(bmc.port)", system: nil, username: "admin", passwordSecret: "s")
        let address = try #require(try ConsoleAddress(of: spec))
        return BMCOpener(logger: Logger(label: "test")).console(
            at: address, of: spec, password: SecretText(password), passwordLater: { later.map { SecretText($0) } })
    }

    @Test func `keys reach the machine and its answer comes back; one session a BMC, ended when it is closed`()
        async throws
    {
        let machine = try Machine()
        let running = Task { await machine.run() }
        defer {
            running.cancel()
            machine.end()
        }
        try await SimulatedBMC.with(console: machine.device) { bmc in
            let line = try await console(bmc).openConsole(takesOver: false)
            await line.send(Array("ls\r".utf8) + [0x1D] + Array("~.".utf8))
            var seen = ""
            for try await bytes in line.output {
                seen += String(decoding: bytes, as: UTF8.self)
                if seen.contains("~.") { break }
            }
            #expect(machine.text.contains("ls\r") && machine.text.contains("~."), "no key ends it: \(machine.text)")
            #expect(!machine.text.contains("\u{1D}") && !seen.contains("SOL Session"))

            let second = await #expect(throws: BMCError.self) {
                try await console(bmc).openConsole(takesOver: false)
            }
            #expect(second?.publicMessage.contains("--take") == true, "\(String(describing: second))")
            let taken = try await console(bmc).openConsole(takesOver: true)
            await taken.close()
            await line.close()
            let again = try await console(bmc).openConsole(takesOver: false)
            await again.close()
        }
    }

    @Test func `a console that was open while the password changed is ended with the new one`() async throws {
        let machine = try Machine()
        let running = Task { await machine.run() }
        defer {
            running.cancel()
            machine.end()
        }
        try await SimulatedBMC.with(console: machine.device) { bmc in
            let new = "Ab3-xyz.Q7_mnop9"
            let line = try await console(bmc, later: new).openConsole(takesOver: false)
            try await bmc.driver().setPassword(SecretText(new))
            await line.close()
            // One that was left open would have to be taken over.
            let again = try await console(bmc, password: new).openConsole(takesOver: false)
            await again.close()
        }
    }

    @Test func `a wrong password and a BMC that is not there are told apart`() async throws {
        try await SimulatedBMC.with { bmc in
            await #expect(throws: BMCError.badCredentials) {
                try await console(bmc, password: "wrong").openConsole(takesOver: false)
            }
        }
        let spec = BMC.Spec(
            address: "ipmi://127.0.0.1:\(try freeUDPPort())", system: nil, username: "admin", passwordSecret: "s")
        let dead = BMCOpener(limits: BMCLimits(attemptCountMax: 1), logger: Logger(label: "test")).console(
            at: try #require(try ConsoleAddress(of: spec)), of: spec, password: SecretText("p"))
        let error = await #expect(throws: BMCError.self) { try await dead.openConsole(takesOver: false) }
        #expect(error?.isTransient == true, "\(String(describing: error))")
    }
}
