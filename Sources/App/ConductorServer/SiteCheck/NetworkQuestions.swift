import Glibc
import NIOPosix
import Primitives

/// Why a question over UDP had no answer that can be used.
enum QuestionError: UserFacingError, Hashable {
    case noAnswer
    case refused
    case noRoute
    case system(String)
    case notAnAnswer(String)

    var publicMessage: String {
        switch self {
        case .noAnswer: "nothing came back in time"
        case .refused: "nobody listens there"
        case .noRoute: "there is no route to it"
        case .system(let why): why
        case .notAnAnswer(let why): why
        }
    }
}

/// One datagram there, one back.
enum UDPQuestion {
    /// How long an answer may take; asked twice.
    static let patience: Duration = .seconds(2)

    /// Sends `question` and gives the first datagram that comes back; throws `QuestionError`.
    static func ask(
        _ host: IPv4Address, _ port: UInt16, _ question: [UInt8], patience: Duration = patience
    ) async throws -> [UInt8] {
        try await NIOThreadPool.singleton.runIfActive { try blocking(host, port, question, patience) }
    }

    private static func blocking(
        _ host: IPv4Address, _ port: UInt16, _ question: [UInt8], _ patience: Duration
    ) throws(QuestionError) -> [UInt8] {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { throw failure() }
        defer { close(socket) }
        guard connect(socket, host, port) else { throw failure() }
        for _ in 0..<2 {
            guard send(socket, question, question.count, 0) == question.count else { throw failure() }
            var poll = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            guard Glibc.poll(&poll, 1, Int32(patience.milliseconds)) > 0 else { continue }
            var buffer = [UInt8](repeating: 0, count: 2048)
            let count = recv(socket, &buffer, buffer.count, 0)
            guard count >= 0 else { throw failure() }
            return Array(buffer.prefix(count))
        }
        throw .noAnswer
    }

    private static func failure() -> QuestionError {
        switch errno {
        case ECONNREFUSED: .refused
        case ENETUNREACH, EHOSTUNREACH: .noRoute
        default: .system(String(cString: strerror(errno)))
        }
    }

    /// Connects a socket; false with `errno` when there is no route.
    static func connect(_ socket: Int32, _ host: IPv4Address, _ port: UInt16) -> Bool {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = host.value.bigEndian
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}

/// An ICMP echo (RFC 792).
enum Ping {
    /// Whether `host` answers two echoes, each within a second. Needs root.
    static func reach(_ host: IPv4Address) async -> Reach {
        (try? await NIOThreadPool.singleton.runIfActive { blocking(host) }) ?? .silent
    }

    private static func blocking(_ host: IPv4Address) -> Reach {
        let socket = Glibc.socket(
            AF_INET, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), Int32(IPPROTO_ICMP))
        guard socket >= 0 else { return .silent }
        defer { close(socket) }
        guard UDPQuestion.connect(socket, host, 0) else { return .noRoute }
        let number = UInt16(truncatingIfNeeded: getpid())
        for sequence in UInt8(1)...2 {
            let echo = request(number, sequence)
            guard send(socket, echo, echo.count, 0) == echo.count else {
                return errno == ENETUNREACH || errno == EHOSTUNREACH ? .noRoute : .silent
            }
            let end = ContinuousClock.now.advanced(by: .seconds(1))
            while ContinuousClock.now < end {
                var poll = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
                guard Glibc.poll(&poll, 1, 100) > 0 else { continue }
                var buffer = [UInt8](repeating: 0, count: 256)
                let count = recv(socket, &buffer, buffer.count, 0)
                if isReply(buffer.prefix(max(0, count)), number) { return .answers }
            }
        }
        return .silent
    }

    static func request(_ number: UInt16, _ sequence: UInt8) -> [UInt8] {
        var bytes: [UInt8] = [8, 0, 0, 0, UInt8(number >> 8), UInt8(number & 0xFF), 0, sequence]
        var sum = stride(from: 0, to: bytes.count, by: 2).reduce(UInt32(0)) {
            $0 + UInt32(bytes[$1]) << 8 + UInt32(bytes[$1 + 1])
        }
        while sum > 0xFFFF { sum = (sum & 0xFFFF) + sum >> 16 }
        bytes[2] = UInt8(~sum >> 8 & 0xFF)
        bytes[3] = UInt8(~sum & 0xFF)
        return bytes
    }

    static func isReply(_ packet: ArraySlice<UInt8>, _ number: UInt16) -> Bool {
        guard let first = packet.first else { return false }
        let message = packet.dropFirst(Int(first & 0x0F) * 4)
        guard message.count >= 8 else { return false }
        let bytes = Array(message)
        return bytes[0] == 0 && UInt16(bytes[4]) << 8 | UInt16(bytes[5]) == number
    }
}

/// One exchange with a time server (RFC 4330, and RFC 5905 section 14).
enum SNTP {
    static let port: UInt16 = 123
    private static let length = 48
    /// Seconds from 1900 to 1970.
    private static let epochOffset: Int64 = 2_208_988_800

    /// The question that a client sends at `now`.
    static func question(_ now: Timestamp) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: length)
        bytes[0] = 4 << 3 | 3
        bytes.replaceSubrange(40..<48, with: encoded(now))
        return bytes
    }

    /// How far the client's clock is behind the server's; throws `QuestionError` for what is not a server's answer.
    static func offset(of answer: [UInt8], sent: Timestamp, received: Timestamp) throws(QuestionError) -> Duration {
        guard answer.count >= length, answer[0] & 7 == 4 else {
            throw .notAnAnswer("what came back is not a time server's answer")
        }
        guard answer[1] != 0 else {
            let code = String(decoding: answer[12..<16].filter { (0x20...0x7E).contains($0) }, as: UTF8.self)
            throw .notAnAnswer("the time server refuses (\(code))")
        }
        guard answer[0] >> 6 != 3, answer[1] < 16 else {
            throw .notAnAnswer("the time server's own clock is not set yet")
        }
        guard Array(answer[24..<32]) == encoded(sent) else {
            throw .notAnAnswer("what came back answers another question")
        }
        let there = decoded(answer[32..<40]).since(sent).milliseconds
        let back = decoded(answer[40..<48]).since(received).milliseconds
        return .milliseconds((there + back) / 2)
    }

    static func encoded(_ time: Timestamp) -> [UInt8] {
        let milliseconds = time.millisecondsSinceEpoch
        let seconds = UInt32(truncatingIfNeeded: milliseconds / 1000 + epochOffset)
        let fraction = UInt32(truncatingIfNeeded: (UInt64(milliseconds % 1000) << 32) / 1000)
        return [seconds, fraction].flatMap { word in [24, 16, 8, 0].map { UInt8(word >> $0 & 0xFF) } }
    }

    static func decoded(_ bytes: ArraySlice<UInt8>) -> Timestamp {
        let words = [bytes.prefix(4), bytes.suffix(4)].map { $0.reduce(UInt64(0)) { $0 << 8 | UInt64($1) } }
        // Seconds since 1900 wrap in 2036; small ones are of the time after that.
        let seconds = Int64(words[0]) + (words[0] < 1 << 31 ? 1 << 32 : 0) - epochOffset
        return Timestamp(millisecondsSinceEpoch: seconds * 1000 + Int64(words[1] * 1000 >> 32))
    }
}

/// A question to a name server (RFC 1035 section 4.1).
enum DNSQuestion {
    static let port: UInt16 = 53

    /// A recursive question for `name`'s A record, or for the root's name servers when it is empty.
    static func bytes(_ name: String, number: UInt16) -> [UInt8] {
        var bytes: [UInt8] = [UInt8(number >> 8), UInt8(number & 0xFF), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        for label in name.split(separator: ".") where label.utf8.count < 64 {
            bytes.append(UInt8(label.utf8.count))
            bytes += Array(label.utf8)
        }
        return bytes + [0, 0, name.isEmpty ? 2 : 1, 0, 1]
    }

    /// The answer's code; throws `QuestionError` for what is not an answer to this question.
    static func code(of answer: [UInt8], number: UInt16) throws(QuestionError) -> UInt8 {
        guard answer.count >= 12, answer[2] & 0x80 != 0, UInt16(answer[0]) << 8 | UInt16(answer[1]) == number else {
            throw .notAnAnswer("what came back is not a name server's answer")
        }
        return answer[3] & 0x0F
    }

    static func words(_ code: UInt8) -> String {
        switch code {
        case 1: "FORMERR"
        case 2: "SERVFAIL: it cannot find out"
        case 4: "NOTIMP"
        case 5: "REFUSED: it does not serve this network"
        default: "code \(code)"
        }
    }
}
