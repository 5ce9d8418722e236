import Glibc
import Synchronization

/// Writes to a disk on a thread of its own, in the order in which it was asked to, so that the disk works while the next
/// bytes are fetched, verified and unpacked.
///
/// Neighbouring pieces are put together into large writes. At most `bufferCount` buffers are in use; who fills them waits
/// for the disk. The first error stays: nothing is written after it, and everybody who asks is told.
final class WriteBehind {
    /// The largest write; no piece may be larger.
    static let bufferLength = 1 << 20
    /// Buffers in memory: one is filled, one waits, one is written.
    static let bufferCount = 3
    /// The longest gap between two pieces that is sent as zeros with them instead of being a task of its own.
    static let joinedGap = 64 << 10

    private let queue: WriteQueue
    private let thread: pthread_t
    /// The buffer that is being filled, where it goes on the disk, and how far it is filled.
    private var current: WriteQueue.Buffer?
    private var start: UInt64 = 0
    private var filled = 0
    /// What lies in front of this was asked for.
    private var position: UInt64 = 0

    /// Starts the thread; throws `DiskError` when there can be none.
    init(device: BlockDevice) throws(DiskError) {
        let queue = WriteQueue(device: device)
        var thread = pthread_t()
        let context = Unmanaged.passRetained(queue)
        let code = pthread_create(
            &thread, nil,
            { context in
                // SAFETY: made by `passRetained` for this thread, which takes it over once.
                if let context { Unmanaged<WriteQueue>.fromOpaque(context).takeRetainedValue().work() }
                return nil
            }, context.toOpaque())
        guard code == 0 else {
            context.release()
            throw .failed(action: "start a thread to write to", path: device.path, errno: code)
        }
        self.queue = queue
        self.thread = thread
    }

    /// Waits for the write under way; what was not begun is forgotten.
    deinit {
        queue.abandon()
        pthread_join(thread, nil)
    }

    /// Room for a piece of `length` bytes at `offset` of the disk; what lies between it and the piece before becomes zero.
    ///
    /// The room lasts until the next call, and is written if `commit` comes first. Waits while all buffers are in use;
    /// throws the disk's first error.
    func room(for length: Int, at offset: UInt64) throws(DiskError) -> UnsafeMutableRawBufferPointer {
        precondition(length <= Self.bufferLength && offset >= position, "a piece is too long or lies too far in front")
        let gap = offset - position
        if let current, gap <= Self.joinedGap, filled + Int(gap) + length <= Self.bufferLength {
            memset(current.memory + filled, 0, Int(gap))
            filled += Int(gap)
            position = offset
            return UnsafeMutableRawBufferPointer(start: current.memory + filled, count: length)
        }
        zero(upTo: offset)
        let buffer = try queue.take()
        (current, start, filled) = (buffer, offset, 0)
        return UnsafeMutableRawBufferPointer(start: buffer.memory, count: length)
    }

    /// Has the first `length` bytes of the room written.
    func commit(_ length: Int) {
        filled += length
        position += UInt64(length)
    }

    /// Has what lies between the last piece and `offset` read as zero.
    func zero(upTo offset: UInt64) {
        submit()
        guard position < offset else { return }
        queue.append(.zero(position..<offset))
        position = offset
    }

    /// Goes back (or on) to `offset`: the next piece may lie there.
    func restart(at offset: UInt64) {
        submit()
        position = offset
    }

    /// Waits until the disk was given everything; throws its first error.
    func drain() throws(DiskError) {
        submit()
        try queue.drain()
    }

    private func submit() {
        guard let current else { return }
        queue.append(.write(current, count: filled, offset: start))
        self.current = nil
    }
}

/// What is to be written, between one thread that fills buffers and one that writes them.
private final class WriteQueue: Sendable {
    /// A buffer of `WriteBehind.bufferLength` bytes.
    // SAFETY: it belongs to whoever has taken it out of the queue last, and its memory to the queue.
    struct Buffer: @unchecked Sendable {
        let memory: UnsafeMutableRawPointer
    }

    enum Work {
        case write(Buffer, count: Int, offset: UInt64)
        case zero(Range<UInt64>)
        /// Tells that everything before was done.
        case mark
        case end
    }

    private struct State {
        var works: [Work] = []
        var free: [Buffer] = []
        var failure: DiskError?
        var isAbandoned = false
    }

    private let device: BlockDevice
    private let buffers: [Buffer]
    private let state: Mutex<State>
    private let due = Semaphore(0)
    private let spare = Semaphore(WriteBehind.bufferCount)
    private let marked = Semaphore(0)

    init(device: BlockDevice) {
        self.device = device
        buffers = (0..<WriteBehind.bufferCount).map { _ in
            Buffer(
                memory: .allocate(byteCount: WriteBehind.bufferLength, alignment: BlockDevice.alignment))
        }
        state = Mutex(State(free: buffers))
    }

    deinit { for buffer in buffers { buffer.memory.deallocate() } }

    /// A buffer to fill.
    func take() throws(DiskError) -> Buffer {
        spare.wait()
        let (buffer, failure) = state.withLock { ($0.free.removeLast(), $0.failure) }
        guard let failure else { return buffer }
        give(back: buffer)
        throw failure
    }

    /// Hands `work` to the thread. There is never much: each write has one of few buffers, and each zero is followed by one.
    func append(_ work: Work) {
        state.withLock { $0.works.append(work) }
        due.post()
    }

    func drain() throws(DiskError) {
        append(.mark)
        marked.wait()
        if let failure = state.withLock({ $0.failure }) { throw failure }
    }

    func abandon() {
        state.withLock { $0.isAbandoned = true }
        append(.end)
    }

    /// Does what is due until `end`.
    func work() {
        while true {
            due.wait()
            switch state.withLock({ $0.works.removeFirst() }) {
            case .write(let buffer, let count, let offset):
                perform { () throws(DiskError) in
                    try device.writeDirect(UnsafeRawBufferPointer(start: buffer.memory, count: count), at: offset)
                }
                give(back: buffer)
            case .zero(let range):
                perform { () throws(DiskError) in try device.zero(range) }
            case .mark: marked.post()
            case .end: return
            }
        }
    }

    private func give(back buffer: Buffer) {
        state.withLock { $0.free.append(buffer) }
        spare.post()
    }

    private func perform(_ body: () throws(DiskError) -> Void) {
        guard state.withLock({ $0.failure == nil && !$0.isAbandoned }) else { return }
        do throws(DiskError) {
            try body()
        } catch {
            state.withLock { $0.failure = error }
        }
    }
}

/// A counting semaphore (sem_init(3)) between the threads of this process.
// SAFETY: the memory is made and freed with this object, and used by the functions of sem_overview(7) only.
private final class Semaphore: @unchecked Sendable {
    private let memory = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init(_ count: Int) {
        let code = sem_init(memory, 0, UInt32(count))
        precondition(code == 0, "no semaphore")
    }

    deinit {
        sem_destroy(memory)
        memory.deallocate()
    }

    func post() { sem_post(memory) }

    func wait() { while sem_wait(memory) != 0, errno == EINTR {} }
}
