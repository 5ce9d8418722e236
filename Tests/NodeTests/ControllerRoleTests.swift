import AgentProtocol
import CLinux
import Glibc
import LinuxSystem
import Primitives
import TestSupport
import Testing

@testable import RoleController

/// The controller role with Debian's HAProxy, in a network of its own, before conductors that are a few lines of Python.
@Suite struct ControllerRoleTests {
    /// A folder, certificates, conductors and a proxy; all end with the test.
    private final class Bench {
        let directory = TemporaryDirectory()
        var conductors: [Int: pid_t] = [:]

        init() {
            Shell.run(
                """
                set -e; cd \(directory.path); ip link set lo up
                openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
                    -keyout ca.key -out ca.pem
                openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=conductor -keyout server.key \
                    -out server.csr
                printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth\\n' > server.ext
                openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext \
                    -out server.pem
                cat > conductor.py <<'END'
                import http.server, ssl, sys
                class Handler(http.server.BaseHTTPRequestHandler):
                    def do_GET(self):
                        body = ("conductor %s" % sys.argv[1]).encode()
                        self.send_response(200)
                        self.send_header("Content-Length", str(len(body)))
                        self.end_headers()
                        self.wfile.write(body)
                    def log_message(self, *words): pass
                class Server(http.server.ThreadingHTTPServer):
                    daemon_threads = True
                    request_queue_size = 128
                    def get_request(self):
                        plain, address = self.socket.accept()
                        return context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain("server.pem", "server.key")
                Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
                END
                cat > load.py <<'END'
                import concurrent.futures, ssl, sys, urllib.request
                context = ssl.create_default_context(cafile="ca.pem")
                def ask(number):
                    try:
                        with urllib.request.urlopen("https://127.0.0.1:9443/", timeout=20, context=context) as answer:
                            return answer.read().decode()
                    except Exception as error:
                        return "failed: %s" % error
                with concurrent.futures.ThreadPoolExecutor(4) as pool:
                    answers = list(pool.map(ask, range(int(sys.argv[1]))))
                for answer in sorted(set(answers)):
                    print(answers.count(answer), answer)
                END
                """)
        }

        /// Starts a conductor on `port` and waits until it answers.
        func start(_ port: Int) {
            let log = open(directory("conductor.log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
            defer { close(log) }
            let words = ["/usr/bin/python3", "conductor.py", "\(port)"]
            let argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
            defer { for pointer in argv { free(pointer) } }
            let pid = clinux_spawn_detached(words[0], argv, [nil], directory.path, log, [], 0, 0)
            #expect(pid > 0)
            conductors[port] = pid
            Shell.run(
                "for i in $(seq 200); do ss -Hltn sport = :\(port) | grep -q . && exit 0; sleep 0.05; done; exit 1")
        }

        func kill(_ port: Int) {
            guard let pid = conductors.removeValue(forKey: port) else { return }
            Glibc.kill(pid, SIGKILL)
            var code: Int32 = 0
            waitpid(pid, &code, 0)
        }

        var proxy: HAProxyProgram {
            HAProxyProgram(places: .init(directory: directory.path, runtime: directory("run"), hasUnits: false))
        }

        func role() -> ControllerRole { Self.role(proxy) }

        static func role(_ proxy: HAProxyProgram) -> ControllerRole {
            ControllerRole(parts: [ControllerService(proxy)], clock: SystemWallClock())
        }

        deinit {
            for port in Array(conductors.keys) { kill(port) }
            try? proxy.stop()
        }
    }

    private static func items(_ ports: [Int], port: UInt16 = 9443) -> [String: NodeView.Item] {
        let item = ProxyItem(port: port, conductors: ports.map { "127.0.0.1:\($0)" })
        return [
            ProxyItem.key: try! NodeView.Item(kind: ProxyItem.kind, generation: Generation(1), encoding: item)
        ]
    }

    /// Runs `body` with a bench in a new network. The role's calls never wait for anything but the kernel, so the thread
    /// may wait for them.
    private static func withBench(_ body: @escaping (Bench) -> Void) { inNewNetwork { body(Bench()) } }

    /// Looks until the role says what is wanted; HAProxy checks a conductor every two seconds.
    private static func wait(
        _ role: ControllerRole, _ what: String, sourceLocation: SourceLocation = #_sourceLocation,
        until isRight: (NodeStatusReport.RoleStatus) -> Bool
    ) -> NodeStatusReport.RoleStatus {
        let deadline = ContinuousClock.now + .seconds(60)
        var status = here { await role.check() }
        while !isRight(status), ContinuousClock.now < deadline {
            usleep(100_000)
            status = here { await role.check() }
        }
        #expect(isRight(status), "\(what): \(status)", sourceLocation: sourceLocation)
        return status
    }

    @Test("A conductor dies and comes back; the next agent adopts the proxy; without an item it ends")
    func life() {
        Self.withBench { bench in
            bench.start(9501)
            bench.start(9502)
            let role = bench.role()
            let applied = here { await role.apply(Self.items([9501, 9502])) }
            #expect(applied.conditions.first?.isTrue == true, "\(applied.conditions)")
            let up = Self.wait(role, "both pass their check") { $0.isReady && $0.conditions.allSatisfy(\.isTrue) }
            #expect(up.facts?.proxy?.conductors.map(\.address) == ["127.0.0.1:9501", "127.0.0.1:9502"])
            let answers = Shell.run("cd \(bench.directory.path); python3 load.py 20")
            #expect(answers.contains("conductor 9501") && answers.contains("conductor 9502"), "\(answers)")

            bench.kill(9501)
            let half = Self.wait(role, "one is found down") { $0.conditions.contains { !$0.isTrue } }
            #expect(half.isReady, "one conductor is enough")
            #expect(half.conditions.last?.message.contains("1 of 2 conductors do not pass: 127.0.0.1:9501") == true)
            #expect(Shell.run("cd \(bench.directory.path); python3 load.py 20") == "20 conductor 9502\n")
            let samples = here { await role.metrics() }
            let downs = samples.filter { $0.name == "muster_controller_backend_up" && $0.value == 0 }
            #expect(downs.map { $0.labels["conductor"] } == ["127.0.0.1:9501"])
            bench.start(9501)
            _ = Self.wait(role, "it is back") { $0.conditions.allSatisfy(\.isTrue) }

            let master = bench.proxy.service.process
            let next = bench.role()
            let adopted = here { await next.apply(Self.items([9501, 9502])) }
            #expect(adopted.isReady && bench.proxy.service.process == master && master != nil)
            let figures = here { await next.metrics() }
            let total = figures.first { $0.name == "muster_controller_proxy_connections_total" }?.value
            #expect(total ?? 0 >= 40, "the counters of an adopted proxy go on")
            let gone = here { await next.apply([:]) }
            #expect(gone.isReady && bench.proxy.service.process == nil)
        }
    }

    @Test("A configuration that HAProxy refuses is not used: what runs goes on, and HAProxy's words are told")
    func refused() {
        Self.withBench { bench in
            bench.start(9501)
            let role = bench.role()
            _ = here { await role.apply(Self.items([9501])) }
            _ = Self.wait(role, "it is up") { $0.isReady }
            let mark = bench.proxy.runningMark
            Shell.run("cd \(bench.directory.path); cp ca.pem good; echo nonsense > ca.pem")
            let status = here { await role.apply(Self.items([9501])) }
            #expect(!status.isReady)
            let message = status.conditions.first { !$0.isTrue }?.message ?? ""
            #expect(message.contains("what ran before goes on") && message.contains("ca.pem"), "\(message)")
            #expect(bench.proxy.runningMark == mark && mark != nil)
            Shell.run("cd \(bench.directory.path); mv good ca.pem")
            #expect(Shell.run("cd \(bench.directory.path); python3 load.py 5") == "5 conductor 9501\n")
            let again = here { await role.apply(Self.items([9501])) }
            #expect(again.isReady, "\(again)")
            // Everything listens on 9501 already, so HAProxy cannot take that port, whatever its check says.
            var hasty = bench.proxy
            hasty.service.patience = .seconds(3)
            let greedy = Bench.role(hasty)
            let taken = here { await greedy.apply(Self.items([9501], port: 9501)) }
            #expect(taken.conditions.first?.message.contains("another program may have its port") == true, "\(taken)")
            let healed = here { await role.apply(Self.items([9501])) }
            #expect(healed.conditions.first?.isTrue == true, "\(healed)")
        }
    }

    @Test("Reloading again and again under load loses no request")
    func reload() {
        Self.withBench { bench in
            bench.start(9501)
            bench.start(9502)
            let role = bench.role()
            _ = here { await role.apply(Self.items([9501])) }
            _ = Self.wait(role, "it is up") { $0.isReady }
            Shell.run("cd \(bench.directory.path); (python3 load.py 400 > answers; touch done) > /dev/null 2>&1 &")
            var reloads = 0
            while access(bench.directory("done"), F_OK) != 0, reloads < 200 {
                let ports = reloads % 2 == 0 ? [9501, 9502] : [9501]
                let status = here { await role.apply(Self.items(ports)) }
                #expect(status.conditions.first?.isTrue == true, "\(status)")
                reloads += 1
                usleep(200_000)
            }
            Shell.run(
                "cd \(bench.directory.path); for i in $(seq 600); do [ -e done ] && exit 0; sleep 0.1; done; exit 1")
            let answers = Shell.run("cat \(bench.directory("answers"))")
            #expect(!answers.contains("failed") && !answers.isEmpty, "\(answers)")
            let counts = answers.split(separator: "\n").compactMap { Int($0.prefix { $0 != " " }) }
            #expect(counts.reduce(0, +) == 400 && reloads >= 2, "\(reloads) reloads")
        }
    }
}
