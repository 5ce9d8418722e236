import AgentProtocol
import Primitives

/// The text of HAProxy's configuration for a proxy (HAProxy 2.6 configuration manual); pure.
enum HAProxyConfiguration {
    /// The name of the API's back end in HAProxy's statistics.
    static let backend = "conductors"
    /// The name of the API's front end.
    static let frontend = "api"

    /// Where HAProxy finds and puts its files.
    struct Paths: Hashable, Sendable {
        /// The certificates that the conductors' own are checked against, PEM.
        var authority: String
        /// The socket for statistics.
        var socket: String
    }

    /// The whole configuration, and the mark by which a running HAProxy tells that it has just this one.
    ///
    /// Connections are passed through as they are, so that TLS stays between clients and conductors. A conductor is up
    /// when its certificate is of the site's authority and `GET /fleet/v1`, which needs no token, answers 200; the
    /// server of another port when it takes connections. What is found down loses its connections, which would otherwise
    /// wait for a machine that is gone: an API after 1.75 s at the most, streams of agents, which cost more to open anew,
    /// after 4 s. `authorityDigest` makes a new authority a new configuration.
    /// The item has to be valid.
    static func text(for item: ProxyItem, paths: Paths, authorityDigest: String) -> ServiceConfiguration {
        var body = """
                # The site's authority: \(authorityDigest)
                user haproxy
                group haproxy
                chroot /var/lib/haproxy
                # Each agent of the site has one, and others may come when their proxy is lost.
                maxconn 8000
                stats socket \(paths.socket) mode 600 level admin expose-fd listeners
                stats timeout 5s
                # Connections that outlive a reload end then.
                hard-stop-after 12h

            defaults
                mode tcp
                timeout connect 1s
                timeout client 1h
                timeout server 1h
                timeout check 1s
                option clitcpka
                option srvtcpka
                # Whom one server does not take in time goes to another one at once.
                option redispatch 1
                retries 2

            frontend \(frontend)
                bind :::\(item.port) v4v6
                default_backend \(backend)

            backend \(backend)
                balance leastconn
                option httpchk GET /fleet/v1
                http-check expect status 200
                default-server check check-ssl verify required ca-file \(paths.authority) inter 500ms fastinter 250ms downinter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
            \(servers(item.conductors))

            """
        for pass in item.passes ?? [] { body += section(pass) }
        if let port = item.readinessPort { body += readiness(port) }
        let mark = ServiceConfiguration.mark(of: body)
        let head = """
            # Made by Muster's controller role; changes are overwritten.
            global
                description \(mark)

            """
        return ServiceConfiguration(text: head + body, mark: mark)
    }

    private static func section(_ pass: ProxyItem.Pass) -> String {
        """

        frontend \(pass.name)
            bind :::\(pass.port) v4v6
            default_backend \(pass.name)-servers

        backend \(pass.name)-servers
            balance leastconn
            default-server check inter 1s fastinter 500ms downinter 500ms fall 3 rise 1 on-marked-down shutdown-sessions
        \(servers(pass.servers))

        """
    }

    private static func readiness(_ port: UInt16) -> String {
        """

        frontend ready
            mode http
            bind 127.0.0.1:\(port)
            timeout client 5s
            monitor-uri /ready
            monitor fail if { nbsrv(\(backend)) lt 1 }

        """
    }

    private static func servers(_ addresses: [String]) -> String {
        addresses.map { "    server \($0) \($0)" }.joined(separator: "\n")
    }
}
