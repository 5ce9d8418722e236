import CLinux
import Glibc
import Primitives

/// A pipe that closes with its object; the reading end does not block.
final class Pipe {
    let read: Int32
    private(set) var write: Int32

    init(_ name: String) throws(ProgramError) {
        var ends: [Int32] = [0, 0]
        let code = clinux_pipe(&ends)
        guard code == 0 else { throw .system(name, code) }
        (read, write) = (ends[0], ends[1])
    }

    /// A pipe from which `text` is read, and then its end. Throws `ProgramError.system` when that does not fit in.
    convenience init(_ name: String, holding text: SecretText, inputMax: Int) throws(ProgramError) {
        try self.init(name)
        var bytes = Array(text.revealed.utf8)
        defer { explicit_bzero(&bytes, bytes.count) }
        guard bytes.count <= inputMax else { throw .system(name, E2BIG) }
        guard Glibc.write(write, bytes, bytes.count) == bytes.count else { throw .system(name, errno) }
        closeWrite()
    }

    /// Set at the end of what is written.
    var isAtEnd = false

    var polled: pollfd { pollfd(fd: isAtEnd ? -1 : read, events: Int16(POLLIN), revents: 0) }

    func closeWrite() {
        if write >= 0 { close(write) }
        write = -1
    }

    deinit {
        close(read)
        closeWrite()
    }
}

/// What was read of a program, up to a limit.
struct Reader {
    let limit: Int
    var output: [UInt8] = []
    var errors: [UInt8] = []

    init(limit: Int) { self.limit = limit }

    var isTooMuch: Bool { output.count > limit || errors.count > limit }

    mutating func read(_ pipe: Pipe, into target: WritableKeyPath<Reader, [UInt8]>) {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while !pipe.isAtEnd, self[keyPath: target].count <= limit {
            let count = Glibc.read(pipe.read, &buffer, buffer.count)
            if count < 0 {
                if errno == EINTR { continue }
                if errno != EAGAIN { pipe.isAtEnd = true }
                return
            }
            if count == 0 { pipe.isAtEnd = true }
            self[keyPath: target] += buffer[0..<max(0, count)]
        }
    }
}

/// Threads for one piece of work that blocks.
enum OwnThread {
    private static let stackSize = 512 << 10

    private final class Work {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// Starts one; returns 0, or the errno with which the system refused, and then `work` is not done.
    static func start(_ work: @escaping @Sendable () -> Void) -> Int32 {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, stackSize)
        let held = Unmanaged.passRetained(Work(work))
        var thread = pthread_t()
        let code = pthread_create(
            &thread, &attributes,
            { pointer in
                guard let pointer else { return nil }
                Unmanaged<Work>.fromOpaque(pointer).takeRetainedValue().run()
                return nil
            }, held.toOpaque())
        if code != 0 { held.release() }
        return code
    }
}
