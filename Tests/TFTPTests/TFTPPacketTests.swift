import Primitives
import Testing
import WireCoding

@testable import TFTP

@Suite struct TFTPPacketTests {
    private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test func `a request with every option is read, and its names in lower case`() throws {
        let bytes =
            [0, 1]
            + Self.bytes("//snponly.efi\0OCTET\0BlkSize\u{0}1468\0tsize\u{0}0\0timeout\u{0}3\0windowsize\u{0}16\0")
        guard case .readRequest(let request) = try TFTPPacket(decoding: bytes) else {
            Issue.record("not a read request")
            return
        }
        #expect(request.mode == "octet" && request.path == "snponly.efi")
        #expect(
            request.options == [
                TFTPOption("blksize", 1468), TFTPOption("tsize", 0), TFTPOption("timeout", 3),
                TFTPOption("windowsize", 16),
            ])
    }

    @Test(arguments: [
        ("a", "a"), ("//grubx64.efi", "grubx64.efi"), ("\\boot\\x.efi", "boot/x.efi"), ("./a//b/.", "a/b"),
        ("a/../b", nil), ("..", nil), ("\\..\\etc", nil), ("/", nil), ("...", "..."),
    ])
    func `names are freed of what only separates`(_ name: String, _ path: String?) {
        #expect(TFTPRequest(fileName: name).path == path)
    }

    @Test(arguments: [
        [], [0], [0, 0], [0, 7, 0, 0], [0, 1], [0, 1, 65], [0, 1, 0, 111, 0], [0, 1, 65, 0, 111],
        [0, 1, 255, 0, 111, 0],
        [0, 3, 0], [0, 4, 1], [0, 5, 0], [0, 1, 65, 0, 111, 0, 98, 0], [0, 1] + [UInt8](repeating: 65, count: 511),
        [0, 1] + [UInt8](repeating: 65, count: 256) + [0, 111, 0],
        [0, 6] + [UInt8]([[97, 0, 98, 0]].flatMap { $0 }) + [UInt8](repeating: 97, count: 300),
    ])
    func `what is no message is refused`(_ bytes: [UInt8]) {
        #expect(throws: WireError.self) { try TFTPPacket(decoding: bytes) }
    }

    @Test func `random bytes are a message or an error, and a message decodes from its own encoding`() {
        var random = SeededRandom(seed: 11)
        for _ in 0..<20_000 {
            var bytes: [UInt8] = [0, .random(in: 0...8, using: &random)]
            for _ in 0..<Int.random(in: 0...40, using: &random) {
                bytes.append(Bool.random(using: &random) ? 0 : .random(in: 0...255, using: &random))
            }
            exercise(bytes)
        }
    }

    private func exercise(_ bytes: [UInt8]) {
        guard let packet = try? TFTPPacket(decoding: bytes) else { return }
        // An error's text may hold what is no UTF-8, and is mended when read.
        if case .error = packet { return }
        #expect((try? TFTPPacket(decoding: packet.encoded)) == packet)
    }

    @Test func `options are lowered to the limits, and what is wrong is passed over`() {
        func negotiate(_ options: [TFTPOption]) -> (TFTPTransferOptions, [TFTPOption]) {
            TFTPTransferOptions.negotiate(options, size: 77, limits: TFTPLimits())
        }
        let large = negotiate([TFTPOption("blksize", 65464), TFTPOption("windowsize", 64), TFTPOption("tsize", 0)])
        #expect(large.0.blockSize == 1468 && large.0.windowSize == 16)
        #expect(large.1 == [TFTPOption("blksize", 1468), TFTPOption("windowsize", 16), TFTPOption("tsize", 77)])
        for (name, value) in [
            ("blksize", "7"), ("blksize", "65465"), ("blksize", "+512"), ("blksize", ""), ("windowsize", "0"),
            ("timeout", "0"), ("timeout", "256"), ("tsize", "x"), ("multicast", ""),
            ("blksize", "99999999999999999999"),
        ] {
            let found = negotiate([TFTPOption(name, value)])
            #expect(found.0 == TFTPTransferOptions() && found.1.isEmpty, "\(name)=\(value)")
        }
        let twice = negotiate([TFTPOption("blksize", 600), TFTPOption("blksize", 900)])
        #expect(twice.0.blockSize == 600 && twice.1.count == 1)
    }
}
