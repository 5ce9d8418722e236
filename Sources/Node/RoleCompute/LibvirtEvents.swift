import CLibvirt
import Glibc

/// libvirt's event loop, which keep-alives and callbacks need: one thread for the life of the process.
enum LibvirtEvents {
    /// Starts it, once; has to come before the first connection.
    static func start() { _ = thread }

    private static let thread: pthread_t = {
        virInitialize()
        // What fails is thrown; libvirt shall not also write it to standard error.
        virSetErrorFunc(nil) { _, _ in }
        virEventRegisterDefaultImpl()
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { _ in
                while true {
                    // An error here is lack of memory or descriptors: wait until there are some again. Nobody else runs
                    // on this thread, and nothing can be waited for that would tell.
                    if virEventRunDefaultImpl() < 0 { usleep(200_000) }
                }
            }, nil)
        if code == 0 { pthread_detach(thread) }
        return thread
    }()
}

/// What libvirt's thread tells of one connection.
final class ConnectionEvents: Sendable {
    /// Called on libvirt's thread when the connection ended or a domain came, went, started or stopped.
    let changed: @Sendable () -> Void

    init(changed: @escaping @Sendable () -> Void) { self.changed = changed }

    /// A reference that libvirt gives back by `release`.
    func retained() -> UnsafeMutableRawPointer { Unmanaged.passRetained(self).toOpaque() }

    static let release: virFreeCallback = { context in
        guard let context else { return }
        // SAFETY: made by `retained`, and given back once.
        Unmanaged<ConnectionEvents>.fromOpaque(context).release()
    }

    static let closed: virConnectCloseFunc = { _, _, context in tell(context) }

    static let domain: virConnectDomainEventCallback = { _, _, _, _, context in
        tell(context)
        return 0
    }

    private static func tell(_ context: UnsafeMutableRawPointer?) {
        guard let context else { return }
        // SAFETY: libvirt holds the reference that `retained` made.
        Unmanaged<ConnectionEvents>.fromOpaque(context).takeUnretainedValue().changed()
    }
}
