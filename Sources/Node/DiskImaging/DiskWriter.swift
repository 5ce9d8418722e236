import Glibc
import ImageChunks
import Primitives

/// Writes an image to a disk, chunk by chunk in disk order, and lets nothing touch the disk that was not verified.
///
/// Chunks are verified and unpacked by the caller's thread and written by another (`WriteBehind`), past the kernel's
/// cache where the disk allows that. The sectors that make a disk bootable (MBR and partition table) are held back and
/// written last: a machine whose power fails in between never starts half an image.
public final class DiskWriter {
    private static let wipedLength: UInt64 = 1 << 20

    /// What is written.
    public let manifest: ChunkManifest
    /// The index of the chunk to take next; the number of chunks when all were taken. The last few of them may still be
    /// on their way to the disk.
    public private(set) var next = 0

    private let device: BlockDevice
    private let behind: WriteBehind
    private let decompressor = ZstdDecompressor()
    private var head: [UInt8]

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
        behind = try WriteBehind(device: device)
    }

    /// Whether every chunk was taken.
    public var isComplete: Bool { next == manifest.chunks.count }

    /// Verifies the stored form of chunk `next`, unpacks it and has it written, and zeros up to it. Waits while the disk is
    /// slower than the caller. Throws `DiskError`: after `.chunk` nothing of the chunk is written and it may come again;
    /// any other is the disk's, perhaps of an earlier chunk.
    public func write(_ stored: UnsafeRawBufferPointer) throws(DiskError) {
        precondition(!isComplete, "more chunks than the manifest has")
        let chunk = manifest.chunks[next]
        let room = try behind.room(for: chunk.length, at: chunk.offset)
        do throws(ChunkError) {
            try decompressor.open(stored, as: chunk, index: next, into: room)
        } catch {
            throw .chunk(error)
        }
        holdBackHead(of: room, at: chunk.offset)
        behind.commit(chunk.length)
        next += 1
    }

    /// Verifies the stored form of chunk `next` as above.
    public func write(_ stored: [UInt8]) throws(DiskError) {
        try stored.withUnsafeBytes { raw in Result { () throws(DiskError) in try write(raw) } }.get()
    }

    /// The chunk to go on with after an interruption: waits for the disk, reads the last chunk back and, when the disk did
    /// not keep it, goes one back. Throws `DiskError.notKept` when that one is lost as well.
    public func resume() throws(DiskError) -> Int {
        try behind.drain()
        guard next > 0, try !isKept(next - 1) else { return next }
        guard next > 1, try isKept(next - 2) else { throw .notKept(path: device.path, chunk: next - 1) }
        next -= 1
        behind.restart(at: manifest.chunks[next - 1].end)
        return next
    }

    /// Writes zeros up to the image's end, fits the partition table to the disk so that the last partition, which must
    /// have the name `growing`, ends with it, gives disk and partitions identifiers of their own, writes the table,
    /// syncs, and makes the kernel read the table. A nil name writes the first sectors as they are in the image.
    @discardableResult
    public func finish(growing name: String?, random: RandomSource = .system) throws(DiskError) -> GPT? {
        precondition(isComplete, "chunks are missing")
        behind.zero(upTo: manifest.imageSize)
        try behind.drain()
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

    /// Keeps what of `bytes` belongs to the held back sectors, and makes it zero, as it is on the disk.
    private func holdBackHead(of bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) {
        guard offset < UInt64(head.count) else { return }
        let start = Int(offset)
        let count = min(bytes.count, head.count - start)
        head.replaceSubrange(start..<(start + count), with: bytes[0..<count])
        memset(bytes.baseAddress!, 0, count)
    }

    /// Whether the disk itself, not the memory in front of it, has the chunk.
    private func isKept(_ index: Int) throws(DiskError) -> Bool {
        let chunk = manifest.chunks[index]
        try device.sync()
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: chunk.length, alignment: BlockDevice.alignment)
        defer { bytes.deallocate() }
        if try !device.readDirect(into: bytes, at: chunk.offset) {
            device.dropCache(chunk.offset..<chunk.end)
            try device.read(into: bytes, at: chunk.offset)
        }
        if chunk.offset < UInt64(head.count) {
            let start = Int(chunk.offset)
            let count = min(bytes.count, head.count - start)
            bytes.copyBytes(from: head[start..<(start + count)])
        }
        return ChunkDigest(of: UnsafeRawBufferPointer(bytes)) == chunk.raw
    }
}
