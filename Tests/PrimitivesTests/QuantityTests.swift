import Primitives
import Testing

@Suite struct QuantityTests {
    private static let sizes: [(UInt64, String)] = [
        (0, "0 B"), (1, "1 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (1100, "1 KiB"),
        (1127, "1.1 KiB"), (2047, "1.9 KiB"), (1_048_576, "1 MiB"), (1_048_575, "1023.9 KiB"),
        (8_589_934_592, "8 GiB"), (1_099_511_627_776, "1 TiB"), (1_125_899_906_842_624, "1 PiB"),
        (3_458_764_513_820_540_928, "3 EiB"), (UInt64.max, "15.9 EiB"), (500_107_862_016, "465.7 GiB"),
    ]

    @Test(arguments: sizes)
    func byteCountsArePrintedWithABinaryUnit(bytes: UInt64, printed: String) throws {
        #expect(ByteCount(bytes: bytes).description == printed)
        #expect(try roundTrip(ByteCount(bytes: bytes)).bytes == bytes)
    }

    @Test func byteCountsOfUnits() throws {
        #expect(ByteCount.kibibytes(16).bytes == 16_384)
        #expect(ByteCount.mebibytes(1).bytes == 1_048_576)
        #expect(ByteCount.gibibytes(8).bytes == 8_589_934_592)
        #expect(ByteCount.kibibytes(1) < ByteCount.mebibytes(1))
        #expect(try json(ByteCount(bytes: 12)) == "12")
        #expect(throws: DecodingError.self) { try decode(ByteCount.self, "-1") }
    }

    /// Vectors from `date -u -d @SECONDS +%FT%TZ`.
    private static let times: [(Int64, String)] = [
        (0, "1970-01-01T00:00:00Z"), (1_000_000_000, "2001-09-09T01:46:40Z"),
        (951_782_400, "2000-02-29T00:00:00Z"), (4_107_542_399, "2100-02-28T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"), (1_709_164_800, "2024-02-29T00:00:00Z"),
        (1_735_689_599, "2024-12-31T23:59:59Z"), (-1, "1969-12-31T23:59:59Z"), (-86_400, "1969-12-31T00:00:00Z"),
        (-2_208_988_800, "1900-01-01T00:00:00Z"), (253_402_300_799, "9999-12-31T23:59:59Z"),
    ]

    @Test(arguments: times)
    func timestampsArePrintedInUTC(seconds: Int64, printed: String) {
        #expect(Timestamp(millisecondsSinceEpoch: seconds * 1000).description == printed)
        // The whole second is printed, whatever the milliseconds.
        #expect(Timestamp(millisecondsSinceEpoch: seconds * 1000 + 999).description == printed)
    }

    @Test func timestampsAreMovedAndCompared() throws {
        let start = Timestamp(millisecondsSinceEpoch: 1_000)
        #expect(start.advanced(by: .milliseconds(1500)).millisecondsSinceEpoch == 2_500)
        #expect(start.advanced(by: .seconds(-2)).millisecondsSinceEpoch == -1_000)
        #expect(start.advanced(by: .seconds(5)).since(start) == .seconds(5))
        #expect(start < start.advanced(by: .milliseconds(1)))
        #expect(try json(start) == "1000")
        #expect(try roundTrip(start) == start)
    }

    @Test func durationsInMilliseconds() {
        #expect(Duration.seconds(3).milliseconds == 3000)
        #expect(Duration.microseconds(1999).milliseconds == 1)
        #expect(Duration.microseconds(-1999).milliseconds == -1)
        #expect(Duration.zero.milliseconds == 0)
    }

    @Test func theSystemsClockTellsTheTimeOfToday() {
        #expect(SystemWallClock().now > Timestamp(millisecondsSinceEpoch: 1_735_689_600_000))
    }

    @Test func generationsAndRevisionsCount() throws {
        #expect(Generation(1).next == Generation(2))
        #expect(Generation(1) < Generation(2) && Revision(1) < Revision(2))
        #expect(Revision.zero.number == 0)
        #expect(Generation(7).description == "7" && Revision(8).description == "8")
        #expect(try json(Generation(7)) == "7" && json(Revision(.max)) == "18446744073709551615")
        #expect(try roundTrip(Revision(.max)) == Revision(.max))
        #expect(throws: DecodingError.self) { try decode(Revision.self, "-1") }
    }
}
