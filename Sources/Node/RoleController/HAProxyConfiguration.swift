import AgentProtocol
import Primitives
import struct Crypto.SHA256

/// The text of HAProxy's configuration for a proxy (HAProxy 2.6 configuration manual); pure.
enum HAProxyConfiguration {
    /// The name of the back end in HAProxy's statistics.
    static let backend = "conductors"

    /// Where HAProxy finds and puts its files.
    struct Paths: Hashable, Sendable {
        /// The certificates that the conductors' own are checked against, PEM.
        var authority: String
        /// The socket for statistics.
        var socket: String
    }

    /// A conductor that cannot stand in a configuration.
    struct BadItem: UserFacingError, Hashable {
        let publicMessage: String
    }

    /// The whole configuration, and the mark by which a running HAProxy tells that it has just this one.
    ///
    /// Connections are passed through as they are, so that TLS stays between clients and conductors. A conductor is up
    /// when its certificate is of the site's authority and `GET /fleet/v1`, which needs no token, answers 200.
    /// `authorityDigest` makes a new authority a new configuration.
    static func text(
        for item: ProxyItem, paths: Paths, authorityDigest: String
    ) throws(BadItem) -> (text: String, mark: String) {
        let servers = try servers(item)
        let body = """
                # The site's authority: \(authorityDigest)
                user haproxy
                group haproxy
                chroot /var/lib/haproxy
                maxconn 4000
                stats socket \(paths.socket) mode 600 level admin expose-fd listeners
                stats timeout 5s
                # Connections that outlive a reload end then.
                hard-stop-after 12h

            defaults
                mode tcp
                timeout connect 5s
                timeout client 1h
                timeout server 1h
                timeout check 5s
                option clitcpka
                option srvtcpka
                option redispatch
                retries 3

            frontend api
                bind :::\(item.port) v4v6
                default_backend \(backend)

            backend \(backend)
                balance leastconn
                option httpchk GET /fleet/v1
                http-check expect status 200
                default-server check check-ssl verify required ca-file \(paths.authority) inter 2s fastinter 500ms downinter 1s fall 3 rise 2
            \(servers)

            """
        let mark = "muster-" + Hex.encode(Array(SHA256.hash(data: Array(body.utf8)).prefix(12)))
        let head = """
            # Made by Muster's controller role; changes are overwritten.
            global
                description \(mark)

            """
        return (head + body, mark)
    }

    private static func servers(_ item: ProxyItem) throws(BadItem) -> String {
        guard item.port > 0 else { throw BadItem(publicMessage: "The proxy's port must not be 0.") }
        guard !item.conductors.isEmpty else { throw BadItem(publicMessage: "The proxy knows no conductor.") }
        guard item.conductors.count <= ProxyItem.conductorCountMax else {
            throw BadItem(
                publicMessage: "\(item.conductors.count) conductors are too many; \(ProxyItem.conductorCountMax) fit.")
        }
        guard Set(item.conductors).count == item.conductors.count else {
            throw BadItem(publicMessage: "A conductor is named twice.")
        }
        var lines: [String] = []
        for conductor in item.conductors {
            let parts = conductor.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 2, let address = try? IPv4Address(String(parts[0])), let port = UInt16(parts[1]),
                port > 0
            else {
                throw BadItem(
                    publicMessage: "'\(conductor.printable(limit: 80))' is not the address and port of a conductor.")
            }
            lines.append("    server \(address):\(port) \(address):\(port)")
        }
        return lines.joined(separator: "\n")
    }
}
