import AgentProtocol
import Primitives
import TestSupport
import Testing

@testable import RoleController

@Suite struct HAProxyConfigurationTests {
    static let paths = HAProxyConfiguration.Paths(
        authority: "/state/muster/ca.pem", socket: "/run/muster/haproxy/stats.sock")

    static func text(_ conductors: [String], port: UInt16 = 9443, digest: String = "d") throws -> (String, String) {
        let item = ProxyItem(port: port, conductors: conductors)
        try item.validate()
        let made = HAProxyConfiguration.text(for: item, paths: paths, authorityDigest: digest)
        return (made.text, made.mark)
    }

    @Test("With three further ports and the readiness port: the whole configuration as it is frozen")
    func goldenWithPasses() throws {
        let hosts = ["10.77.0.1", "10.77.0.2", "10.77.0.3"]
        let item = ProxyItem(
            port: 9443, conductors: hosts.map { "\($0):19443" },
            passes: [("agents", 7443 as UInt16), ("provisioning", 8443), ("boot", 8080)].map { name, port in
                ProxyItem.Pass(name: name, port: port, servers: hosts.map { "\($0):\(10_000 + Int(port))" })
            }, readinessPort: 9444)
        try item.validate()
        let made = HAProxyConfiguration.text(for: item, paths: Self.paths, authorityDigest: "d")
        try GoldenFile.compare(made.text, with: "node/haproxy-passes.cfg")
    }

    @Test("Three conductors: the whole configuration as it is frozen")
    func golden() throws {
        let (text, mark) = try Self.text(["10.77.0.1:9443", "10.77.0.2:9443", "10.77.0.3:9443"])
        #expect(text.contains("description \(mark)\n"))
        try GoldenFile.compare(text, with: "node/haproxy.cfg")
    }

    @Test("Every difference is another mark, also another authority; the same is the same")
    func marks() throws {
        let one = try Self.text(["10.77.0.1:9443"]).1
        #expect(try Self.text(["10.77.0.1:9443"]).1 == one)
        let others = [
            try Self.text(["10.77.0.2:9443"]).1, try Self.text(["10.77.0.1:9443"], port: 443).1,
            try Self.text(["10.77.0.1:9443"], digest: "e").1,
        ]
        #expect(Set(others + [one]).count == 4)
    }

    @Test(
        "What is no address and port never gets into a configuration",
        arguments: [
            ["10.77.0.1"], ["10.77.0.1:0"], ["10.77.0.1:70000"], ["host:9443"], ["10.77.0.1:9443\n    bind :80"],
            ["10.77.0.1:9443 backup"], ["10.77.0.1:9443", "10.77.0.1:9443"], [],
            (1...17).map { "10.77.0.\($0):9443" },
        ])
    func bad(_ conductors: [String]) {
        #expect(throws: InvalidValue.self) { try Self.text(conductors) }
    }

    @Test("Ports beside the API's are bounded, have names of their own and never one port twice")
    func badPasses() {
        typealias Pass = ProxyItem.Pass
        let good = Pass(name: "agents", port: 7443, servers: ["10.77.0.1:7443"])
        let bad: [[Pass]] = [
            [good, good], [Pass(name: "agents", port: 9443, servers: good.servers)],
            [Pass(name: "api", port: 7443, servers: good.servers)],
            [Pass(name: "a b", port: 7443, servers: good.servers)], [Pass(name: "agents", port: 7443, servers: [])],
            (1...5).map { Pass(name: "p\($0)", port: UInt16(7000 + $0), servers: good.servers) },
        ]
        for passes in bad {
            #expect(throws: InvalidValue.self, "\(passes)") {
                try ProxyItem(port: 9443, conductors: ["10.77.0.1:9443"], passes: passes).validate()
            }
        }
        #expect(throws: Never.self) {
            try ProxyItem(port: 9443, conductors: ["10.77.0.1:9443"], passes: [good]).validate()
        }
    }

    static let csv = #"""
        # pxname,svname,qcur,scur,stot,bin,bout,econ,status,check_status,last_chk,check_desc,
        api,FRONTEND,,2,9,100,200,,OPEN,,,,
        conductors,10.77.0.1:9443,0,1,5,60,120,1,UP,L7OK,"HTTP status check returned code <200>, ""fine""",Layer7 check passed,
        conductors,10.77.0.2:9443,0,0,4,40,80,3,DOWN,L4CON,Connection refused,Layer4 connection problem,
        conductors,BACKEND,0,1,9,100,200,4,UP,,,,

        """#

    @Test("Statistics are read by the names of their columns, with quoted fields")
    func statistics() throws {
        let rows = try #require(HAProxyStatistics(csv: Array(Self.csv.utf8))).rows
        #expect(rows.map(\.service) == ["FRONTEND", "10.77.0.1:9443", "10.77.0.2:9443", "BACKEND"])
        #expect(rows.map(\.isUp) == [true, true, false, true])
        #expect(rows[1].check.hasSuffix("code <200>, \"fine\"") && rows[1].bytesOut == 120 && rows[1].sessions == 1)
        #expect(rows[2].check == "L4CON, Layer4 connection problem, Connection refused" && rows[2].connectErrors == 3)
        let samples = ProxyFigures.samples(HAProxyStatistics(csv: Array(Self.csv.utf8)))
        #expect(samples.count == 1 + 2 + 2 * 6)
        #expect(
            samples.contains {
                $0.name == "muster_controller_backend_up" && $0.labels == ["conductor": "10.77.0.2:9443"]
                    && $0.value == 0
            })
        #expect(ProxyFigures.samples(nil).map(\.value) == [0])
    }

    @Test("Damaged statistics are read to an end, within the limits")
    func damaged() {
        #expect(HAProxyStatistics(csv: Array("garbage\n".utf8)) == nil)
        #expect(HAProxyStatistics(csv: []) == nil)
        let many = "# pxname,svname\n" + String(repeating: "a,b\n", count: 5000)
        #expect(HAProxyStatistics(csv: Array(many.utf8))?.rows.count == HAProxyStatistics.rowCountMax)
        var random = SeededRandom(seed: 9)
        let bytes = Array(Self.csv.utf8)
        for _ in 0..<500 {
            var copy = bytes
            for _ in 0..<4 {
                copy[Int.random(in: 0..<copy.count, using: &random)] = .random(in: 0...255, using: &random)
            }
            let rows = HAProxyStatistics(csv: Array(copy.prefix(Int.random(in: 0...copy.count, using: &random))))?.rows
            #expect(rows?.count ?? 0 <= HAProxyStatistics.rowCountMax)
        }
    }
}
