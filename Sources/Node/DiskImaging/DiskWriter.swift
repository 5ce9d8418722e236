import ImageChunks
import Primitives

/// Writes an image to a disk, chunk by chunk in disk order, and lets nothing touch the disk that was not verified.
///
/// The sectors that make a disk bootable (MBR and partition table) are held back and written last: a machine whose
/// power fails in between never starts half an image.
public final class DiskWriter {
    private static let writebackStep: UInt64 = 8 << 20
    private static let wipedLength: UInt64 = 1 << 20

    /// What is written.
    public let manifest: ChunkManifest
    /// The index of the chunk to write next; the number of chunks when all are written.
    public private(set) var next = 0

    private let device: BlockDevice
    private let decompressor = ZstdDecompressor()
    private var head: [UInt8]
    /// Everything in front of this is as in the image.
    private var position: UInt64 = 0
    private var flushed: UInt64 = 0

    /// A writer of `manifest` to `device`, which forgets at once what it held: its first and last MiB become zero.
    /// Throws `DiskError.tooSmall` when the image does not fit.
    public init(device: BlockDevice, manifest: ChunkManifest) throws(DiskError) {
        guard manifest.imageSize <= device.size else {
            throw .tooSmall(
                path: device.path, needed: ByteCount(bytes: manifest.imageSize),
                found: ByteCount(bytes: device.size))
        }
        self.device = device
        self.manifest = manifest
        head = [UInt8](repeating: 0, count: Int(min(UInt64(GPT.primaryLength), manifest.imageSize)))
        let edge = min(Self.wipedLength, device.size)
        try device.zero(0..<edge)
        try device.zero((device.size - edge)..<device.size)
        // Before anything of the image is there: a power cut must not bring the old table back over it.
        try device.sync()
    }

    /// Whether every chunk is written.
    public var isComplete: Bool { next == manifest.chunks.count }

    /// Verifies the stored form of chunk `next` and writes its bytes, and zeros up to it. Throws `DiskError`; after
    /// `.chunk` nothing was written and the chunk may come again.
    public func write(_ stored: [UInt8]) throws(DiskError) {
        precondition(!isComplete, "more chunks than the manifest has")
        let chunk = manifest.chunks[next]
        let bytes: [UInt8]
        do throws(ChunkError) {
            bytes = try decompressor.open(stored, as: chunk, index: next)
        } catch {
            throw .chunk(error)
        }
        try device.zero(position..<chunk.offset)
        let held = keepHead(of: bytes, at: chunk.offset)
        try bytes.withUnsafeBytes { raw in
            Result { () throws(DiskError) in
                try device.write(UnsafeRawBufferPointer(rebasing: raw[held...]), at: chunk.offset + UInt64(held))
            }
        }.get()
        position = chunk.end
        next += 1
        if position - flushed >= Self.writebackStep {
            device.startWriteback(flushed..<position)
            flushed = position
        }
    }

    /// The chunk to go on with after an interruption: reads the last chunk back and, when the disk did not keep it,
    /// goes one back. Throws `DiskError.notKept` when that one is lost as well.
    public func resume() throws(DiskError) -> Int {
        guard next > 0, try !isKept(next - 1) else { return next }
        guard next > 1, try isKept(next - 2) else { throw .notKept(path: device.path, chunk: next - 1) }
        next -= 1
        position = manifest.chunks[next - 1].end
        return next
    }

    /// Writes zeros up to the image's end, fits the partition table to the disk so that the last partition, which must
    /// have the name `growing`, ends with it, gives disk and partitions identifiers of their own, writes the table,
    /// syncs, and makes the kernel read the table. A nil name writes the first sectors as they are in the image.
    @discardableResult
    public func finish(growing name: String?, random: RandomSource = .system) throws(DiskError) -> GPT? {
        precondition(isComplete, "chunks are missing")
        try device.zero(position..<max(position, manifest.imageSize))
        position = manifest.imageSize
        var table: GPT?
        if let name {
            do throws(GPTError) {
                var read = try GPT(primary: head)
                try read.grow(name, toDiskSize: device.size)
                var random = random
                read.renew(using: &random)
                table = read
            } catch {
                throw .partitionTable(error)
            }
        }
        if let table { try device.write(table.backup(), at: table.backupOffset) }
        try device.sync()
        try device.write(table?.primary(mbr: Array(head.prefix(GPT.sector))) ?? head, at: 0)
        try device.sync()
        try device.rereadPartitions()
        return table
    }

    /// Keeps what of `bytes` belongs to the held back sectors; returns how many bytes that were.
    private func keepHead(of bytes: [UInt8], at offset: UInt64) -> Int {
        guard offset < UInt64(head.count) else { return 0 }
        let start = Int(offset)
        let count = min(bytes.count, head.count - start)
        head.replaceSubrange(start..<(start + count), with: bytes[0..<count])
        return count
    }

    /// Whether the disk itself, not the memory in front of it, has the chunk.
    private func isKept(_ index: Int) throws(DiskError) -> Bool {
        let chunk = manifest.chunks[index]
        try device.sync()
        device.dropCache(chunk.offset..<chunk.end)
        var bytes = [UInt8](repeating: 0, count: chunk.length)
        try bytes.withUnsafeMutableBytes { raw in
            Result { () throws(DiskError) in try device.read(into: raw, at: chunk.offset) }
        }.get()
        if chunk.offset < UInt64(head.count) {
            let start = Int(chunk.offset)
            let count = min(bytes.count, head.count - start)
            bytes.replaceSubrange(0..<count, with: head[start..<(start + count)])
        }
        return bytes.withUnsafeBytes { ChunkDigest(of: $0) } == chunk.raw
    }
}
