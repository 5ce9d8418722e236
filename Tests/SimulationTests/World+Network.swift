import DHCP
import HTTPTypes
import Primitives

@testable import ConductorServer
@testable import Discovery

extension World {
    /// Sends a datagram: it may get lost, come twice, or come after others that were sent later.
    func send(_ name: String, _ deliver: @escaping () -> Void) {
        if strikes(.lostMessage) { return }
        for _ in 0..<(strikes(.doubledMessage) ? 2 : 1) {
            let late: Int64 = strikes(.delayedMessage) ? draw(100...15_000) : 0
            after(slowly(1...20) + late, name, deliver)
        }
    }

    /// A DHCP message as it arrives: with a byte changed now and then, which UDP's checksum does not always notice.
    func arriving(_ packet: DHCPPacket) -> DHCPPacket? {
        guard var bytes = try? packet.encoded(sizeMax: packet.operation == .request ? 1472 : 548) else { return nil }
        if strikes(.corruptedMessage) {
            let place = draw(0...bytes.count - 1)
            bytes[place] ^= 1 << draw(0...7 as ClosedRange<UInt8>)
        }
        return try? DHCPPacket(decoding: bytes)
    }

    /// Asks the conductor something over a connection, and hands on what comes of it, once.
    ///
    /// The request may get lost, be made twice (a connection that breaks is opened anew), or be done without its answer
    /// coming back; what the conductor refuses is told as its HTTP answer says.
    func request<Answer: Sendable>(
        _ machine: Machine, _ name: String, _ ask: @escaping @Sendable (Conductor) async throws -> Answer,
        then: @escaping (Result<Answer, RequestFailure>) -> Void
    ) {
        let once = Once(machine, then)
        if strikes(.lostMessage) { return fail(once, name, after: 10_000, "timed out") }
        // Whoever asks twice has given up the first answer.
        let isDoubled = strikes(.doubledMessage)
        for isLast in isDoubled ? [false, true] : [true] {
            after(slowly(2...80) + (isDoubled && isLast ? draw(50...5000) : 0), machine, "asks \(name)") { [self] in
                guard let conductor else { return fail(once, name, after: 500, "connection refused") }
                executor.begin { [self] in
                    let result: Result<Answer, RequestFailure>
                    do {
                        result = .success(try await ask(conductor))
                    } catch {
                        result = .failure(RequestFailure(answer: error))
                    }
                    guard isLast else { return }
                    if !conductor.isAlive { return fail(once, name, after: 200, "connection reset") }
                    if strikes(.lostAnswer) { return fail(once, name, after: 10_000, "timed out") }
                    after(slowly(2...80), machine, "is answered \(name)") { once.tell(result) }
                }
            }
        }
    }

    private func fail<Answer>(_ once: Once<Answer>, _ name: String, after delay: Int64, _ why: String) {
        after(delay, once.machine, "fails to ask \(name)") { once.tell(.failure(RequestFailure(message: why))) }
    }
}

/// An answer that is told once, and only to the boot that asked.
private final class Once<Answer: Sendable>: @unchecked Sendable {
    // SAFETY: touched on the simulation's thread only.
    let machine: Machine
    private let epoch: Int
    private var then: ((Result<Answer, RequestFailure>) -> Void)?

    init(_ machine: Machine, _ then: @escaping (Result<Answer, RequestFailure>) -> Void) {
        self.machine = machine
        epoch = machine.epoch
        self.then = then
    }

    func tell(_ result: Result<Answer, RequestFailure>) {
        guard machine.epoch == epoch, let then else { return }
        self.then = nil
        then(result)
    }
}

extension RequestFailure {
    /// What the ramdisk makes of the conductor's answer to an error.
    init(answer error: any Error) {
        let answer = MachineAnswer(error, requestID: "simulated")
        let code = answer.status.code
        self.init(
            message: answer.message, isSessionOver: code == 401,
            isRefusal: (400..<500).contains(code) && code != 401 && code != 408 && code != 429)
    }
}
