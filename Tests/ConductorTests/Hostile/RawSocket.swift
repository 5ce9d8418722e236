import Foundation
import Glibc

/// A TCP connection over loopback that says what no proper client says.
final class RawSocket {
    private let descriptor: Int32

    /// Connects to a port of 127.0.0.1 from another address of the loopback network, 127.0.0.`host`.
    init(from host: UInt8, to port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        func address(_ host: UInt8, _ port: Int) -> sockaddr_in {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = in_port_t(port).bigEndian
            address.sin_addr.s_addr = in_addr_t(0x7F00_0000 | UInt32(host)).bigEndian
            return address
        }
        func with(_ address: sockaddr_in, _ call: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
            withUnsafePointer(to: address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    call($0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        let result = with(address(host, 0)) { bind(descriptor, $0, $1) }
        guard result == 0, with(address(1, port), { connect(descriptor, $0, $1) }) == 0 else {
            let error = errno
            close(descriptor)
            throw POSIXError(POSIXErrorCode(rawValue: error) ?? .EIO)
        }
    }

    deinit { close(descriptor) }

    /// Sends what the kernel takes at once; false when the peer has closed.
    @discardableResult
    func send(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        let sent = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        return sent >= 0 || errno == EAGAIN
    }

    /// Whether the peer has not closed; what it has sent is passed over.
    var isOpen: Bool {
        var buffer = [UInt8](repeating: 0, count: 4096)
        var count = 1
        while count > 0 { count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT)) }
        return count < 0 && errno == EAGAIN
    }

    /// What comes until the peer closes or is silent for `seconds`; nil: it has closed and said nothing.
    func answer(seconds: Int = 10) -> String? {
        var time = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while all.count < 1 << 20 {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            all += buffer[..<count]
            // The status is all that is looked at.
            if all.count > 12 { break }
        }
        return all.isEmpty ? nil : String(decoding: all, as: UTF8.self)
    }
}

/// What the kernel tells of a process.
struct ProcessMemory {
    /// The most that was resident so far, MiB.
    let peak: Int
    /// Open files and sockets.
    let files: Int

    init(of process: Int32) throws {
        let text = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
        let line = text.split(separator: "\n").first { $0.hasPrefix("VmHWM:") } ?? ""
        peak = (Int(line.split(separator: " ").dropFirst().first ?? "") ?? 0) / 1024
        files = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").count
    }
}
