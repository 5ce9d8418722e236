import LinuxSystem
import Primitives
import Synchronization
import Testing

@testable import DiskImaging

/// What disks of the field have told by `hdparm -I`, cut to the parts around the section that is read.
@Suite struct ATAEraseTests {
    /// An SSD whose two ways take two minutes each.
    private static let fresh = """
        \t   *\tSANITIZE feature set
        \t   *\tBLOCK_ERASE_EXT command
        \t   *\tDeterministic read ZEROs after TRIM
        Security: 
        \tMaster password revision code = 65534
        \t\tsupported
        \tnot\tenabled
        \tnot\tlocked
        \tnot\tfrozen
        \tnot\texpired: security count
        \t\tsupported: enhanced erase
        \t2min for SECURITY ERASE UNIT. 2min for ENHANCED SECURITY ERASE UNIT.
        Logical Unit WWN Device Identifier: 5001b448bbc61f38
        \tNAA\t\t: 5
        Checksum: correct
        """
    /// A hard disk that a machine's firmware has frozen, and that has the plain way only.
    private static let frozen = """
        \t   *\tSCT Data Tables (AC5)
        Security: 
        \tMaster password revision code = 65534
        \t\tsupported
        \tnot\tenabled
        \tnot\tlocked
        \t\tfrozen
        \tnot\texpired: security count
        \tnot\tsupported: enhanced erase
        \t166min for SECURITY ERASE UNIT.
        Logical Unit WWN Device Identifier: 5000039162685611
        """
    /// The SSD after a password was set.
    private static let enabled = fresh.replacing("\tnot\tenabled", with: "\t\tenabled")
    /// QEMU's disk.
    private static let emulated = """
        ATA device, with non-removable media
        \tModel Number:       QEMU HARDDISK
        Commands/features:
        \tEnabled\tSupported:
        \t   *\tSMART feature set
        HW reset results:
        \tCBLID- below Vih
        Checksum: correct
        """

    private func security(_ text: String) throws -> ATASecurity { try #require(ATASecurity(hdparm: text)) }

    @Test("The section is read, and nothing beside it")
    func reading() throws {
        let fresh = try security(Self.fresh)
        #expect(fresh.isSupported && fresh.hasEnhancedErase && fresh.minutes == 2 && fresh.enhancedMinutes == 2)
        #expect(!fresh.isEnabled && !fresh.isLocked && !fresh.isFrozen)
        let frozen = try security(Self.frozen)
        #expect(frozen.isFrozen && !frozen.hasEnhancedErase && frozen.minutes == 166 && frozen.enhancedMinutes == nil)
        #expect(try security(Self.enabled).isEnabled)
        #expect(ATASecurity(hdparm: Self.emulated) == nil)
        #expect(ATASecurity(hdparm: "") == nil)
    }

    @Test("The way and the time are chosen by what the disk tells, and every refusal says what to do")
    func planning() throws {
        let plan = try security(Self.fresh).plan(path: "/dev/sda")
        #expect(plan.isEnhanced && plan.limit == .seconds(14 * 60))
        var plain = try security(Self.frozen)
        plain.isFrozen = false
        #expect(try plain.plan(path: "/dev/sda") == (false, .seconds(342 * 60)))
        plain.minutes = 508
        #expect(try plain.plan(path: "/dev/sda").limit == .seconds(3 * 86400))
        for (change, words) in [
            ({ $0.isSupported = false }, "no SECURITY ERASE UNIT"), ({ $0.isLocked = true }, "locked"),
            ({ $0.isEnabled = true }, "somebody has set a password"), ({ $0.isFrozen = true }, "power cycle"),
        ] as [((inout ATASecurity) -> Void, String)] {
            var disk = try security(Self.fresh)
            change(&disk)
            let error = #expect(throws: DiskError.self) { try disk.plan(path: "/dev/sda") }
            #expect(error?.publicMessage.contains(words) == true, "\(error?.publicMessage ?? "")")
        }
    }

    /// An `hdparm` that answers from a trace.
    private final class Trace: Sendable {
        let asked = Mutex<[[String]]>([])
        let answers: Mutex<[String]>
        let failing: String?

        init(_ answers: [String], failing: String? = nil) {
            self.answers = Mutex(answers)
            self.failing = failing
        }

        var eraser: ATAErase {
            ATAErase(run: { [self] (_, arguments, _) throws(SystemError) in
                asked.withLock { $0.append(arguments) }
                if let failing, arguments.contains(failing) {
                    return ATAErase.Outcome(status: 5, output: "SECURITY_ERASE: Input/output error")
                }
                guard arguments.first == "-I" else { return ATAErase.Outcome(status: 0, output: "") }
                return ATAErase.Outcome(
                    status: 0, output: answers.withLock { $0.count > 1 ? $0.removeFirst() : $0.first ?? "" })
            })
        }

        var orders: [String] { asked.withLock { $0.map { $0.first == "-I" ? "-I" : $0[2] } } }
    }

    @Test("The password is set for the erasure only")
    func erasing() throws {
        let trace = Trace([Self.fresh, Self.fresh])
        #expect(try trace.eraser.erase("/dev/sda"))
        #expect(trace.orders == ["-I", "--security-set-pass", "--security-erase-enhanced", "-I"])
    }

    @Test("An erasure that fails, or leaves the password, takes it away again and is told")
    func failing() throws {
        let broken = Trace([Self.fresh], failing: "--security-erase-enhanced")
        let error = #expect(throws: DiskError.self) { try broken.eraser.erase("/dev/sda") }
        #expect(error?.publicMessage.contains("Input/output error") == true)
        #expect(broken.orders.last == "--security-disable")
        let stuck = Trace([Self.fresh, Self.enabled])
        #expect(throws: DiskError.self) { try stuck.eraser.erase("/dev/sda") }
        #expect(stuck.orders.last == "--security-disable")
    }

    @Test("A disk that cannot is left as it is")
    func refusing() throws {
        for text in [Self.frozen, Self.enabled, Self.emulated] {
            let trace = Trace([text])
            #expect(throws: DiskError.self) { try trace.eraser.erase("/dev/sda") }
            #expect(trace.orders == ["-I"])
        }
    }
}
