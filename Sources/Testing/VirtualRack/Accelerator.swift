import Glibc
import Primitives
import Subprocess
import SystemPackage

/// What executes the machines' processors.
public enum Accelerator: String, Sendable, Hashable, Codable {
    /// The kernel's virtual machine.
    case kvm
    /// QEMU's translator, which works everywhere.
    case tcg
}

/// Finds out by a boot whether KVM is of use here.
///
/// /dev/kvm alone proves nothing: under a nested hypervisor it may hang, or take ten times as long as translation.
/// SeaBIOS is booted without any disk until it says that there is nothing to boot, first translated, then under KVM;
/// KVM is of use when it gets there in about the same time.
public struct KVMProbe: Sendable {
    /// The most that a boot may take before it is killed.
    public var limit: Duration

    /// A probe whose boots are killed after `limit`.
    public init(limit: Duration = .seconds(10)) { self.limit = limit }

    /// What to use, and why in a few words.
    public func run() async -> (accelerator: Accelerator, reason: String) {
        guard access("/dev/kvm", R_OK | W_OK) == 0 else { return (.tcg, "/dev/kvm is not there") }
        guard let translated = await boot(.tcg, limit: limit) else { return (.tcg, "the probe boot did not end") }
        let allowed = min(limit, translated * 2 + .milliseconds(300))
        guard let native = await boot(.kvm, limit: allowed) else {
            let times = "over \(allowed.milliseconds) ms, translated \(translated.milliseconds) ms"
            return (.tcg, "under KVM a boot takes \(times)")
        }
        return (.kvm, "a boot takes \(native.milliseconds) ms, translated \(translated.milliseconds) ms")
    }

    /// The time until SeaBIOS has found nothing to boot, nil when that takes longer than `limit`.
    func boot(_ accelerator: Accelerator, limit: Duration) async -> Duration? {
        let arguments: Arguments = [
            "-machine", "q35,accel=\(accelerator.rawValue)", "-m", "64", "-nodefaults", "-no-user-config",
            "-display", "none", "-chardev", "stdio,id=log", "-device", "isa-debugcon,iobase=0x402,chardev=log",
        ]
        let clock = ContinuousClock()
        let start = clock.now
        return try? await Commands.withTimeout(limit, what: "probe boot") {
            let result = try await Subprocess.run(
                Commands.executable("qemu-system-x86_64"), arguments: arguments, input: .none, output: .sequence,
                error: .discarded
            ) { execution -> Duration? in
                for try await line in execution.standardOutput.strings() where line.contains("No bootable device") {
                    let time = clock.now - start
                    try execution.send(signal: .kill)
                    return time
                }
                return nil
            }
            guard let time = result.closureResult else { throw RackError.failed("The probe boot ended early.") }
            return time
        }
    }
}
