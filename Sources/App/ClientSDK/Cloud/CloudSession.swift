import AsyncHTTPClient
import FleetContract
import FoundationEssentials
import NIOCore
import NIOHTTP1
import Primitives

/// Signs in to a cloud when a token is needed, and anew when one has ended or is refused.
actor CloudSession {
    /// What calls of the fleet are made with.
    struct Ticket: Sendable {
        /// For `X-Auth-Token`.
        var token: String
        /// When it ends.
        var ends: Timestamp
        /// The fleet's address by the cloud's catalog; nil: the catalog has none.
        var api: String?
    }

    /// A token that ends sooner is not begun with any more: what it is sent with may take as long to arrive.
    static let reserve: Duration = .seconds(60)

    private let access: CloudAccess
    private let clock: any WallClock
    private let post: @Sendable (HTTPClientRequest) async throws -> HTTPClientResponse
    private var signingIn: Task<Ticket, any Error>?
    private var ticket: Ticket?

    /// A session whose requests `post` sends.
    init(
        _ access: CloudAccess, clock: any WallClock,
        post: @escaping @Sendable (HTTPClientRequest) async throws -> HTTPClientResponse
    ) {
        self.access = access
        self.clock = clock
        self.post = post
    }

    /// A token in force and another one than `refused`. Those who ask at once share one sign-in.
    ///
    /// Throws `ClientError`.
    func ticket(refused: String? = nil) async throws -> Ticket {
        if let ticket, ticket.token != refused, clock.now.advanced(by: Self.reserve) < ticket.ends { return ticket }
        if let signingIn { return try await signingIn.value }
        let task = Task { try await signIn() }
        signingIn = task
        defer { signingIn = nil }
        let new = try await task.value
        ticket = new
        return new
    }

    private func signIn() async throws -> Ticket {
        var request = HTTPClientRequest(url: access.authURL + "/auth/tokens")
        request.method = .POST
        request.headers.add(name: "User-Agent", value: "muster")
        request.headers.add(name: "Content-Type", value: "application/json")
        request.body = .bytes(ByteBuffer(bytes: access.signIn.text))
        let response = try await post(request)
        let body = try await response.body.collect(upTo: Int(FleetClient.replySizeMax.bytes))
        let answer = (try? JSONDecoder().decode(JSONValue.self, from: Data(body.readableBytesView))) ?? .null
        switch response.status.code {
        case 200..<300: return try ticket(of: answer, response.headers.first(name: "X-Subject-Token"))
        case 401:
            throw ClientError.unauthorized(
                "The cloud '\(access.name)' did not take who \(access.file) says you are: the \(access.proof.noun) may be "
                    + "wrong, off or changed since. Correct the file, or use an operator's token with --token-file.")
        case let status:
            let said = answer["error"]?["message"]?.string ?? "status \(status)"
            let message = "The cloud '\(access.name)' (\(access.authURL)) gave no token: \(said.printable(limit: 300))"
            throw status >= 500
                ? ClientError.failed(status: status, message) : .badRequest(code: "sign_in", message)
        }
    }

    private func ticket(of answer: JSONValue, _ token: String?) throws -> Ticket {
        guard let token, let content = answer["token"], let expires = content["expires_at"]?.string,
            let ends = try? Timestamp(rfc3339: "\(expires.prefix(19))Z")
        else {
            throw ClientError.unreadable(
                "\(access.authURL) does not answer as an identity API (v3) does; is auth_url of the cloud "
                    + "'\(access.name)' in \(access.file) right?")
        }
        return Ticket(token: token, ends: ends, api: fleet(in: content["catalog"]?.array ?? []))
    }

    /// The fleet's address without its path.
    private func fleet(in catalog: [JSONValue]) -> String? {
        let endpoints = catalog.filter { $0["type"]?.string == FleetPath.serviceType }
            .flatMap { $0["endpoints"]?.array ?? [] }
        let found = endpoints.first { endpoint in
            endpoint["interface"]?.string == access.interface
                && (access.region == nil || endpoint["region_id"]?.string == access.region)
        }
        guard let url = found?["url"]?.string, url.hasSuffix(FleetPath.root) else { return nil }
        return String(url.dropLast(FleetPath.root.count))
    }
}

extension CloudAccess.Proof {
    /// What it is called.
    fileprivate var noun: String {
        switch self {
        case .password: "user or the password"
        case .applicationCredential: "application credential"
        case .token: "token"
        }
    }
}
