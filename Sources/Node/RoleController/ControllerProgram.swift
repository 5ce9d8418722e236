import AgentProtocol
import Glibc
import LinuxSystem
import Primitives
import struct Crypto.SHA256

/// What one service of a controller has to know: its text of configuration, how a change is taken over with the least
/// disturbance, and what is to be seen of it. The rest is `ControllerService`'s.
protocol ControllerProgram: Sendable {
    associatedtype Item: ControllerItem

    /// What people call it.
    var title: String { get }
    /// The condition that says whether it runs as it shall.
    var conditionType: String { get }
    /// What shall run. Throws `SystemError` when it cannot be said now.
    func configuration(for item: Item) throws(SystemError) -> ServiceConfiguration
    /// The mark of what runs; nil when nothing does.
    var runningMark: String? { get }
    /// Has it run with `configuration`. Throws `SystemError`; then what ran goes on as far as that is possible.
    func use(_ configuration: ServiceConfiguration) throws(SystemError)
    /// Notes for its next start what of `configuration` its mark does not tell, while it runs with that mark.
    func keep(_ configuration: ServiceConfiguration) throws(SystemError)
    /// Ends it for good; nothing when it does not run.
    func stop() throws(SystemError)
    /// What is to be seen of it while it runs.
    func look(at item: Item) -> ServiceSight
    /// Its figures.
    func samples(of item: Item) -> [MetricsReport.Sample]
}

extension ControllerProgram {
    func keep(_ configuration: ServiceConfiguration) throws(SystemError) {}
    func samples(of item: Item) -> [MetricsReport.Sample] { [] }
}

/// A text of configuration, and the mark by which a running program tells that it has just this one.
struct ServiceConfiguration: Hashable, Sendable {
    var text: String
    var mark: String

    /// The mark of what `essence` tells apart.
    static func mark(of essence: String) -> String {
        "muster-" + Hex.encode(Array(SHA256.hash(data: Array(essence.utf8)).prefix(12)))
    }
}

/// What is to be seen of a service.
struct ServiceSight: Sendable {
    /// What is so while nothing is amiss.
    var fine: String
    /// Further conditions: a type, and what is wrong, or nil and what is fine.
    var conditions: [(type: String, problem: String?, fine: String)] = []
    /// The types of those of them that the role is not ready without.
    var needed: Set<String> = []
    /// What it tells of itself.
    var facts = RoleFacts()
}

extension NodeView {
    /// The item of that kind that `items` hold, or what is wrong with them.
    static func read<Asked: ControllerItem>(_: Asked.Type, in items: [String: NodeView.Item]) -> (Asked?, String?) {
        let kind = Asked.kind
        let items = items.filter { $0.value.kind == kind }
        guard let (key, first) = items.min(by: { $0.key < $1.key }) else { return (nil, nil) }
        guard items.count == 1 else { return (nil, "The view holds \(items.count) of '\(kind)'; one is possible.") }
        guard let item = try? first.decode(Asked.self) else {
            return (nil, "'\(key.printable(limit: 80))' is no '\(kind)' that this agent understands; upgrade it.")
        }
        do throws(InvalidValue) { try item.validate() } catch { return (nil, error.publicMessage) }
        return (item, nil)
    }
}

/// One service of the role, whatever its program is.
protocol ControllerPart: Sendable {
    var kind: String { get }
    mutating func apply(_ items: [String: NodeView.Item])
    mutating func check()
    func report(now: Timestamp) -> (isReady: Bool, conditions: [Condition], facts: RoleFacts)
    func samples() -> [MetricsReport.Sample]
}

/// Makes a service what the view says, by difference.
struct ControllerService<Program: ControllerProgram>: ControllerPart {
    let program: Program
    private var item: Program.Item?
    private var unreadable: String?
    /// Why the newest configuration is not in use.
    private var failure: String?

    init(_ program: Program) { self.program = program }

    var kind: String { Program.Item.kind }

    mutating func apply(_ items: [String: NodeView.Item]) {
        (item, unreadable) = NodeView.read(Program.Item.self, in: items)
        failure = nil
        do throws(SystemError) {
            if let item {
                let wanted = try program.configuration(for: item)
                if program.runningMark == wanted.mark { try program.keep(wanted) } else { try program.use(wanted) }
            } else if unreadable == nil {
                try program.stop()
            }
        } catch {
            failure = error.publicMessage
        }
    }

    mutating func check() {
        guard let item else { return }
        do throws(SystemError) {
            let wanted = try program.configuration(for: item)
            let mark = program.runningMark
            if mark == wanted.mark {
                failure = nil
            } else if failure == nil {
                failure =
                    mark == nil
                    ? "\(program.title) does not run; it is started within seconds."
                    : "\(program.title) runs with another configuration; it is given its own within seconds."
            }
        } catch {
            failure = error.publicMessage
        }
    }

    func report(now: Timestamp) -> (isReady: Bool, conditions: [Condition], facts: RoleFacts) {
        func condition(_ type: String, _ problem: String?, _ fine: String) -> Condition {
            Condition(
                type: type, isTrue: problem == nil, message: (problem ?? fine).printable(limit: 1000), since: now)
        }
        let problem = unreadable ?? failure
        guard let item else {
            let conditions = problem.map { [condition(program.conditionType, $0, "")] } ?? []
            return (problem == nil, conditions, RoleFacts())
        }
        let sight = program.look(at: item)
        let conditions =
            [condition(program.conditionType, problem, sight.fine)]
            + sight.conditions.map { condition($0.type, $0.problem, $0.fine) }
        let isReady = conditions.allSatisfy {
            $0.isTrue || !(sight.needed.union([program.conditionType])).contains($0.type)
        }
        return (isReady, conditions, sight.facts)
    }

    func samples() -> [MetricsReport.Sample] { item.map { program.samples(of: $0) } ?? [] }
}
