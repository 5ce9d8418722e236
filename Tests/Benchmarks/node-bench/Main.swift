import AgentProtocol
import ArgumentParser
import DiskImaging
import Foundation
import Glibc
import HardwareInventory
import ImageChunks
import Primitives

/// What the ramdisk's agent costs on this machine, for `make bench-node`; each command prints one JSON object.
@main
struct NodeBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node-bench", abstract: "Measure the discovery agent's work on this machine.",
        subcommands: [Collect.self, Pack.self, Write.self])
}

/// Collects the inventory of this machine once.
struct Collect: ParsableCommand {
    func run() throws {
        let began = Usage()
        let report = HardwareCollector(agentVersion: "bench", bootInterface: nil).collect(now: SystemWallClock().now)
        let bytes = try JSONEncoder().encode(report).count
        try began.print(extra: ["inventoryBytes": bytes, "disks": report.disks.count])
    }
}

/// Cuts an image into the frames that a machine receives: OUT/frames and OUT/manifest.
struct Pack: ParsableCommand {
    @Argument(help: "A raw disk image.") var image: String
    @Option(help: "The folder for frames and manifest.") var out: String

    func run() throws {
        guard let frames = fopen("\(out)/frames", "w") else { throw ValidationError("\(out) cannot be written to") }
        defer { fclose(frames) }
        let manifest = try ChunkedImage.chunk(file: image) { _, stored in
            var length = UInt32(stored.count)
            guard fwrite(&length, 4, 1, frames) == 1, fwrite(stored, 1, stored.count, frames) == stored.count else {
                throw ValidationError("\(out)/frames: no space")
            }
        }
        try Data(manifest.encoded()).write(to: URL(filePath: "\(out)/manifest"))
    }
}

/// Writes packed frames to a file as the ramdisk writes them to a disk: verified, unpacked, zero runs skipped, synced.
struct Write: ParsableCommand {
    @Argument(help: "The folder that `pack` has filled.") var folder: String
    @Option(help: "The file in the disk's place; it must be as large as the image or larger.") var disk: String

    func run() throws {
        let began = Usage()
        let manifest = try ChunkManifest(
            decoding: Array(try Data(contentsOf: URL(filePath: "\(folder)/manifest"))))
        guard let frames = fopen("\(folder)/frames", "r") else { throw ValidationError("run pack first") }
        defer { fclose(frames) }
        let writer = try DiskWriter(device: BlockDevice(path: disk), manifest: manifest)
        var length: UInt32 = 0
        while fread(&length, 4, 1, frames) == 1 {
            let count = Int(length)
            let stored = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
                filled = fread(buffer.baseAddress, 1, count, frames)
            }
            try writer.write(stored)
        }
        _ = try writer.finish(growing: nil)
        try began.print(extra: ["chunks": manifest.chunks.count])
    }
}

/// What this process has used since a moment.
struct Usage {
    private let wall = ContinuousClock.now
    private let processor = Self.processor

    private static var usage: rusage {
        var usage = rusage()
        getrusage(Int32(RUSAGE_SELF.rawValue), &usage)
        return usage
    }

    private static var processor: Double {
        let now = usage
        return Double(now.ru_utime.tv_sec + now.ru_stime.tv_sec)
            + Double(now.ru_utime.tv_usec + now.ru_stime.tv_usec) / 1e6
    }

    func print(extra: [String: Int]) throws {
        let elapsed = ContinuousClock.now - wall
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
        var figures: [String: Double] = [
            "wallSeconds": seconds, "processorSeconds": Self.processor - processor,
            "wholeProcessorSeconds": Self.processor, "peakMebibytes": Double(Self.usage.ru_maxrss) / 1024,
        ]
        for (name, value) in extra { figures[name] = Double(value) }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        Swift.print(String(decoding: try encoder.encode(figures), as: UTF8.self))
    }
}
