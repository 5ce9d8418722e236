import AgentProtocol
import Glibc
import LinuxSystem
import NIOCore
import NIOPosix
import Primitives
import ProgramRuns

/// Where the parts of a rescue are in the ramdisk.
struct RescuePlaces: Sendable, Hashable {
    /// What the ramdisk's init notes: the boot interface, and each card's address.
    var run = "/run/muster"
    var shadow = "/etc/shadow"
    var mounts = "/proc/self/mounts"
    var server = "/usr/sbin/dropbear"
    var keyProgram = "/usr/bin/dropbearkey"
    var programs = "/bin"
    var port = 22

    var folder: String { "\(run)/rescue" }
    var key: String { "\(folder)/host_key" }
    var log: String { "\(folder)/log" }
    var pid: String { "\(folder)/pid" }
}

/// Why an operator cannot be let in.
struct RescueError: UserFacingError, Hashable {
    let publicMessage: String
}

/// The SSH server of the ramdisk: root comes in with a password that is good for one login.
///
/// The password's hash is put into the ramdisk's shadow file and taken out at the first login, when its time is over, and
/// at the end. Who was let in may go on, and may add keys to `/root/.ssh/authorized_keys`. All that blocks runs on a
/// thread of its own.
actor RescueDesk {
    /// What a look at the server found.
    enum Finding: Hashable, Sendable {
        case nothing
        case login(from: String)
        case closed
    }

    /// The longest log that is kept.
    private static let logSizeMax = 1 << 20

    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let executor: any SerialExecutor
    private let places: RescuePlaces
    /// The bytes of the log that were looked at.
    private var logSeen = 0
    private var isOpen = false
    /// When the password ends; nil: there is none.
    private var passwordEnds: ContinuousClock.Instant?

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(places: RescuePlaces) {
        self.places = places
        executor = group.next().executor
    }

    /// Makes this boot's host key, starts the server unless it runs, and lets `order`'s password in.
    func open(_ order: RescueOrder) throws(RescueError) -> RescueAccess {
        if let hash = order.passwordHash, !Self.isHash(hash) {
            throw RescueError(publicMessage: "The conductor's password hash cannot be one.")
        }
        guard SystemFile.makeDirectory(places.folder) else {
            throw RescueError(publicMessage: "\(places.folder) cannot be made: \(String(cString: strerror(errno))).")
        }
        let hasKey = SystemFile.bytes(places.key, limit: 1) != nil
        let told = try run(
            places.keyProgram, hasKey ? ["-y", "-f", places.key] : ["-t", "ed25519", "-f", places.key],
            what: "make a host key")
        guard let key = Self.hostKey(in: told) else {
            throw RescueError(publicMessage: "\(places.keyProgram) told no host key: \(told.printable(limit: 200))")
        }
        try setPassword(order.passwordHash)
        passwordEnds =
            order.passwordHash == nil ? nil : ContinuousClock.now + .seconds(max(1, min(order.seconds, 72 * 3600)))
        logSeen = SystemFile.bytes(places.log, limit: Self.logSizeMax)?.count ?? 0
        // The server appends, so a log that others have filled may begin anew.
        if logSeen > Self.logSizeMax / 2 {
            truncate(places.log, 0)
            logSeen = 0
        }
        if !isServerAlive { try startServer() }
        isOpen = true
        return RescueAccess(addresses: addresses(), hostKey: key.key, fingerprint: key.fingerprint)
    }

    /// Looks for a login by password, after which the password is void, and whether the password's time is over.
    func look() throws(RescueError) -> Finding {
        guard isOpen else { return .closed }
        guard isServerAlive else { throw RescueError(publicMessage: "The SSH server has ended; nobody can log in.") }
        guard let ends = passwordEnds else { return .nothing }
        let log = SystemFile.bytes(places.log, limit: Self.logSizeMax) ?? []
        let fresh = String(decoding: log.dropFirst(logSeen), as: UTF8.self)
        if let from = Self.login(in: fresh) {
            try endPassword()
            return .login(from: from)
        }
        // A line that is half written is looked at again.
        logSeen = (log.lastIndex(of: UInt8(ascii: "\n")) ?? -1) + 1
        // The log is full of somebody's attempts: who waits for a login would not see it any more.
        if ends <= .now || log.count >= Self.logSizeMax { try endPassword() }
        return .nothing
    }

    /// Ends the server, all logins and what they run on mounted disks, and writes back and unmounts these.
    func close() {
        guard isOpen else { return }
        isOpen = false
        try? endPassword()
        if let pid = serverPID { kill(pid, SIGTERM) }
        for name in SystemFile.names(in: "/proc") {
            guard let pid = pid_t(name), SystemFile.linkName("/proc/\(name)/exe") == programName else { continue }
            kill(pid, SIGTERM)
        }
        sync()
        for target in Self.diskMounts(SystemFile.text(places.mounts) ?? "").reversed() {
            _ = try? run("\(places.programs)/fuser", ["-k", "-m", target], what: "end what uses \(target)")
            _ = try? run("\(places.programs)/umount", ["-r", target], what: "unmount \(target)")
        }
        sync()
    }

    // MARK: Parts

    private var programName: String { String(places.server.split(separator: "/").last ?? "") }

    private var serverPID: pid_t? {
        SystemFile.text(places.pid, limit: 16).flatMap { pid_t($0) }.flatMap { $0 > 1 ? $0 : nil }
    }

    /// One that has ended and is not collected has no program any more.
    private var isServerAlive: Bool { serverPID.map { SystemFile.linkName("/proc/\($0)/exe") != nil } ?? false }

    private func startServer() throws(RescueError) {
        // It goes into the background by itself, with its errors still going to the log. No forwarding of ports.
        let server = "exec \(places.server) -E -j -k -T 3 -K 30 -p \(places.port) -P \(places.pid) -r \(places.key)"
        _ = try run(
            "\(places.programs)/sh", ["-c", "\(server) >>\(places.log) 2>&1 </dev/null"], what: "start the SSH server")
        // It writes its pid once it listens.
        for _ in 0..<50 {
            if isServerAlive { return }
            // Blocks: the desk has a thread of its own.
            usleep(100_000)
        }
        let log = SystemFile.text(places.log) ?? "it said nothing"
        throw RescueError(
            publicMessage: "The SSH server did not start: \(String(log.suffix(200)).printable(limit: 200))")
    }

    private func setPassword(_ hash: String?) throws(RescueError) {
        do throws(SystemError) {
            try SystemFile.replace(
                places.shadow, content: Array("root:\(hash ?? "*"):20000:0:99999:7:::\n".utf8), mode: 0o600)
        } catch {
            throw RescueError(publicMessage: error.publicMessage)
        }
    }

    private func endPassword() throws(RescueError) {
        try setPassword(nil)
        passwordEnds = nil
    }

    private func run(_ program: String, _ arguments: [String], what: String) throws(RescueError) -> String {
        // With default signals: the server learns of ended logins by SIGCHLD, which this thread may have blocked.
        let command = ProgramRun(program, arguments, patience: .seconds(20), outputMax: 65_536)
        let outcome: ProgramRun.Outcome
        do throws(SystemError) { outcome = try command.outcome() } catch {
            throw RescueError(publicMessage: "Could not \(what): \(error.publicMessage)")
        }
        guard outcome.status == 0 else {
            throw RescueError(publicMessage: "Could not \(what): \(outcome.words)")
        }
        return String(decoding: outcome.output, as: UTF8.self)
    }

    /// The addresses of all cards, the boot interface's first.
    private func addresses() -> [IPv4Address] {
        let first = SystemFile.text("\(places.run)/boot-interface", limit: 64)
        let cards = SystemFile.names(in: places.run).filter { $0.hasPrefix("address.") }.map { $0.dropFirst(8) }
        let ordered = cards.filter { String($0) == first } + cards.filter { String($0) != first }
        return ordered.compactMap { card in
            guard let text = SystemFile.text("\(places.run)/address.\(card)", limit: 64) else { return nil }
            return try? IPv4Address(String(text.prefix { $0 != "/" }))
        }
    }

    // MARK: What programs tell

    /// Whether `text` is a hash that fits a field of shadow(5).
    static func isHash(_ text: String) -> Bool {
        text.hasPrefix("$") && (8...RescueOrder.hashLengthMax).contains(text.utf8.count)
            && text.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: ":") }
    }

    /// The public key and its fingerprint in the output of `dropbearkey`; the key without its comment.
    static func hostKey(in output: String) -> (key: String, fingerprint: String)? {
        let lines = output.split(whereSeparator: \.isNewline)
        guard let key = lines.first(where: { $0.hasPrefix("ssh-") || $0.hasPrefix("ecdsa-") }),
            let print = lines.first(where: { $0.hasPrefix("Fingerprint: ") })?.dropFirst(13)
        else { return nil }
        let words = key.split(separator: " ")
        guard words.count >= 2, !print.isEmpty else { return nil }
        return ("\(words[0]) \(words[1])", String(print))
    }

    /// Where the first login by password came from that dropbear tells of in whole lines; nil: there was none.
    static func login(in log: String) -> String? {
        let words = "Password auth succeeded for 'root' from "
        for line in log.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            guard let found = line.firstRange(of: words) else { continue }
            return String(line[found.upperBound...]).printable(limit: 80)
        }
        return nil
    }

    /// Where block devices are mounted, in the order of mounting (proc(5), with its octal escapes undone).
    static func diskMounts(_ mounts: String) -> [String] {
        mounts.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count >= 2, fields[0].hasPrefix("/dev/") else { return nil }
            return unescaped(fields[1])
        }
    }

    private static func unescaped(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.count >= 3,
                let code = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8)
            {
                bytes.append(code)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
