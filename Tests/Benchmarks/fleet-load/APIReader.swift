import FoundationEssentials
import NIOCore
import NodeTransport
import Primitives

/// Reads the operators' API over one connection.
struct APIReader: Sendable {
    private let endpoint: Endpoint
    private let security: TransportSecurity
    private let token: String

    private struct Page: Decodable {
        var next: String?
        var nodes: [Node]?

        struct Node: Decodable {}
    }

    init(endpoint: String, ca: String, tokenFile: String) throws {
        self.endpoint = try Endpoint(endpoint)
        security = try TransportSecurity.tls(trustRootsPEM: textFile(ca))
        token = try textFile(tokenFile).split(whereSeparator: \.isWhitespace).first.map(String.init) ?? ""
    }

    func measure(_ path: String, count: Int, allPages: Bool) async throws -> Report {
        let connection = try await HTTPConnection.open(to: endpoint, security: security)
        var milliseconds: [Double] = []
        var bytes = 0
        let began = ContinuousClock.now
        for _ in 0..<count {
            let start = ContinuousClock.now
            var next: String? = ""
            while let marker = next {
                let separator = path.contains("?") ? "&" : "?"
                let answer = try await connection.send(
                    HTTPConnection.Request(
                        .get, marker.isEmpty ? path : "\(path)\(separator)marker=\(marker)",
                        headers: [(name: "Authorization", value: "Bearer \(token)")]), bodyLimit: 64 << 20)
                guard answer.status == 200 else { throw LoadError("\(answer.status): \(answer.text.prefix(200))") }
                bytes += answer.body.readableBytes
                next =
                    allPages
                    ? try JSONDecoder().decode(Page.self, from: Data(answer.body.readableBytesView)).next : nil
            }
            milliseconds.append((ContinuousClock.now - start).inMilliseconds)
        }
        var report = Report(
            "read", milliseconds: milliseconds, seconds: (ContinuousClock.now - began).inMilliseconds / 1000)
        report.bytes = bytes / max(count, 1)
        return report
    }
}
