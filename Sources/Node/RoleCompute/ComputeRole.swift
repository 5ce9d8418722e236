import AgentProtocol
import NodeAgent
import Primitives

/// The compute role: looks after the node's hypervisor through libvirt, and tells what it can do and what it runs.
///
/// A daemon that dies is noticed at once; the domains that it ran go on, and the connection is made anew when it is back.
public actor ComputeRole: RoleModule {
    public nonisolated let role = Role.compute
    public nonisolated let itemKinds: Set<String> = []

    private let uri: String
    private let clock: any WallClock
    private let changes: AsyncStream<Void>
    private let change: AsyncStream<Void>.Continuation
    private var libvirt: Libvirt?
    /// What the newest look found of the host.
    private var host: HostCapabilities?
    private var conditions: [String: Condition] = [:]

    /// What one look found.
    struct Sight: Sendable {
        var facts: ComputeFacts
        var figures: ComputeFigures
        var emulator: ComputeFacts.Guest?
    }

    /// A role on the daemon at `uri` that takes the times of its conditions from `clock`.
    public init(uri: String = "qemu:///system", clock: any WallClock = SystemWallClock()) {
        self.uri = uri
        self.clock = clock
        (changes, change) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    public func apply(_ items: [String: NodeView.Item]) -> NodeStatusReport.RoleStatus { check() }

    public func check() -> NodeStatusReport.RoleStatus {
        do {
            return status(try look())
        } catch {
            return unreachable(error)
        }
    }

    public func metrics() -> [MetricsReport.Sample] {
        if let libvirt, let host, let (domains, _) = try? libvirt.domains(),
            let figures = try? libvirt.figures(host, domains)
        {
            return Self.samples(figures)
        }
        guard let sight = try? look() else {
            return [MetricsReport.Sample(name: "muster_compute_libvirt_up", value: 0)]
        }
        return Self.samples(sight.figures)
    }

    public nonisolated func run(_ changed: @escaping @Sendable () -> Void) async {
        for await _ in changes { changed() }
    }

    // MARK: Looking

    /// Looks through the connection that there is, and once more through a new one when it is broken.
    private func look() throws(LibvirtError) -> Sight {
        if let libvirt {
            if let sight = try? sight(through: libvirt) { return sight }
            self.libvirt = nil
        }
        let fresh = try Libvirt(uri: uri) { [change] in change.yield() }
        let sight = try sight(through: fresh)
        libvirt = fresh
        return sight
    }

    private func sight(through libvirt: Libvirt) throws(LibvirtError) -> Sight {
        let versions = try libvirt.versions()
        let host = try libvirt.capabilities()
        self.host = host
        let (domains, count) = try libvirt.domains()
        let figures = try libvirt.figures(host, domains)
        let facts = ComputeFacts(
            libvirtVersion: versions.libvirt, hypervisorVersion: versions.hypervisor, processor: host.processor,
            cells: host.cells, guests: host.guests,
            models: try libvirt.models(architecture: host.processor.architecture),
            memory: figures.memory, domains: domains, domainCount: count)
        return Sight(facts: facts, figures: figures, emulator: host.ownGuest)
    }

    // MARK: Telling

    private func status(_ sight: Sight) -> NodeStatusReport.RoleStatus {
        let made = Self.conditions(sight.facts, emulator: sight.emulator, now: clock.now).map(keepingTime)
        let isReady = made.allSatisfy { $0.isTrue || $0.type == Self.accelerationType }
        return NodeStatusReport.RoleStatus(
            role: role, isReady: isReady, conditions: made, facts: RoleFacts(compute: sight.facts).bounded)
    }

    private func unreachable(_ error: LibvirtError) -> NodeStatusReport.RoleStatus {
        let message =
            "\(error.publicMessage) What runs goes on, but nothing can be started or stopped. Look at "
            + "'systemctl status libvirtd' and 'journalctl -u libvirtd'."
        let down = Condition(type: Self.libvirtType, isTrue: false, message: message, since: clock.now)
        // What was wrong besides is so still, as far as anybody knows.
        let others = conditions.values.filter { !$0.isTrue && $0.type != Self.libvirtType }
        return NodeStatusReport.RoleStatus(
            role: role, isReady: false, conditions: [keepingTime(down)] + others.sorted { $0.type < $1.type })
    }

    private func keepingTime(_ condition: Condition) -> Condition {
        var made = condition
        if let before = conditions[made.type], before.isTrue == made.isTrue { made.since = before.since }
        conditions[made.type] = made
        return made
    }

    static let libvirtType = "LibvirtReady"
    static let emulatorType = "EmulatorReady"
    static let accelerationType = "HardwareVirtualization"

    /// The checks of a hypervisor that answers.
    static func conditions(_ facts: ComputeFacts, emulator: ComputeFacts.Guest?, now: Timestamp) -> [Condition] {
        let own = facts.processor.architecture
        let answers = Condition(
            type: libvirtType, isTrue: true,
            message: "libvirt \(facts.libvirtVersion) answers; \(facts.domainCount) domains.", since: now)
        guard let emulator else {
            let message =
                "libvirt knows no emulator for \(own), so no guest can run. Install QEMU for \(own), for example "
                + "qemu-system-x86, in the node's image and restart libvirtd."
            return [answers, Condition(type: emulatorType, isTrue: false, message: message, since: now)]
        }
        let version = facts.hypervisorVersion.map { "QEMU \($0)" } ?? "An emulator"
        let hasKVM = emulator.domainTypes.contains("kvm")
        let acceleration =
            hasKVM
            ? "libvirt offers KVM for \(own)."
            : "Software emulation: KVM is not there, so guests run many times slower. Switch VT-x or AMD-V on in the "
                + "firmware, and see whether the kernel has loaded kvm_intel or kvm_amd."
        return [
            answers,
            Condition(
                type: emulatorType, isTrue: true, message: "\(version) for \(own): \(emulator.emulator).", since: now),
            Condition(type: accelerationType, isTrue: hasKVM, message: acceleration, since: now),
        ]
    }

    static func samples(_ figures: ComputeFigures) -> [MetricsReport.Sample] {
        var samples: [MetricsReport.Sample] = []
        func add(_ name: String, _ value: Double, _ labels: [String: String] = [:]) {
            samples.append(MetricsReport.Sample(name: "muster_compute_\(name)", labels: labels, value: value))
        }
        add("libvirt_up", 1)
        for state in ComputeFacts.Domain.State.allCases {
            add("domains", Double(figures.domains[state] ?? 0), ["state": state.rawValue])
        }
        add("processors", Double(figures.processors))
        add("processors_in_use", Double(figures.processorsInUse))
        add("memory_bytes", Double(figures.memory.bytes))
        add("memory_free_bytes", Double(figures.memoryFree.bytes))
        add("memory_in_use_bytes", Double(figures.memoryInUse.bytes))
        for (size, pages) in figures.hugePages.sorted(by: { $0.key < $1.key }) {
            let labels = ["size": "\(size.bytes)"]
            add("huge_pages", Double(pages.total), labels)
            add("huge_pages_free", Double(pages.free), labels)
        }
        return samples
    }
}
