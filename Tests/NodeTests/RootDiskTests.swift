import AgentProtocol
import Primitives
import Testing

@Suite struct RootDiskTests {
    static func disk(_ name: String, serial: String, _ size: UInt64) -> InventoryReport.Disk {
        InventoryReport.Disk(name: name, path: "/dev/\(name)", serial: serial, size: .gibibytes(size))
    }

    let disks = [disk("vda", serial: "VB0001", 4), disk("vdb", serial: "VB0002", 8), disk("vdc", serial: "VB0003", 8)]

    @Test("One disk fits: it is taken")
    func one() throws {
        #expect(try RootDiskChoice.choose(RootDiskHint(serial: "VB0002"), among: disks).name == "vdb")
        #expect(try RootDiskChoice.choose(RootDiskHint(sizeMax: .gibibytes(5)), among: disks).name == "vda")
        #expect(try RootDiskChoice.choose(RootDiskHint(), among: [disks[0]]).name == "vda")
    }

    @Test("None or several fit: the error lists the disks by what tells them apart")
    func noneOrSeveral() {
        let none = #expect(throws: RootDiskError.self) {
            try RootDiskChoice.choose(RootDiskHint(serial: "VB0009"), among: disks)
        }
        #expect(none?.publicMessage.contains("(serial VB0009)") == true)
        let several = #expect(throws: RootDiskError.self) {
            try RootDiskChoice.choose(RootDiskHint(sizeMin: .gibibytes(8)), among: disks)
        }
        let text = several?.publicMessage ?? ""
        #expect(text.contains("fits 2 disks"))
        #expect(text.contains("/dev/vdb (8 GiB, serial VB0002)") && text.contains("VB0003") && !text.contains("VB0001"))
    }

    @Test("Read-only and removable disks are never taken, not even by name")
    func unusable() {
        var stick = disks[0]
        stick.isRemovable = true
        var locked = disks[1]
        locked.isReadOnly = true
        let error = #expect(throws: RootDiskError.self) {
            try RootDiskChoice.choose(RootDiskHint(serial: "VB0001"), among: [stick, locked])
        }
        #expect(error == .noUsableDisk(disks: [stick, locked]))
        #expect(throws: RootDiskError.noUsableDisk(disks: [])) {
            try RootDiskChoice.choose(RootDiskHint(), among: [])
        }
    }
}
