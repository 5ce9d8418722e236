import Primitives
import Testing

@testable import LinuxSystem

@Suite struct KernelFiguresTests {
    @Test("This machine's figures are there and rise")
    func thisMachine() {
        let figures = KernelFigures.read()
        #expect((figures.cpuSeconds["idle"] ?? 0) + (figures.cpuSeconds["user"] ?? 0) > 0)
        #expect((figures.memory["MemTotal"] ?? 0) > 64 << 20)
        #expect(figures.load.count == 3 && figures.uptime > 0)
        let process = ProcessFigures.read()
        #expect(process.residentBytes > 1 << 20 && process.anonymousBytes <= process.residentBytes)
        #expect(process.cpuSeconds > 0)
    }

    @Test("Whole disks are counted, partitions and loops are not")
    func disks() {
        let text = """
             254       0 vda 10 0 80 5 20 0 160 7 0 9 12
             254       1 vda1 1 0 8 5 2 0 16 7 0 9 12
             259       0 nvme0n1 1 0 2 3 4 0 6 7 0 8 9
             259       1 nvme0n1p1 1 0 2 3 4 0 6 7 0 8 9
               7       0 loop0 1 0 2 3 4 0 6 7 0 8 9
            """
        let disks = KernelFigures.disks(text)
        #expect(disks.keys.sorted() == ["nvme0n1", "vda"])
        #expect(
            disks["vda"]
                == KernelFigures.Disk(
                    reads: 10, bytesRead: 80 * 512, writes: 20, bytesWritten: 160 * 512, busyMilliseconds: 9))
    }

    @Test("Interfaces, processors and memory as the kernel writes them; anything else is left out")
    func others() {
        let dev = """
            Inter-|   Receive                                                |  Transmit
             face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
                lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
              eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
            """
        let interfaces = KernelFigures.interfaces(dev)
        #expect(interfaces.keys.sorted() == ["eth0"])
        #expect(interfaces["eth0"]?.bytesSent == 9 && interfaces["eth0"]?.sendDrops == 12)
        #expect(
            KernelFigures.cpu("cpu  100 0 50 200\n", ticksPerSecond: 100) == [
                "user": 1, "nice": 0, "system": 0.5, "idle": 2,
            ])
        #expect(KernelFigures.memory("MemTotal:  4 kB\nHugePages_Total:   0\n") == ["MemTotal": 4096])
        #expect(KernelFigures.cpu("", ticksPerSecond: 100).isEmpty)
    }

    @Test("A kernel command line: words, values, the last of two")
    func commandLine() {
        let line = KernelCommandLine("quiet a=1 muster.ca=ab=cd a=2\n")
        #expect(line["a"] == "2" && line["quiet"] == "" && line["muster.ca"] == "ab=cd" && line["b"] == nil)
    }
}
