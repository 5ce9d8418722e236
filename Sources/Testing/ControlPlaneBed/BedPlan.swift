import Primitives

/// What a bed consists of: addresses, files and command lines; pure.
public struct BedPlan: Sendable, Hashable {
    /// The address at which clients reach the API, wherever it is.
    public static let virtualAddress = "10.98.0.100"
    /// The client's own address.
    static let clientAddress = "10.98.0.200"
    /// The address that the simulated agents share.
    static let agentsAddress = "10.98.0.201"
    /// What machines of the bed say that they were made by; a rule of its site is for them.
    static let machineVendor = "Bed"
    /// The port of the API at each conductor.
    public static let apiPort = 9443
    /// The port of the API at the virtual address: another one, as a conductor that starts there wants its own for itself.
    public static let virtualPort = 443
    /// The port of the API at an address.
    static func port(at address: String) -> Int { address == virtualAddress ? virtualPort : apiPort }
    /// Where HAProxy passes agents' streams on; conductors listen at 7443 on all addresses.
    static let agentPort = 7444

    /// How many controllers: 1, 3 or 5.
    public var count: Int
    /// The absolute path of the directory with everything the bed writes.
    public var root: String
    /// The folder with the programs.
    public var programs: String
    /// Whether members keep their data in memory: what a disk that others use too costs is not what is looked at then.
    public var membersInMemory = false

    /// How many agents are simulated, beside two that are programs of their own; 0: there are none at all.
    public var agents = 0

    /// The controllers' names.
    public var controllers: [String] { (1...count).map { "c\($0)" } }

    /// The address of a controller.
    public func address(of controller: String) -> String { "10.98.0.\(controller.dropFirst())" }

    /// The nodes whose agents are programs of their own, each in a namespace of its own.
    var agentPrograms: [String] { agents > 0 ? ["n1", "n2"] : [] }

    /// All nodes.
    var nodeCount: Int { agents + agentPrograms.count }

    /// Where everybody is that is no controller, by the places' names.
    var outsiders: [(name: String, address: String)] {
        let programs = agentPrograms.enumerated().map { (name: $1, address: "10.98.0.\(211 + $0)") }
        return [(name: "client", address: Self.clientAddress)]
            + (agents > 0 ? [(name: "agents", address: Self.agentsAddress)] : []) + programs
    }

    // MARK: Files

    var lock: String { "\(root)/bed.lock" }
    var record: String { "\(root)/bed.json" }
    func folder(_ controller: String) -> String { "\(root)/\(controller)" }
    func log(_ name: String) -> String { "\(root)/log/\(name).log" }
    func process(_ name: String) -> String { "\(root)/run/\(name).json" }
    func clockFile(_ controller: String) -> String { "\(root)/run/\(controller).clock" }
    /// What the simulated agents have seen.
    var agentJournal: String { "\(root)/run/agents.journal" }
    /// Where the state partitions of all machines are.
    var machines: String { "\(root)/machines" }
    func agentFolder(_ serial: String) -> String { "\(machines)/\(serial)" }
    private func tls(_ name: String) -> String { "\(root)/tls/\(name)" }

    /// The authority that clients of the API trust.
    public var authority: String { "\(folder("c1"))/conductor/ca.pem" }
    /// The cloud's first administrator.
    var cloudsFile: String { "\(folder("c1"))/conductor/clouds.yaml" }
    /// The operator's token.
    public var tokenFile: String { "\(folder("c1"))/conductor/operator.token" }

    // MARK: Programs

    /// The end points of the members, with the options that etcdctl needs.
    func etcdctl(_ controllers: [String]) -> [String] {
        [
            "env", "ETCDCTL_API=3", "etcdctl", "--cacert=\(tls("ca.pem"))", "--cert=\(tls("client.pem"))",
            "--key=\(tls("client.key"))",
            "--endpoints=" + controllers.map { "https://\(address(of: $0)):2379" }.joined(separator: ","),
        ]
    }

    func etcd(_ name: String) -> [String] {
        let here = address(of: name)
        let cluster = controllers.map { "\($0)=https://\(address(of: $0)):2380" }.joined(separator: ",")
        var words = ["etcd", "--name", name, "--data-dir", "\(folder(name))/etcd"]
        for option in ["--listen-client-urls", "--advertise-client-urls"] { words += [option, "https://\(here):2379"] }
        for option in ["--listen-peer-urls", "--initial-advertise-peer-urls"] {
            words += [option, "https://\(here):2380"]
        }
        words += ["--initial-cluster", cluster, "--initial-cluster-state", "new", "--initial-cluster-token", "bed"]
        for kind in ["", "peer-"] {
            words += [
                "--\(kind)client-cert-auth", "--\(kind)trusted-ca-file", tls("ca.pem"), "--\(kind)cert-file",
                tls("\(name).pem"), "--\(kind)key-file", tls("\(name).key"),
            ]
        }
        // Elections as the controller role sets them: a lost leader is noticed after a second, and a member that comes back
        // from a cut does not depose the one that was chosen without it.
        return words + ["--heartbeat-interval", "100", "--election-timeout", "1000", "--pre-vote", "--logger", "zap"]
    }

    func conductor(_ name: String) -> [String] {
        var words = [
            "\(programs)/muster-conductor", "--state-dir", "\(folder(name))/conductor", "--api-host",
            address(of: name), "--name", address(of: name), "--name", Self.virtualAddress, "--conductor-name", name,
            "--endpoint", "https://\(Self.virtualAddress):\(Self.virtualPort)", "--api-rate", "0", "--log-level",
            "info",
            "--local-loader", "/nonexistent",
        ]
        // Its own member first.
        for member in [name] + controllers.filter({ $0 != name }) {
            words += ["--etcd", "https://\(address(of: member)):2379"]
        }
        return words + [
            "--etcd-ca", tls("ca.pem"), "--etcd-cert", tls("client.pem"), "--etcd-key", tls("client.key"),
        ]
    }

    func proxy(_ name: String) -> [String] { ["haproxy", "-db", "-f", "\(folder(name))/haproxy.cfg"] }

    func keepalived(_ name: String) -> [String] {
        [
            "keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file", "\(folder(name))/keepalived.conf",
            "--pid", "\(root)/run/\(name)-keepalived.pid", "--vrrp_pid", "\(root)/run/\(name)-vrrp.pid",
        ]
    }

    /// Makes the authority of the members, and a certificate for each and one for clients.
    var certificates: [[String]] {
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        let authority =
            ["openssl", "req", "-x509", "-subj", "/CN=bed"] + key + ["-keyout", tls("ca.key"), "-out", tls("ca.pem")]
        let leaves = (controllers + ["client"]).map { name -> [String] in
            var words = ["openssl", "req", "-x509", "-subj", "/CN=\(name)"] + key
            words += ["-CA", tls("ca.pem"), "-CAkey", tls("ca.key"), "-keyout", tls("\(name).key")]
            words += ["-out", tls("\(name).pem"), "-addext", "extendedKeyUsage=serverAuth,clientAuth"]
            if name != "client" { words += ["-addext", "subjectAltName=IP:\(address(of: name))"] }
            return words
        }
        return [authority] + leaves
    }

    /// An agent program as its machine's init starts it. It may not set the clock, which is the host's.
    func agent(_ serial: String) -> [String] {
        let start =
            "mount -t tmpfs tmpfs /run && exec setpriv --bounding-set=-sys_time --inh-caps=-sys_time \"$1\" \"$2\""
        return [
            "unshare", "--mount", "--propagation", "private", "sh", "-c", start, "sh", "\(programs)/network-agent",
            "\(agentFolder(serial))/muster",
        ]
    }

    // MARK: Configurations

    /// What the site has where there are agents: machines of the bed are let in as network nodes under their serial numbers.
    var site: String {
        """
        site: { name: bed, metricsIntervalSeconds: 15 }
        segments:
          - { name: bed, relays: [10.97.0.1], network: 10.97.0.0/24, server: \(address(of: "c1")), pool: { start: 10.97.0.10, end: 10.97.0.20 } }
        rules:
          - { name: bed, order: 1, match: { system.vendor: \(Self.machineVendor) }, gives: { name: "{system.serial}", role: network }, approves: true }

        """
    }

    /// TLS stays between clients and conductors; a conductor whose store does not answer is passed by.
    var proxyConfiguration: String {
        let servers = { (port: Int) in
            controllers.map { "    server \($0) \(address(of: $0)):\(port) port \(Self.apiPort)" }.joined(
                separator: "\n")
        }
        return """
            global
                maxconn 8000
                # Which server is up or down, and when.
                log stderr format timed daemon notice
            defaults
                log global
                mode tcp
                timeout connect 1s
                timeout client 1h
                timeout server 1h
                timeout check 1s
                option redispatch
                retries 2
                balance leastconn
                option httpchk GET /fleet/v1
                http-check expect status 200
                default-server check check-ssl verify required ca-file \(authority) inter 500ms fastinter 250ms fall 2 rise 1 on-marked-down shutdown-sessions
            frontend api
                bind \(Self.virtualAddress):\(Self.virtualPort)
                default_backend conductors
            backend conductors
            \(servers(Self.apiPort))
            frontend agents
                bind \(Self.virtualAddress):\(Self.agentPort)
                default_backend streams
            backend streams
            \(servers(7443))
            frontend health
                bind 127.0.0.1:9444
                mode http
                monitor-uri /
                monitor fail if { nbsrv(conductors) lt 1 }

            """
    }

    /// VRRP version 3 between the controllers only; the address goes where HAProxy runs and knows a conductor that answers.
    func keepalivedConfiguration(_ name: String) -> String {
        let peers = controllers.filter { $0 != name }.map { "        \(address(of: $0))" }.joined(separator: "\n")
        let priority = 150 - 10 * (controllers.firstIndex(of: name) ?? 0)
        let unicast = peers.isEmpty ? "" : "\n    unicast_peer {\n\(peers)\n    }"
        return """
            global_defs {
                router_id \(name)
                script_user root
                enable_script_security
                vrrp_version 3
                vrrp_garp_master_delay 1
            }
            vrrp_script proxy {
                script "/usr/bin/curl -sf -m 1 -o /dev/null http://127.0.0.1:9444/"
                interval 1
                timeout 1
                fall 1
                rise 1
            }
            vrrp_instance api {
                state BACKUP
                nopreempt
                interface eth0
                virtual_router_id 98
                priority \(priority)
                advert_int 0.3
                # Who was cut off and held the address too may have told the neighbours so.
                garp_master_refresh 1
                unicast_src_ip \(address(of: name))\(unicast)
                virtual_ipaddress {
                    \(Self.virtualAddress)/24 dev eth0
                }
                track_script {
                    proxy
                }
            }

            """
    }
}
