import AgentProtocol
import NodeAgent
import Primitives
import Testing

@testable import RoleCompute

@Suite struct HostCapabilitiesTests {
    static let xml = """
        <?xml version='1.0'?>
        <capabilities>
          <host>
            <cpu>
              <arch>x86_64</arch> <model>Broadwell</model> <vendor>Intel</vendor>
              <topology sockets='2' dies='1' cores='4' threads='2'/>
              <feature name='vme'/> <feature name='avx512f'/>
              <pages unit='KiB' size='4'/> <pages unit='KiB' size='1048576'/> <pages unit='KiB' size='2048'/>
            </cpu>
            <topology>
              <cells num='2'>
                <cell id='0'>
                  <memory unit='KiB'>8388608</memory>
                  <pages unit='KiB' size='4'>2097152</pages>
                  <pages unit='KiB' size='2048'>512</pages> <pages unit='KiB' size='1048576'>0</pages>
                  <cpus num='8'><cpu id='0' socket_id='0'/></cpus>
                </cell>
                <cell id='3'><memory unit='MiB'>16</memory><cpus num='8'/></cell>
              </cells>
            </topology>
          </host>
          <guest>
            <os_type>hvm</os_type>
            <arch name='x86_64'>
              <emulator>/usr/bin/qemu-system-x86_64</emulator>
              <machine maxCpus='288'>pc-q35-7.2</machine>
              <machine canonical='pc-q35-7.2' maxCpus='288'>q35</machine>
              <machine maxCpus='255' deprecated='yes'>pc-i440fx-1.5</machine>
              <machine maxCpus='255'>pc-i440fx-2.12</machine> <machine maxCpus='255'>pc-i440fx-2.9</machine>
              <domain type='qemu'/> <domain type='kvm'/>
            </arch>
          </guest>
          <guest><os_type>xen</os_type><arch name='x86_64'><emulator>/x</emulator></arch></guest>
        </capabilities>
        """

    @Test func hostAndGuestsAreRead() throws {
        let host = try HostCapabilities(xml: Self.xml)
        #expect(
            host.processor
                == ComputeFacts.Processor(
                    architecture: "x86_64", model: "Broadwell", vendor: "Intel", sockets: 2, dies: 1, cores: 4,
                    threads: 2, features: ["avx512f", "vme"]))
        #expect(host.pageSizes == [.mebibytes(2), .gibibytes(1)])
        #expect(
            host.cells == [
                ComputeFacts.Cell(
                    id: 0, memory: .gibibytes(8), processors: 8,
                    hugePages: [.init(size: .mebibytes(2), count: 512), .init(size: .gibibytes(1), count: 0)]),
                ComputeFacts.Cell(id: 3, memory: .mebibytes(16), processors: 8),
            ])
        #expect(host.guests.count == 1, "a guest that is not fully virtualized is none of ours")
        #expect(host.ownGuest?.domainTypes == ["kvm", "qemu"])
        #expect(host.ownGuest?.machines == ["q35", "pc-q35-7.2", "pc-i440fx-2.12", "pc-i440fx-2.9"])
    }

    @Test(
        "What is not a description of a host is refused, never half read",
        arguments: [
            "", "no", "<capabilities>", "<other/>", "<capabilities><host><cpu/></host></capabilities>",
            "<!DOCTYPE c [<!ENTITY a 'b'>]><capabilities><host><cpu><arch>&a;</arch></cpu></host></capabilities>",
            String(repeating: "<a>", count: 40) + String(repeating: "</a>", count: 40),
            "<capabilities>" + String(repeating: "<a/>", count: 20_001) + "</capabilities>",
        ])
    func refused(_ text: String) {
        #expect(throws: XMLError.self) { _ = try HostCapabilities(xml: text) }
    }

    @Test func checksOfAHypervisor() throws {
        let host = try HostCapabilities(xml: Self.xml)
        var facts = ComputeFacts(
            libvirtVersion: "9.0.0", hypervisorVersion: "7.2.22", processor: host.processor, guests: host.guests,
            memory: .gibibytes(8))
        let now = Timestamp(millisecondsSinceEpoch: 0)
        func types(_ emulator: ComputeFacts.Guest?) -> [String: Bool] {
            let made = ComputeRole.conditions(facts, emulator: emulator, now: now)
            return Dictionary(uniqueKeysWithValues: made.map { ($0.type, $0.isTrue) })
        }
        #expect(
            types(host.ownGuest) == ["LibvirtReady": true, "EmulatorReady": true, "HardwareVirtualization": true])
        var slow = try #require(host.ownGuest)
        slow.domainTypes = ["qemu"]
        #expect(types(slow) == ["LibvirtReady": true, "EmulatorReady": true, "HardwareVirtualization": false])
        facts.guests = []
        #expect(types(nil) == ["LibvirtReady": true, "EmulatorReady": false])
    }

    @Test func aDaemonThatIsNotThereIsACondition() async {
        let role = ComputeRole(uri: "qemu+unix:///system?socket=/nonexistent/libvirt-sock")
        let status = await role.apply([:])
        #expect(!status.isReady && status.facts == nil)
        #expect(status.conditions.map(\.type) == ["LibvirtReady"])
        #expect(status.conditions.first?.message.contains("/nonexistent/libvirt-sock") == true)
        #expect(await role.metrics() == [MetricsReport.Sample(name: "muster_compute_libvirt_up", value: 0)])
    }

    @Test func figuresAreSamples() {
        var figures = ComputeFigures()
        figures.domains = [.running: 2, .off: 1]
        figures.memoryFree = .gibibytes(1)
        figures.hugePages = [.mebibytes(2): ComputeFigures.Pages(free: 3, total: 4)]
        let samples = ComputeRole.samples(figures)
        func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
            samples.first { $0.name == "muster_compute_\(name)" && $0.labels == labels }?.value
        }
        #expect(value("domains", ["state": "running"]) == 2 && value("domains", ["state": "off"]) == 1)
        #expect(value("domains", ["state": "crashed"]) == 0)
        #expect(value("memory_free_bytes") == Double(1 << 30))
        #expect(value("huge_pages_free", ["size": "2097152"]) == 3)
    }

    @Test func factsAreCutToTheirLimits() throws {
        let long = String(repeating: "é\u{7}", count: 500)
        let domain = ComputeFacts.Domain(name: long, uuid: long, state: .running, processors: 1, memory: .mebibytes(1))
        let guest = ComputeFacts.Guest(
            architecture: long, emulator: long, domainTypes: Array(repeating: long, count: 90),
            machines: Array(repeating: long, count: 90))
        let facts = ComputeFacts(
            libvirtVersion: long,
            processor: .init(architecture: long, features: Array(repeating: long, count: 900)),
            guests: Array(repeating: guest, count: 90), models: Array(repeating: long, count: 900),
            memory: .gibibytes(1), domains: Array(repeating: domain, count: 900), domainCount: 900)
        let bounded = RoleFacts(compute: facts).bounded
        #expect(bounded.bounded == bounded)
        let kept = try #require(bounded.compute)
        #expect(kept.domains.count == ComputeFacts.Limit.domains && kept.domainCount == 900)
        #expect(kept.models.count == ComputeFacts.Limit.models && kept.guests.count == ComputeFacts.Limit.guests)
        #expect(kept.domains[0].name.utf8.count <= ComputeFacts.Limit.name)
        #expect(kept.domains[0].name.hasOnlyPrintableScalars)
    }
}
