import Glibc
import Synchronization

/// Takes keys as they are pressed, without echo; the terminal is as it was before once this is ended, also by a signal.
///
/// One at a time. Ctrl-C is a key like any other meanwhile.
struct RawMode {
    /// Puts the terminal of standard input into raw mode; nil: standard input is none, or another has done so.
    static func begin(farewell: String = "") -> RawMode? {
        var before = termios()
        guard isatty(STDIN_FILENO) == 1, tcgetattr(STDIN_FILENO, &before) == 0, !RawModeState.isOn else { return nil }
        RawModeState.before = before
        RawModeState.farewell = Array(farewell.utf8)
        RawModeState.isOn = true
        for signal in [SIGTERM, SIGHUP, SIGINT, SIGQUIT] {
            Glibc.signal(signal) { number in
                RawModeState.restore()
                Glibc.signal(number, SIG_DFL)
                raise(number)
            }
        }
        var raw = before
        cfmakeraw(&raw)
        // What was typed ahead is kept.
        tcsetattr(STDIN_FILENO, TCSANOW, &raw)
        return RawMode()
    }

    /// Makes the terminal what it was.
    func end() {
        RawModeState.restore()
        for signal in [SIGTERM, SIGHUP, SIGINT, SIGQUIT] { Glibc.signal(signal, SIG_DFL) }
    }
}

/// What a signal's handler needs; set before the handler is.
private enum RawModeState {
    // SAFETY: set by the one thread that enters raw mode, before the handler that reads it is set.
    nonisolated(unsafe) static var before = termios()
    // SAFETY: set by the one thread that enters raw mode, before the handler that reads it is set.
    nonisolated(unsafe) static var farewell: [UInt8] = []
    // SAFETY: set by the one thread that enters raw mode, before the handler that reads it is set.
    nonisolated(unsafe) static var isOn = false

    /// tcsetattr(3) and write(2) may be called in a signal's handler.
    static func restore() {
        guard isOn else { return }
        isOn = false
        farewell.withUnsafeBytes { _ = write(STDOUT_FILENO, $0.baseAddress, $0.count) }
        tcsetattr(STDIN_FILENO, TCSADRAIN, &before)
    }
}

/// Reads standard input on a thread of its own.
final class KeyReader: Sendable {
    /// What was typed, in the pieces in which it came; ends with standard input.
    let keys: AsyncStream<[UInt8]>
    private let isEnded = Atomic<Bool>(false)

    init() {
        let (keys, continuation) = AsyncStream.makeStream(of: [UInt8].self, bufferingPolicy: .bufferingOldest(1024))
        self.keys = keys
        Thread.start { [weak self] in
            var bytes = [UInt8](repeating: 0, count: 4096)
            while let self, !self.isEnded.load(ordering: .relaxed) {
                var wanted = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
                guard poll(&wanted, 1, 100) > 0 else { continue }
                let count = read(STDIN_FILENO, &bytes, bytes.count)
                guard count > 0 else { break }
                continuation.yield(Array(bytes[..<count]))
            }
            continuation.finish()
        }
    }

    func end() { isEnded.store(true, ordering: .relaxed) }

    private enum Thread {
        static func start(_ body: @escaping @Sendable () -> Void) {
            let boxed = Unmanaged.passRetained(Body(body))
            var thread = pthread_t()
            let code = pthread_create(
                &thread, nil,
                { argument in
                    guard let argument else { return nil }
                    Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                    return nil
                }, boxed.toOpaque())
            guard code == 0 else {
                boxed.release()
                return
            }
            pthread_detach(thread)
        }

        private final class Body: Sendable {
            let run: @Sendable () -> Void
            init(_ run: @escaping @Sendable () -> Void) { self.run = run }
        }
    }
}
