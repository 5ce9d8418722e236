import AgentProtocol
import DiskImaging
import HardwareInventory
import ImageChunks
import NIOCore
import NIOPosix
import Primitives
import Synchronization

/// All that blocks: looks at the hardware and writes disks, on a thread of its own.
actor Imager {
    /// Chunks of one stream that are refused before the order fails.
    static let corruptionMax = 5

    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let executor: any SerialExecutor
    private let collect: @Sendable (Timestamp) -> InventoryReport
    /// The newest order that was taken back while a disk was worked on.
    private let withdrawn = Mutex<UInt64>(0)
    private var order: UInt64?
    private var disk: InventoryReport.Disk?
    private var lock: DiskLock?
    private var writer: DiskWriter?
    private var decoder: ChunkFrameDecoder?
    private var corruptions = 0

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(collect: @escaping @Sendable (Timestamp) -> InventoryReport) {
        self.collect = collect
        executor = group.next().executor
    }

    func inventory(now: Timestamp) -> InventoryReport { collect(now) }

    /// The TPM's keys; see `TPMWitness`.
    func offer(by witness: TPMWitness, bootID: String) throws -> AttestationOffer? {
        try witness.offer(bootID: bootID)
    }

    /// What the TPM answers; see `TPMWitness`.
    func answer(
        _ challenge: AttestationChallenge, to offer: AttestationOffer, by witness: TPMWitness
    ) throws -> AttestationEvidence? {
        try witness.answer(challenge, to: offer)
    }

    /// Begins `order`: chooses the disk. Throws `RootDiskError`.
    func choose(order: UInt64, hint: RootDiskHint, now: Timestamp) throws -> InventoryReport.Disk {
        drop()
        let chosen = try RootDiskChoice.choose(hint, among: collect(now).disks)
        self.order = order
        disk = chosen
        return chosen
    }

    /// Opens the chosen disk for `manifest` and wipes what it held; throws `DiskError`.
    func open(order: UInt64, manifest: ChunkManifest) throws {
        guard let disk, order == self.order else { throw CancellationError() }
        lock = DiskLock(path: disk.path)
        writer = try DiskWriter(device: BlockDevice(path: disk.path), manifest: manifest)
    }

    /// The chunk to ask for next; nil when all are written. Throws `DiskError`.
    func resume(order: UInt64) throws -> Int? {
        guard let writer, order == self.order else { throw CancellationError() }
        let next = try writer.resume()
        decoder = ChunkFrameDecoder(manifest: writer.manifest, next: next)
        return writer.isComplete ? nil : next
    }

    /// Writes the chunks that end in `bytes`; returns how many are written in all. Throws `DiskError`, `ChunkError`.
    func feed(order: UInt64, _ bytes: ByteBuffer) throws -> (done: Int, isComplete: Bool) {
        guard let writer, order == self.order, decoder != nil else { throw CancellationError() }
        bytes.withUnsafeReadableBytes { decoder?.append($0) }
        while let frame = try decoder?.take() {
            do {
                try frame.stored.withUnsafeBytes { raw in try writer.write(raw) }
                corruptions = 0
            } catch {
                corruptions += 1
                throw error
            }
        }
        return (writer.next, writer.isComplete)
    }

    /// Whether chunks were refused so often that fetching them again is of no use.
    var isHopeless: Bool { corruptions >= Self.corruptionMax }

    /// Completes the disk and writes the state partition; throws `DiskError`.
    func finish(order: UInt64, files: [StateFile]) throws {
        guard writer != nil, let disk, order == self.order else { throw CancellationError() }
        guard let state = try complete()?.entry(named: StatePartition.name) else {
            throw DiskError.noPartition(name: StatePartition.name)
        }
        try StatePartition.write(files, device: BlockDevice.partitionPath(disk: disk.path, number: state.number))
        drop()
    }

    /// Completes the image and lets go of the disk: while the whole disk is claimed, no partition can be mounted.
    /// No other reference to the writer may be alive when this returns, so it is a function of its own.
    private func complete() throws -> GPT? {
        defer { writer = nil }
        return try writer?.finish(growing: StatePartition.name)
    }

    /// Empties the disks of `order` one after the other; throws at the first that is not found, ambiguous or broken.
    ///
    /// All disks are found before the first is touched. Throws `RootDiskError`, `DiskError` or `CancellationError`.
    func clean(
        order number: UInt64, _ order: CleanOrder, now: Timestamp,
        report: @Sendable (DiscoveryProgress.Stage) -> Void
    ) throws -> [CleanedDisk] {
        drop()
        let found = collect(now).disks
        let disks = try order.disks.prefix(CleanOrder.diskCountMax).map { try RootDiskChoice.choose($0, among: found) }
        let cleaner = DiskCleaner { try BlockProbe.contents($0) }
        var cleaned: [CleanedDisk] = []
        for (index, disk) in disks.enumerated() {
            let path = disk.path
            report(.cleaning(disk: path, index: index + 1, count: disks.count, done: 0, total: 0))
            let lock = DiskLock(path: path)
            defer { withExtendedLifetime(lock) {} }
            let result = try cleaner.clean(
                path, serial: disk.serial, method: order.method,
                isWanted: { withdrawn.withLock { $0 < number } },
                progress: { done, total in
                    report(.cleaning(disk: path, index: index + 1, count: disks.count, done: done, total: total))
                })
            cleaned.append(result)
        }
        return cleaned
    }

    /// Has the work on `order` end soon, from outside of the thread that does it.
    nonisolated func withdraw(order: UInt64) { withdrawn.withLock { $0 = max($0, order) } }

    /// Lets go of the disk of `order`.
    func abandon(order: UInt64) {
        if order == self.order { drop() }
    }

    private func drop() {
        (writer, lock, decoder, disk, order) = (nil, nil, nil, nil, nil)
        corruptions = 0
    }
}
