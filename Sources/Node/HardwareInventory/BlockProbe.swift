import AgentProtocol
import CBlkid
import Glibc
import LinuxSystem
import Primitives

/// What libblkid recognises on a device or in an image file.
public enum BlockProbe {
    /// Looks at `path`: its partition table with the partitions, or its signature. Signatures inside the partitions are
    /// looked for at their place in the same device, so no partition devices are needed.
    /// Throws `SystemError` when it cannot be opened.
    public static func contents(_ path: String) throws(SystemError) -> InventoryReport.DiskContents {
        let file = try ProbedFile(path)
        let whole = try file.probe(path, offset: 0, size: 0)
        var contents = InventoryReport.DiskContents(
            partitionTable: whole.value("PTTYPE"), partitionTableUUID: whole.value("PTUUID"),
            signature: whole.signature, isAmbiguous: whole.isAmbiguous)
        guard contents.partitionTable != nil else { return contents }
        contents.partitions = whole.partitions(limit: InventoryReport.Limit.partitions)
        for index in contents.partitions.indices {
            let partition = contents.partitions[index]
            // A container of DOS logical partitions holds nothing of its own, and its size is that of a signature.
            guard partition.size.bytes > 1024 else { continue }
            // A partition may lie beyond the end of a disk that was cut short; the others are told all the same.
            let inside = try? file.probe(path, offset: partition.start, size: partition.size.bytes)
            contents.partitions[index].signature = inside?.signature
        }
        return contents
    }

    /// Every signature of the whole device at `path`, also where several contradict each other, and of partition tables;
    /// the signatures inside partitions are not looked for. Throws `SystemError` when the device cannot be opened or
    /// read: then nobody knows what is on it.
    public static func signatures(_ path: String) throws(SystemError) -> [DiskSignature] {
        try ProbedFile(path).signatures(path)
    }
}

/// An open device that is probed in parts.
private struct ProbedFile: ~Copyable {
    // SAFETY: the descriptor is closed once, with this value; probes are freed before it.
    private let descriptor: Int32

    init(_ path: String) throws(SystemError) {
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw SystemError("read \(path)", errno: errno) }
    }

    deinit { close(descriptor) }

    borrowing func probe(_ path: String, offset: UInt64, size: UInt64) throws(SystemError) -> Probe {
        guard let probe = Probe(descriptor, offset: Int64(clamping: offset), size: Int64(clamping: size)) else {
            throw SystemError("probe \(path)", errno: errno)
        }
        return probe
    }

    borrowing func signatures(_ path: String) throws(SystemError) -> [DiskSignature] {
        var start = [UInt8](repeating: 0, count: 4096)
        guard pread(descriptor, &start, start.count, 0) == start.count else {
            throw SystemError("read \(path)", errno: errno == 0 ? EIO : errno)
        }
        guard let handle = blkid_new_probe() else { throw SystemError("probe \(path)", errno: ENOMEM) }
        defer { blkid_free_probe(handle) }
        guard blkid_probe_set_device(handle, descriptor, 0, 0) == 0 else {
            throw SystemError("probe \(path)", errno: errno)
        }
        blkid_probe_enable_superblocks(handle, 1)
        // A signature with a wrong checksum is one that somebody may still want.
        blkid_probe_set_superblocks_flags(
            handle,
            BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID | BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE | BLKID_SUBLKS_BADCSUM)
        blkid_probe_enable_partitions(handle, 1)
        blkid_probe_set_partitions_flags(handle, BLKID_PARTS_FORCE_GPT)
        var found: [DiskSignature] = []
        while found.count < 64 {
            let result = blkid_do_probe(handle)
            if result == 1 { break }
            guard result == 0 else { throw SystemError("read \(path)", errno: errno == 0 ? EIO : errno) }
            func value(_ name: String) -> String? {
                var text: UnsafePointer<CChar>?
                guard blkid_probe_lookup_value(handle, name, &text, nil) == 0, let text else { return nil }
                let value = String(cString: text).printable(limit: InventoryReport.Limit.text)
                return value.isEmpty ? nil : value
            }
            if let type = value("TYPE") {
                found.append(
                    DiskSignature(
                        type: type, usage: value("USAGE") ?? "other", label: value("LABEL"), uuid: value("UUID")))
            } else if let type = value("PTTYPE") {
                found.append(DiskSignature(type: type, usage: "partitions", uuid: value("PTUUID")))
            }
        }
        return found
    }
}

/// One safe probe of a range of a device.
private final class Probe {
    // SAFETY: the probe belongs to this object alone and is freed with it; strings it lends are copied at once.
    private let handle: blkid_probe
    /// Whether signatures contradict each other.
    let isAmbiguous: Bool

    init?(_ descriptor: Int32, offset: Int64, size: Int64) {
        guard let handle = blkid_new_probe() else { return nil }
        self.handle = handle
        let isSet = blkid_probe_set_device(handle, descriptor, offset, size) == 0
        blkid_probe_enable_superblocks(handle, 1)
        blkid_probe_set_superblocks_flags(
            handle, BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID | BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE)
        blkid_probe_enable_partitions(handle, offset == 0 ? 1 : 0)
        blkid_probe_set_partitions_flags(handle, BLKID_PARTS_ENTRY_DETAILS)
        let found = isSet ? blkid_do_safeprobe(handle) : 1
        isAmbiguous = found == -2
        // -1 is an error of reading: a disk that cannot be read has no contents to show. The probe is freed by `deinit`,
        // which runs for an object that is whole, also when it is not given out.
        guard isSet else { return nil }
    }

    deinit { blkid_free_probe(handle) }

    func value(_ name: String) -> String? {
        var text: UnsafePointer<CChar>?
        guard blkid_probe_lookup_value(handle, name, &text, nil) == 0, let text else { return nil }
        return String(cString: text)
    }

    var signature: InventoryReport.Signature? {
        value("TYPE").map { type in
            InventoryReport.Signature(
                usage: value("USAGE"), type: type, label: value("LABEL"), uuid: value("UUID"))
        }
    }

    func partitions(limit: Int) -> [InventoryReport.Partition] {
        guard let list = blkid_probe_get_partitions(handle) else { return [] }
        let count = min(Int(blkid_partlist_numof_partitions(list)), limit)
        return (0..<max(0, count)).compactMap { index in
            guard let entry = blkid_partlist_get_partition(list, Int32(index)) else { return nil }
            func text(_ pointer: UnsafePointer<CChar>?) -> String? {
                pointer.map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
            }
            func bytes(_ sectors: blkid_loff_t) -> UInt64 { min(UInt64(clamping: sectors), .max >> 9) << 9 }
            let type =
                text(blkid_partition_get_type_string(entry))
                ?? "0x" + String(blkid_partition_get_type(entry), radix: 16)
            return InventoryReport.Partition(
                number: Int(blkid_partition_get_partno(entry)), name: text(blkid_partition_get_name(entry)),
                uuid: text(blkid_partition_get_uuid(entry)), type: type,
                start: bytes(blkid_partition_get_start(entry)),
                size: ByteCount(bytes: bytes(blkid_partition_get_size(entry))))
        }
    }
}
