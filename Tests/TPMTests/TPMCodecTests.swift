import Primitives
import TPM
import TestSupport
import Testing
import WireCoding

@Suite struct TPMCodecTests {
    @Test func `the templates are read as they are written`() throws {
        for template in EndorsementTemplate.allCases {
            #expect(try TPMPublic(decoding: try template.key.encoded()) == template.key)
        }
        #expect(try TPMPublic(decoding: try TPMPublic.attestationTemplate.encoded()) == .attestationTemplate)
    }

    @Test func `commands have the bytes of the specification`() throws {
        #expect(
            Hex.encode(try TPMCommand.pcrRead().bytes) == "8001000000140000017e" + "00000001" + "000b03ff0000")
        #expect(Hex.encode(try TPMCommand.flush(0x8000_0001).bytes) == "80010000000e00000165" + "80000001")
        #expect(
            Hex.encode(try TPMCommand.nvRead(0x01C0_000A, offset: 512, count: 256).bytes)
                == "8002" + "00000023" + "0000014e" + "01c0000a01c0000a" + "00000009" + "400000090000000000"
                + "01000200")
    }

    @Test func `a refusal tells the command and the code`() throws {
        let command = try TPMCommand.pcrRead()
        #expect(throws: TPMError.refused("PCR_Read", 0x101)) {
            try TPMAnswer([0x80, 0x01, 0, 0, 0, 10, 0, 0, 1, 1], to: command)
        }
        #expect(throws: TPMError.self) { try TPMAnswer([0x80, 0x01, 0, 0, 0, 11, 0, 0, 0, 0], to: command) }
    }

    @Test func `a length that no answer has is refused before it is waited for`() {
        #expect(throws: WireError.self) {
            try TPMAnswer.length(header: [0x80, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0])
        }
        #expect(throws: WireError.self) { try TPMAnswer.length(header: [0x80, 0x01, 0, 0, 0, 9, 0, 0, 0, 0]) }
        #expect(throws: WireError.self) { try TPMAnswer.length(header: [0x80]) }
    }

    @Test func `every reader is total`() throws {
        let command = try TPMCommand.pcrRead()
        var generator = SeededRandom(seed: 20)
        let good = try EndorsementTemplate.p384.key.encoded()
        for _ in 0..<3000 {
            var bytes = (0..<Int.random(in: 0...200, using: &generator)).map { _ in
                UInt8.random(in: .min ... .max, using: &generator)
            }
            if Bool.random(using: &generator) {
                bytes = Array(good.prefix(Int.random(in: 0...good.count, using: &generator)))
                if !bytes.isEmpty {
                    bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(
                        in: .min ... .max, using: &generator)
                }
            }
            _ = try? TPMPublic(decoding: bytes)
            _ = try? TPMQuote(decoding: bytes)
            _ = try? TPMQuote.signature(decoding: bytes)
            let answer = [0x80, 0x02, 0, 0, 0, UInt8(truncatingIfNeeded: bytes.count + 10), 0, 0, 0, 0] + bytes
            guard let read = try? TPMAnswer(answer, to: command) else { continue }
            _ = try? read.createdKey()
            _ = try? read.session()
            _ = try? read.nvSize()
            _ = try? read.bytes()
            _ = try? read.quote()
            _ = try? read.pcrValues()
        }
    }
}
