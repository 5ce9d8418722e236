import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Primitives
import ResourceModel
import Synchronization

/// The connection to one member, and the calls that are under way on it.
final class EtcdLink: Sendable {
    typealias Client = GRPCClient<HTTP2ClientTransport.Posix>
    typealias Instant = ContinuousClock.Instant

    /// Answers may be large: a full page has 500 documents of 128 KiB.
    static let callOptions: CallOptions = {
        var options = CallOptions.defaults
        options.maxRequestMessageBytes = 128 << 20
        options.maxResponseMessageBytes = 128 << 20
        return options
    }()

    /// A member that has no leader, or is cut off from it, refuses at once instead of letting its caller wait.
    static let needsLeader: GRPCCore.Metadata = ["hasleader": "true"]

    let address: EtcdAddress
    private let state: Mutex<State>

    private struct Connection: Sendable {
        let client: Client
        let task: Task<Void, Never>
    }

    private struct Call {
        let task: any Cancellable
        let begun: Instant
        let deadline: Instant?
        var abandoned: String?
    }

    private struct State {
        var connection: Connection
        var credentials: EtcdCredentials?
        var calls: [UInt64: Call] = [:]
        var nextNumber: UInt64 = 0
        var isClosed = false
    }

    /// Begins to connect; throws `StoreError.unavailable` when the certificates are none.
    init(_ address: EtcdAddress, _ credentials: EtcdCredentials?) throws(StoreError) {
        self.address = address
        state = Mutex(State(connection: try Self.connect(address, credentials), credentials: credentials))
    }

    deinit { state.withLock { $0.connection.task.cancel() } }

    /// Runs `body` on the connection. At `deadline`, or when the member is found dead, it is broken off.
    func call<Result: Sendable>(
        until deadline: Instant?, _ body: @escaping @Sendable (Client) async throws -> Result
    ) async throws(EtcdFailure) -> Result {
        let (number, task) = try begin(until: deadline, body)
        let result = await withTaskCancellationHandler {
            await task.result
        } onCancel: {
            task.cancel()
        }
        let call = state.withLock { $0.calls.removeValue(forKey: number) }
        switch result {
        case .success(let value): return value
        case .failure(let error):
            if let why = call?.abandoned { throw .unknown("\(address): \(why)") }
            throw EtcdFailure(error, member: address)
        }
    }

    private func begin<Result: Sendable>(
        until deadline: Instant?, _ body: @escaping @Sendable (Client) async throws -> Result
    ) throws(EtcdFailure) -> (UInt64, Task<Result, any Error>) {
        let begun = state.withLock { state -> (UInt64, Task<Result, any Error>)? in
            guard !state.isClosed else { return nil }
            let client = state.connection.client
            let task = Task { try await body(client) }
            state.nextNumber += 1
            state.calls[state.nextNumber] = Call(task: task, begun: .now, deadline: deadline)
            return (state.nextNumber, task)
        }
        guard let begun else { throw .notDone("it has been closed") }
        return begun
    }

    /// Breaks off the calls whose deadline is over.
    func breakOffOverdue(now: Instant) {
        abandon("no answer in time") { $0.deadline.map { $0 <= now } ?? false }
    }

    /// Breaks off the calls with a deadline that began before `moment`: what they have asked for went to a leader that is
    /// gone, and a member waits for its answer for seconds.
    func breakOff(begunBefore moment: Instant) {
        abandon("the leader has changed") { $0.deadline != nil && $0.begun < moment }
    }

    /// Breaks off all calls and connects anew: the member does not answer.
    func reset(_ why: String) {
        state.withLock { state in
            guard !state.isClosed, let fresh = try? Self.connect(address, state.credentials) else { return }
            state.connection.task.cancel()
            state.connection = fresh
        }
        abandon(why) { _ in true }
    }

    /// Connects anew with other certificates; calls that are under way end on the old connection.
    func use(_ credentials: EtcdCredentials) throws(StoreError) {
        let fresh = try Self.connect(address, credentials)
        let old = state.withLock { state -> Connection in
            defer { (state.connection, state.credentials) = (fresh, credentials) }
            return state.connection
        }
        old.client.beginGracefulShutdown()
    }

    /// Takes no more calls and breaks off those that do not end by themselves, such as watches; the others may end.
    func retire() {
        state.withLock { $0.isClosed = true }
        abandon("it is no member any more") { $0.deadline == nil }
    }

    /// Whether no call is under way.
    var isIdle: Bool { state.withLock { $0.calls.isEmpty } }

    /// Breaks off everything and takes no more calls.
    func close() {
        state.withLock { state in
            state.isClosed = true
            state.connection.task.cancel()
        }
        abandon("it has been closed") { _ in true }
    }

    private func abandon(_ why: String, _ isMeant: (Call) -> Bool) {
        let tasks = state.withLock { state -> [any Cancellable] in
            let numbers = state.calls.filter { isMeant($0.value) }.map(\.key)
            return numbers.compactMap { number in
                state.calls[number]?.abandoned = why
                return state.calls[number]?.task
            }
        }
        for task in tasks { task.cancel() }
    }

    private static func connect(
        _ address: EtcdAddress, _ credentials: EtcdCredentials?
    ) throws(StoreError) -> Connection {
        let config = HTTP2ClientTransport.Posix.Config.defaults { config in
            config.backoff = .init(initial: .milliseconds(100), max: .seconds(1), multiplier: 1.6, jitter: 0.2)
            config.connection.maxIdleTime = nil
            // etcd ends connections that ask more often than every five seconds, or without a call.
            config.connection.keepalive = .init(time: .seconds(10), timeout: .seconds(3), allowWithoutCalls: false)
        }
        let transport: HTTP2ClientTransport.Posix
        do {
            transport = try HTTP2ClientTransport.Posix(
                target: address.target, transportSecurity: credentials?.security ?? .plaintext, config: config)
        } catch {
            throw .unavailable(
                "the certificates for etcd cannot be used: \(String(describing: error).printable(limit: 300))")
        }
        let client = Client(transport: transport)
        return Connection(client: client, task: Task { try? await client.runConnections() })
    }
}

private protocol Cancellable: Sendable {
    func cancel()
}

extension Task: Cancellable {}
