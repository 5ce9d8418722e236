import Primitives
import Testing
import WireCoding

@Suite struct WireCodingTests {
    @Test func numbersAreReadInBothOrders() throws {
        var reader = ByteReader([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
        #expect(try reader.readUInt8() == 1)
        #expect(try reader.readUInt16() == 0x0203)
        #expect(try reader.readUInt32() == 0x0405_0607)
        #expect(try reader.readUInt64() == 0x0809_0A0B_0C0D_0E0F)
        #expect(reader.isAtEnd)
        reader = ByteReader([2, 1, 4, 3, 2, 1, 8, 7, 6, 5, 4, 3, 2, 1])
        #expect(try reader.readUInt16(.little) == 0x0102)
        #expect(try reader.readUInt32(.little) == 0x0102_0304)
        #expect(try reader.readUInt64(.little) == 0x0102_0304_0506_0708)
    }

    @Test func whatIsWrittenIsReadAgain() throws {
        var random = SeededRandom(seed: 3)
        for order in [ByteOrder.big, .little] {
            for _ in 0..<100 {
                let number = random.next() >> UInt64.random(in: 0..<64, using: &random)
                var writer = ByteWriter()
                try writer.writeUInt8(UInt8(truncatingIfNeeded: number))
                try writer.writeUInt16(UInt16(truncatingIfNeeded: number), order)
                try writer.writeUInt32(UInt32(truncatingIfNeeded: number), order)
                try writer.writeUInt64(number, order)
                try writer.write(text: "é\(number)")
                try writer.writeZeros(3)
                var reader = ByteReader(writer.bytes)
                #expect(try reader.readUInt8() == UInt8(truncatingIfNeeded: number))
                #expect(try reader.readUInt16(order) == UInt16(truncatingIfNeeded: number))
                #expect(try reader.readUInt32(order) == UInt32(truncatingIfNeeded: number))
                #expect(try reader.readUInt64(order) == number)
                #expect(try reader.text("é\(number)".utf8.count) == "é\(number)")
                #expect(Array(reader.rest()) == [0, 0, 0])
                try reader.expectEnd()
            }
        }
    }

    @Test func aReadBeyondTheEndThrowsAndMovesNothing() throws {
        var reader = ByteReader([1, 2, 3])
        try reader.skip(1)
        #expect(throws: WireError(offset: 1, .tooShort(needed: 4, remaining: 2))) { try reader.readUInt32() }
        #expect(throws: WireError(offset: 1, .tooShort(needed: -1, remaining: 2))) { try reader.bytes(-1) }
        #expect(throws: WireError(offset: 1, .tooShort(needed: .max, remaining: 2))) { try reader.bytes(.max) }
        #expect(reader.offset == 1 && reader.remaining == 2)
        #expect(throws: WireError.self) { try reader.expectEnd() }
        #expect(throws: WireError.self) { try reader.seek(to: 4) }
        #expect(throws: WireError.self) { try reader.seek(to: -1) }
        try reader.seek(to: 3)
        #expect(reader.isAtEnd && reader.rest().isEmpty)
        try reader.expectEnd()
    }

    @Test func slicesCountFromTheirOwnStart() throws {
        var reader = ByteReader(([9, 9, 1, 2, 3, 9] as [UInt8])[2..<5])
        #expect(try Array(reader.peek(2)) == [1, 2])
        #expect(try Array(reader.bytes(2)) == [1, 2])
        #expect(reader.offset == 2)
        #expect(Array(reader.rest()) == [3])
        try reader.seek(to: 0)
        #expect(try reader.readUInt8() == 1)
    }

    @Test func textMustBeUTF8() throws {
        var reader = ByteReader([0x61, 0xFF, 0x62])
        #expect(try reader.text(1) == "a")
        #expect(throws: WireError(offset: 1, .invalid("the text is not UTF-8"))) { try reader.text(2) }
        #expect(reader.offset == 1)
    }

    @Test func aWriterKeepsToItsLimit() throws {
        var writer = ByteWriter(limit: 4)
        try writer.writeUInt16(0x0102)
        #expect(throws: WireError(offset: 2, .tooLong(limit: 4))) { try writer.writeUInt32(1) }
        #expect(writer.bytes == [1, 2])
        try writer.writeUInt16(0x0304, .little)
        #expect(writer.bytes == [1, 2, 4, 3] && writer.count == 4)
        #expect(throws: WireError.self) { try writer.writeUInt8(0) }
        try writer.write([])
    }

    @Test func writtenBytesCanBeReplaced() throws {
        var writer = ByteWriter()
        try writer.writeZeros(4)
        try writer.overwrite(at: 1, with: [7, 8])
        #expect(writer.bytes == [0, 7, 8, 0])
        for offset in [-1, 3, 5] {
            #expect(throws: WireError.self) { try writer.overwrite(at: offset, with: [1, 2]) }
        }
        #expect(writer.bytes == [0, 7, 8, 0])
    }

    @Test func errorsSayWhere() {
        let errors: [WireError.Reason] = [.tooShort(needed: 4, remaining: 1), .tooLong(limit: 9), .invalid("odd")]
        for reason in errors { #expect(WireError(offset: 17, reason).publicMessage.contains("byte 17")) }
    }
}
