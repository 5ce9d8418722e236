import Glibc
import Primitives

/// A TFTP client (RFC 1350, 2347, 2348, 7440) that does nothing with what comes, so that the server is what is measured.
struct TFTPFetch {
    let server: String
    let file: String
    let blockSize: Int
    let windowSize: Int

    /// Fetches the file `count` times, one after the other.
    func measure(_ count: Int) throws -> Report {
        var milliseconds: [Double] = []
        var bytes = 0
        let began = ContinuousClock.now
        for _ in 0..<count {
            let start = ContinuousClock.now
            bytes += try fetch()
            milliseconds.append((ContinuousClock.now - start).inMilliseconds)
        }
        var report = Report(
            "fetch", milliseconds: milliseconds, seconds: (ContinuousClock.now - began).inMilliseconds / 1000)
        report.bytes = bytes
        return report
    }

    private func fetch() throws -> Int {
        let socket = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        guard socket >= 0 else { throw LoadError("no socket") }
        defer { close(socket) }
        var size: Int32 = 4 << 20
        setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        var wait = timeval(tv_sec: 2, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
        var peer = try address()
        var request: [UInt8] = [0, 1] + Array(file.utf8) + [0] + Array("octet".utf8) + [0]
        request += Array("blksize".utf8) + [0] + Array("\(blockSize)".utf8) + [0]
        if windowSize > 1 { request += Array("windowsize".utf8) + [0] + Array("\(windowSize)".utf8) + [0] }
        send(request, socket, &peer)
        var buffer = [UInt8](repeating: 0, count: blockSize + 4)
        var expected = 1
        var inWindow = 0
        var total = 0
        var window = 1
        while true {
            let count = receive(&buffer, socket, &peer)
            guard count >= 4 else { throw LoadError("the server fell silent after \(expected - 1) blocks") }
            switch buffer[1] {
            case 6:
                window = Self.windowSize(in: buffer[2..<count])
                send([0, 4, 0, 0], socket, &peer)
            case 3:
                let number = Int(buffer[2]) << 8 | Int(buffer[3])
                guard number == expected & 0xFFFF else {
                    acknowledge(expected - 1, socket, &peer)
                    inWindow = 0
                    continue
                }
                total += count - 4
                inWindow += 1
                let isLast = count - 4 < blockSize
                if isLast || inWindow >= window {
                    acknowledge(expected, socket, &peer)
                    inWindow = 0
                }
                if isLast { return total }
                expected += 1
            default: throw LoadError("the server refuses: \(String(decoding: buffer[4..<count], as: UTF8.self))")
            }
        }
    }

    /// The window that the server agrees to: it may be smaller than what was asked for.
    private static func windowSize(in options: ArraySlice<UInt8>) -> Int {
        let words = options.split(separator: 0, omittingEmptySubsequences: false).map {
            String(decoding: $0, as: UTF8.self).lowercased()
        }
        guard let name = words.firstIndex(of: "windowsize"), name + 1 < words.count else { return 1 }
        return Int(words[name + 1]) ?? 1
    }

    private func acknowledge(_ block: Int, _ socket: Int32, _ peer: inout sockaddr_in) {
        send([0, 4, UInt8(block >> 8 & 0xFF), UInt8(block & 0xFF)], socket, &peer)
    }

    private func address() throws -> sockaddr_in {
        let parts = server.split(separator: ":")
        guard parts.count == 2, let port = UInt16(parts[1]) else { throw LoadError("a server is address:port") }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = try IPv4Address(String(parts[0])).value.bigEndian
        return address
    }

    private func send(_ bytes: [UInt8], _ socket: Int32, _ peer: inout sockaddr_in) {
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafePointer(to: &peer) { pointer in
            // SAFETY: a sockaddr_in is a sockaddr to the kernel.
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = sendto(socket, bytes, bytes.count, 0, $0, length)
            }
        }
    }

    private func receive(_ buffer: inout [UInt8], _ socket: Int32, _ peer: inout sockaddr_in) -> Int {
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        return withUnsafeMutablePointer(to: &peer) { pointer in
            // SAFETY: a sockaddr_in is a sockaddr to the kernel.
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                recvfrom(socket, &buffer, buffer.count, 0, $0, &length)
            }
        }
    }
}
