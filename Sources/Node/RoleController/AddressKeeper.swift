import AgentProtocol
import FoundationEssentials
import Glibc
import LinuxSystem
import Primitives
import ProgramRuns
import Synchronization

/// Keeps a controller at the address by which the others know it; see `AddressWatch`.
final class AddressKeeper: Sendable {
    /// Between two looks.
    private static let pause = Duration.seconds(2)

    private struct State {
        var wanted: IPv4Address?
        /// Whether `wanted` is known: not before the first view.
        var isTold = false
        /// What there is to tell of it, and whether all is well.
        var word: (isFine: Bool, text: String)?
    }

    private let path: String
    private let patience: Duration
    private let state = Mutex(State())

    /// A keeper whose note is the file `path`, and that leaves others `patience` to set the address up.
    init(path: String, patience: Duration = AddressWatch.patience) {
        self.path = path
        self.patience = patience
    }

    func apply(_ items: [String: NodeView.Item]) {
        let (item, unreadable) = NodeView.read(EtcdMemberItem.self, in: items)
        guard unreadable == nil else { return }
        state.withLock { ($0.wanted, $0.isTold) = (item?.address, true) }
    }

    func conditions(now: Timestamp) -> [Condition] {
        guard let word = state.withLock({ $0.word }) else { return [] }
        return [Condition(type: "AddressReady", isTrue: word.isFine, message: word.text, since: now)]
    }

    /// Watches until the task is cancelled.
    func run(_ changed: @Sendable () -> Void) async {
        let note = SystemFile.bytes(path).flatMap { try? JSONDecoder().decode(KeptAddress.self, from: Data($0)) }
        var watch = AddressWatch(kept: note, patience: patience)
        while !Task.isCancelled {
            do throws(SystemError) { try await look(&watch, changed) } catch {
                tell(false, error.publicMessage, changed)
            }
            try? await Task.sleep(for: Self.pause)
        }
    }

    private func look(_ watch: inout AddressWatch, _ changed: @Sendable () -> Void) async throws(SystemError) {
        let (wanted, isTold) = state.withLock { ($0.wanted, $0.isTold) }
        guard isTold else { return }
        let netlink = try Netlink()
        let step = watch.step(
            wanted: wanted, links: try netlink.links(), addresses: try netlink.addresses(),
            now: .seconds(Machine.uptimeSeconds))
        switch step {
        case .nothing:
            let wasMissing = state.withLock { state in
                guard state.word?.isFine == false else { return false }
                state.word = nil
                return true
            }
            if wasMissing { changed() }
        case .wait:
            guard let wanted else { break }
            tell(false, "\(wanted), by which the others know this controller, is on none of its interfaces.", changed)
        case .forget:
            unlink(path)
            state.withLock { $0.word = nil }
        case .note(let seen):
            guard let text = try? JSONEncoder().encode(seen) else { break }
            try SystemFile.replace(path, content: Array(text), mode: 0o600)
            state.withLock { $0.word = nil }
            changed()
        case .setUp(let kept, let index):
            guard try await isFree(kept) else {
                tell(
                    false,
                    "\(kept.address), by which the others know this controller, is used by somebody else on "
                        + "\(kept.interface). Find who that is (arping), and have it use another.", changed)
                break
            }
            try netlink.addAddress(kept.address, prefixLength: kept.prefixLength, index: index)
            tell(true, "Nobody gave this controller \(kept.address), so it set it up as it had it before.", changed)
        }
    }

    /// Whether nobody on the wire has the address, asked three times in as many seconds (RFC 5227 section 2.1.1).
    private func isFree(_ kept: KeptAddress) async throws(SystemError) -> Bool {
        let asked: ProgramRun.Outcome
        do throws(ProgramError) {
            asked = try await ProgramRun(
                "busybox", ["arping", "-D", "-q", "-c", "3", "-w", "3", "-I", kept.interface, "\(kept.address)"]
            ).finish()
        } catch {
            throw SystemError("ask who has \(kept.address)", errno: 0, detail: error.publicMessage)
        }
        guard asked.status <= 1 else {
            throw SystemError("ask who has \(kept.address)", errno: 0, detail: asked.words)
        }
        return asked.status == 0
    }

    private func tell(_ isFine: Bool, _ text: String, _ changed: @Sendable () -> Void) {
        let isNew = state.withLock { state in
            defer { state.word = (isFine, text) }
            return state.word.map { $0.text != text } ?? true
        }
        if isNew { changed() }
    }
}
