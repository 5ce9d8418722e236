import Foundation
import Testing

/// What a running conductor does on its segments: a namespace with cables, a router and another DHCP server.
@Suite(
    .enabled(if: geteuid() == 0, "the conductor needs root"),
    .enabled(if: access("/usr/lib/ipxe/undionly.kpxe", R_OK) == 0 && access("/usr/bin/curl", X_OK) == 0))
struct SegmentSceneTests {
    private static let site = """
        site: { name: lab, sshKeyFilesEnv: MUSTER_SSH_KEY_FILE }
        segments:
          - name: rack
            interface: rack0
            network: 10.81.0.0/24
            server: 10.81.0.1
            pool: { start: 10.81.0.50, end: 10.81.0.59 }
          - { name: office, interface: office0, mode: proxy, network: 10.82.0.0/24, server: 10.82.0.1 }
          - name: behind
            relays: [10.81.0.2]
            network: 10.83.0.0/24
            server: 10.84.0.1
            pool: { start: 10.83.0.50, end: 10.83.0.59 }

        """

    private func scene(_ body: (ConductorScene) async throws -> Void) async throws {
        try await ConductorScene.with("segment") { scene in
            try await scene.host("ip netns add \(scene.far)")
            for (name, number) in [("rack0", 81), ("office0", 82)] {
                try await scene.ip("link add \(name) type veth peer name \(name) netns \(scene.far)")
                try await scene.ip("address add 10.\(number).0.1/24 dev \(name)")
                try await scene.ip("link set \(name) up")
                try await scene.host("ip -n \(scene.far) address add 10.\(number).0.2/24 dev \(name)")
                try await scene.host("ip -n \(scene.far) link set \(name) up")
            }
            // The conductor's address for what is behind the router is on no cable of its own.
            try await scene.ip("address add 10.84.0.1/32 dev lo")
            try await scene.ip("route add 10.83.0.0/24 via 10.81.0.2")
            try await scene.host("ip -n \(scene.far) link set lo up")
            try await scene.host("ip -n \(scene.far) address add 10.83.0.50/32 dev lo")
            try await scene.host("ip -n \(scene.far) route add 10.84.0.1/32 via 10.81.0.1")
            try scene.write("site.yaml", Self.site)
            try await scene.start("muster-conductor --state-dir \(scene.state)")
            try await body(scene)
        }
    }

    /// Waits until the list of segments has a line that all `words` are in.
    private func waitForSegment(_ words: String..., in scene: ConductorScene) async throws {
        var answer = try await scene.type("muster segment list")
        for _ in 0..<300 {
            let lines = answer.output.split(separator: "\n")
            if lines.contains(where: { line in words.allSatisfy { line.contains($0) } }) { return }
            try await Task.sleep(for: .milliseconds(100))
            answer = try await scene.type("muster segment list")
        }
        Issue.record("no line with \(words) in:\n\(answer.output)")
    }

    @Test(.timeLimit(.minutes(3))) func bootProgramsAreServedOnEachSegmentAlsoBesideOthersAndBehindRelays() async throws
    {
        try await scene { scene in
            let applied = try await scene.type("muster site apply \(scene.path("site.yaml"))")
            try #require(applied.status == 0, "\(applied.output)")
            for (what, server, from) in [
                ("its own cable", "10.81.0.1", "10.81.0.2"), ("proxy mode", "10.82.0.1", "10.82.0.2"),
                ("behind a relay", "10.84.0.1", "10.83.0.50"),
            ] {
                for program in ["undionly.kpxe", "snponly.efi"] {
                    let file = scene.path("\(server)-\(program)")
                    // The conductor looks every half second what it has to serve.
                    let line =
                        "for i in $(seq 60); do curl -sS --interface \(from) --max-time 10 -o \(file) "
                        + "tftp://\(server)/\(program) && break; sleep 0.2; done; cmp \(file) /usr/lib/ipxe/\(program)"
                    let got = try await Shell.run(line, in: scene.far)
                    #expect(got.status == 0, "\(what): \(got.output)")
                }
            }
        }
    }

    @Test(.timeLimit(.minutes(3))) func aSegmentWithAnotherServerIsBlockedAndOthersAreServed() async throws {
        try await scene { scene in
            scene.run(
                "dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= --port=0 --bind-interfaces "
                    + "--interface=rack0 --dhcp-range=10.81.0.60,10.81.0.69 --leasefile-ro --no-ping", in: scene.far)
            let applied = try await scene.type("muster site apply \(scene.path("site.yaml"))")
            try #require(applied.status == 0, "\(applied.output)")
            try await waitForSegment("rack", "blocked", in: scene)
            try await waitForSegment("office", "serving", in: scene)
            let events = try await scene.type("muster segment events rack")
            #expect(events.output.contains("10.81.0.2"), "\(events.output)")
        }
    }
}
