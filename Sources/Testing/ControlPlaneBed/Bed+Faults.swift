import FoundationEssentials
import Glibc
import Primitives
import VirtualRack

extension Bed {
    /// A fault that was done, with whom it has met.
    public struct Injury: Sendable, Hashable {
        /// What was done.
        public var fault: Fault
        /// The controller that it was done to.
        public var controller: String
    }

    /// Does a fault until `heal`, to another controller than `spared`; throws `BedError` when nobody is what the fault is for.
    public func inflict(_ fault: Fault, sparing spared: [String] = []) async throws -> Injury {
        var injury = Injury(fault: fault, controller: try await controller(of: fault))
        if spared.contains(injury.controller), let other = plan.controllers.first(where: { !spared.contains($0) }) {
            injury.controller = other
            // Only one disk is small.
            if fault == .fullDisk { injury.fault = .slow(.named(other)) }
        }
        let name = injury.controller
        switch injury.fault {
        case .kill(let part, _):
            for process in processes(part, of: name) {
                process.signal(SIGKILL)
                process.signal(SIGCONT)
                try await process.waitForEnd()
            }
            if part == nil || part == .haproxy || part == .keepalived { try await releaseAddress(name) }
        case .pause(let part, _): for process in processes(part, of: name) { process.signal(SIGSTOP) }
        case .cut(_, let direction, let clients): try await cut(name, direction, clients: clients)
        case .clock(_, let seconds): try setClock(of: name, seconds: seconds)
        case .fullDisk: try await fillDisk(of: name)
        case .slow: try slow(name)
        }
        return injury
    }

    /// Ends a fault: what was killed is started, what was stopped goes on.
    public func heal(_ injury: Injury) async throws {
        let name = injury.controller
        switch injury.fault {
        case .kill: try startAll(of: name)
        case .pause(let part, _): for process in processes(part, of: name) { process.signal(SIGCONT) }
        case .cut: try await run(["nft", "delete", "table", "inet", "fault"], at: .controller(name))
        case .clock: try setClock(of: name, seconds: 0)
        case .fullDisk:
            try await inside(["rm", "-f", "\(plan.folder(name))/filler"])
            try startAll(of: name)
        case .slow:
            if let brake = process("\(name)-brake") {
                brake.signal(SIGKILL)
                try await brake.waitForEnd()
            }
            for process in processes(.etcd, of: name) { process.signal(SIGCONT) }
        }
    }

    /// Ends whatever was done to the bed, and waits until each conductor answers.
    public func healAll(within limit: Duration = .seconds(90)) async throws {
        for name in plan.controllers {
            _ = try? await run(["nft", "delete", "table", "inet", "fault"], at: .controller(name))
            try await heal(Injury(fault: .slow(.named(name)), controller: name))
            try setClock(of: name, seconds: 0)
            for process in processes(nil, of: name) { process.signal(SIGCONT) }
        }
        if plan.count > 1, let last = plan.controllers.last {
            try await inside(["rm", "-f", "\(plan.folder(last))/filler"])
        }
        for name in plan.controllers { try startAll(of: name) }
        for name in plan.controllers {
            try await waitForAPI(at: plan.address(of: name), hint: "\(name)-conductor", within: limit)
        }
        try await waitForAPI(at: BedPlan.virtualAddress, hint: "c1-keepalived", within: limit)
    }

    /// Starts what does not run of a controller, as a supervisor does.
    @discardableResult
    public func startAll(of name: String) throws -> [Part] {
        try Part.allCases.filter { try start($0, of: name) }
    }

    private func processes(_ part: Part?, of name: String) -> [RackProcess] {
        (part.map { [$0] } ?? Part.allCases).compactMap { process($0, of: name) }.filter(\.isRunning)
            .flatMap { [$0] + children(of: $0) }
    }

    /// keepalived forks; its child is known by its parent.
    private func children(of parent: RackProcess) -> [RackProcess] {
        let path = "/proc/\(parent.pid)/task/\(parent.pid)/children"
        let text = FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
        return text.split(separator: " ").compactMap { Int32($0) }.compactMap {
            RackProcess(name: "child", running: $0)
        }
    }

    private func controller(of fault: Fault) async throws -> String {
        switch fault {
        case .fullDisk:
            guard plan.count > 1, let last = plan.controllers.last else {
                throw BedError.failed("One controller has no small disk.")
            }
            return last
        case .kill(_, let target), .pause(_, let target), .cut(let target, _, _), .clock(let target, _),
            .slow(let target):
            return try await controller(target)
        }
    }

    /// Who is meant now; throws `BedError` when nobody is, also a while later.
    public func controller(_ target: Fault.Target) async throws -> String {
        if case .named(let name) = target {
            guard plan.controllers.contains(name) else { throw BedError.failed("There is no controller '\(name)'.") }
            return name
        }
        for _ in 0..<50 {
            let found =
                switch target {
                case .named(let name): name
                case .storeLeader: await storeLeader()
                case .leadingConductor: await leadingConductor()
                case .virtualAddress: await addressHolders().first
                }
            if let found { return found }
            try await Task.sleep(for: .milliseconds(200))
        }
        throw BedError.failed("There is no controller that is \(target).")
    }

    /// A killed keepalived leaves the address, as a machine without power does not.
    private func releaseAddress(_ name: String) async throws {
        _ = try? await run(
            ["ip", "address", "delete", "\(BedPlan.virtualAddress)/24", "dev", "eth0"], at: .controller(name))
    }

    private func cut(_ name: String, _ direction: Fault.Direction, clients: Bool) async throws {
        let peers =
            plan.controllers.filter { $0 != name }.map(plan.address) + (clients ? plan.outsiders.map(\.address) : [])
        guard !peers.isEmpty else { throw BedError.failed("There is nobody to cut \(name) off from.") }
        let list = peers.joined(separator: ", ")
        var rules = ["table inet fault {"]
        if direction != .outgoing {
            rules.append("chain in { type filter hook input priority 0; ip saddr { \(list) } drop; }")
        }
        if direction != .incoming {
            rules.append("chain out { type filter hook output priority 0; ip daddr { \(list) } drop; }")
        }
        let text = (rules + ["}"]).joined(separator: "\n")
        try await Commands.run(try enter(.controller(name), ["nft", "-f", "-"]), input: text)
    }

    private func setClock(of name: String, seconds: Int) throws {
        // One store of eight bytes into the page that the conductor has mapped.
        let file = open(plan.clockFile(name), O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { throw BedError.failed("\(plan.clockFile(name)) cannot be written.") }
        defer { close(file) }
        var nanoseconds = Int64(seconds) * 1_000_000_000
        guard pwrite(file, &nanoseconds, 8, 0) == 8 else {
            throw BedError.failed("\(plan.clockFile(name)) cannot be written.")
        }
    }

    private func fillDisk(of name: String) async throws {
        // Ends with an error when nothing is left, which is what is wanted.
        let fill = "dd if=/dev/zero of=\"$1\" bs=64k 2>/dev/null; test -s \"$1\""
        try await inside(["sh", "-c", fill, "sh", "\(plan.folder(name))/filler"])
    }

    /// Stops the member nine tenths of each 200 ms, by a process that ends with the bed.
    private func slow(_ name: String) throws {
        guard let member = process(.etcd, of: name), member.isRunning else { return }
        let inner = try innerPID(of: member)
        let brake = "while kill -STOP $1; do sleep 0.18; kill -CONT $1; sleep 0.02; done"
        try spawn(["sh", "-c", brake, "sh", inner], as: "\(name)-brake", at: .controller(name))
    }

    /// A process's number within the bed.
    private func innerPID(of process: RackProcess) throws -> String {
        let status = FileManager.default.contents(atPath: "/proc/\(process.pid)/status") ?? Data()
        let line = String(decoding: status, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("NSpid:") }
        guard let number = line?.split(whereSeparator: { $0 == "\t" || $0 == " " }).last else {
            throw BedError.failed("\(process.name) has ended.")
        }
        return String(number)
    }
}
