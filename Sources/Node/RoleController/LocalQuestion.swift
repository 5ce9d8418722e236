import Glibc
import LinuxSystem
import Primitives

/// One question to a program of this host over a socket, and its whole answer; blocks, 2 s at most for each part.
enum LocalQuestion {
    /// The most bytes of an answer.
    static let answerSizeMax = 4 << 20

    /// The answer to `question` at a UNIX socket. Throws `SystemError` when nobody answers.
    static func ask(_ question: String, at path: String, of program: String) throws(SystemError) -> [UInt8] {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let name = Array(path.utf8)
        guard name.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw SystemError("ask \(program) at \(path)", errno: ENAMETOOLONG)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        let socket = try Socket(AF_UNIX, "ask \(program) at \(path)")
        let code = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket.descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard code == 0 else { throw SystemError(socket.what, errno: errno) }
        return try socket.exchange(question + "\n")
    }

    /// The status and body of `GET path` at a port of 127.0.0.1 (HTTP/1.0, so that the answer ends with the
    /// connection). Throws `SystemError`.
    static func get(_ path: String, port: UInt16, of program: String) throws(SystemError) -> (Int, [UInt8]) {
        let socket = try opened(IPv4Address(0x7F00_0001), port: port, of: program)
        let answer = try socket.exchange("GET \(path) HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        let head = answer.prefix(64).split(separator: UInt8(ascii: " "), maxSplits: 2)
        guard head.count > 1, head[0].starts(with: Array("HTTP/".utf8)),
            let status = Int(String(decoding: head[1], as: UTF8.self)),
            let end = answer.firstRange(of: Array("\r\n\r\n".utf8))
        else { throw SystemError(socket.what, errno: EBADMSG) }
        return (status, Array(answer[end.upperBound...]))
    }

    /// Whether somebody takes connections there.
    static func isListening(_ address: IPv4Address, port: UInt16) -> Bool {
        (try? opened(address, port: port, of: "a port")) != nil
    }

    private static func opened(_ host: IPv4Address, port: UInt16, of program: String) throws(SystemError) -> Socket {
        let socket = try Socket(AF_INET, "ask \(program) at port \(port)")
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr = in_addr(s_addr: host.value.bigEndian)
        let code = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket.descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard code == 0 else { throw SystemError(socket.what, errno: errno) }
        return socket
    }

    /// A socket that closes with its object.
    private final class Socket {
        let descriptor: Int32
        let what: String

        init(_ family: Int32, _ what: String) throws(SystemError) {
            descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            self.what = what
            guard descriptor >= 0 else { throw SystemError(what, errno: errno) }
            var patience = timeval(tv_sec: 2, tv_usec: 0)
            let size = socklen_t(MemoryLayout<timeval>.size)
            setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, size)
            setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, size)
        }

        deinit { if descriptor >= 0 { close(descriptor) } }

        func exchange(_ question: String) throws(SystemError) -> [UInt8] {
            let bytes = Array(question.utf8)
            guard send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
                throw SystemError(what, errno: errno)
            }
            var answer: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while answer.count < answerSizeMax {
                let count = recv(descriptor, &buffer, min(buffer.count, answerSizeMax - answer.count), 0)
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw SystemError(what, errno: errno) }
                if count == 0 { break }
                answer += buffer[0..<count]
            }
            return answer
        }
    }
}
