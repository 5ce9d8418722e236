import BareMetal
import CatalogBareMetal
import Primitives
import Testing

/// Who looks and who types at a console, and where consoles are.
@Suite struct ConsoleRoomTests {
    private var now: Timestamp { Timestamp(millisecondsSinceEpoch: 1_000_000) }

    @Test func `the first opens it and types, the next look, the last closes it`() {
        var room = ConsoleRoom()
        #expect(
            room.step(.joined(1, who: "ann", writes: true, takes: false), at: now) == [
                .tell(1, .seated(isWriter: true, writer: "ann")), .open(takesOver: false),
            ])
        #expect(room.step(.typed(1, count: 3), at: now).isEmpty, "nothing is sent before it is open")
        #expect(
            room.step(.joined(2, who: "bob", writes: true, takes: false), at: now) == [
                .tell(2, .seated(isWriter: false, writer: "ann"))
            ])
        #expect(room.step(.opened, at: now) == [.tell(1, .opened), .tell(2, .opened)])
        #expect(room.step(.typed(1, count: 3), at: now) == [.forward])
        #expect(room.step(.typed(1, count: 4), at: now.advanced(by: .seconds(5))) == [.forward])
        #expect(room.step(.typed(2, count: 1), at: now) == [.tell(2, .notTheWriter("ann"))])
        #expect(
            room.step(.left(1), at: now) == [
                .record(who: "ann", count: 7, from: now, until: now.advanced(by: .seconds(5))),
                .tell(2, .writerLeft("ann")),
            ])
        #expect(room.step(.left(1), at: now).isEmpty && room.step(.typed(1, count: 1), at: now).isEmpty)
        #expect(room.step(.typed(2, count: 1), at: now) == [.tell(2, .notTheWriter(nil))])
        #expect(room.step(.left(2), at: now) == [.close] && room.isEmpty)
        #expect(
            room.step(.joined(3, who: "eve", writes: false, takes: false), at: now) == [
                .tell(3, .seated(isWriter: false, writer: nil)), .open(takesOver: false),
            ], "it is opened anew")
    }

    @Test func `who takes over types from then on, and what the other typed is recorded`() {
        var room = ConsoleRoom()
        _ = room.step(.joined(1, who: "ann", writes: true, takes: false), at: now)
        _ = room.step(.opened, at: now)
        _ = room.step(.typed(1, count: 2), at: now)
        #expect(
            room.step(.joined(2, who: "bob", writes: true, takes: true), at: now) == [
                .record(who: "ann", count: 2, from: now, until: now), .tell(1, .writerIs("bob")),
                .tell(2, .seated(isWriter: true, writer: "bob")), .tell(2, .opened),
            ])
        #expect(room.step(.typed(1, count: 1), at: now) == [.tell(1, .notTheWriter("bob"))])
        #expect(room.step(.typed(2, count: 1), at: now) == [.forward])
        #expect(
            room.step(.ended("gone"), at: now) == [
                .record(who: "bob", count: 1, from: now, until: now), .dismiss(1, "gone"), .dismiss(2, "gone"),
            ])
        #expect(room.isEmpty && room.step(.opened, at: now).isEmpty)
    }

    @Test func `what is recorded stays open without anybody, and is opened again when it has ended`() {
        var room = ConsoleRoom()
        #expect(room.step(.recording(true), at: now) == [.open(takesOver: false)])
        #expect(room.step(.recording(true), at: now).isEmpty, "it is being opened")
        _ = room.step(.opened, at: now)
        #expect(
            room.step(.joined(1, who: "ann", writes: true, takes: false), at: now) == [
                .tell(1, .seated(isWriter: true, writer: "ann")), .tell(1, .opened),
            ])
        #expect(room.step(.left(1), at: now).isEmpty && !room.isEmpty && !room.lacksRecording)
        _ = room.step(.joined(2, who: "bob", writes: true, takes: false), at: now)
        #expect(room.step(.ended("gone"), at: now) == [.dismiss(2, "gone")])
        #expect(room.lacksRecording && !room.isEmpty)
        #expect(room.step(.recording(true), at: now) == [.open(takesOver: false)])
        _ = room.step(.opened, at: now)
        _ = room.step(.joined(3, who: "eve", writes: true, takes: false), at: now)
        #expect(room.step(.recording(false), at: now).isEmpty, "somebody looks")
        #expect(room.step(.left(3), at: now) == [.close] && room.isEmpty)
        _ = room.step(.recording(true), at: now)
        #expect(room.step(.recording(false), at: now) == [.close] && room.isEmpty)
    }

    @Test func `only so many look`() {
        var room = ConsoleRoom()
        for id in 1...UInt64(ConsoleRoom.viewerCountMax) {
            _ = room.step(.joined(id, who: "w\(id)", writes: true, takes: false), at: now)
        }
        let effects = room.step(.joined(99, who: "late", writes: true, takes: true), at: now)
        guard case .dismiss(99, let why) = effects.first, effects.count == 1 else {
            Issue.record("\(effects)")
            return
        }
        #expect(why.contains("8 look"))
        #expect(room.step(.left(99), at: now).isEmpty)
    }

    @Test func `consoles have three kinds of addresses`() throws {
        #expect(try ConsoleAddress("ipmi://10.0.0.1") == .ipmi(host: "10.0.0.1", port: 623))
        #expect(try ConsoleAddress("ipmi://[fd00::1]:6230") == .ipmi(host: "fd00::1", port: 6230))
        #expect(try ConsoleAddress("tcp://ts-1.example:7001") == .tcp(host: "ts-1.example", port: 7001))
        #expect(try ConsoleAddress("unix:///run/console/n1.sock") == .unix(path: "/run/console/n1.sock"))
        for text in ["ipmi://[fd00::1]:6230", "tcp://a:1", "unix:///x"] {
            #expect(try ConsoleAddress(text).description == text)
        }
        for text in [
            "", "ssh://a", "tcp://a", "tcp://:1", "tcp://a:0", "tcp://a:70000", "ipmi://", "ipmi://-a", "ipmi://a b",
            "unix://x", "unix:///" + String(repeating: "x", count: 120), "tcp://fd00::1:5", "ipmi://a/b",
        ] {
            #expect(throws: InvalidValue.self, "\(text)") { try ConsoleAddress(text) }
        }
        var bmc = BMC.Spec(address: "ipmi://10.0.0.1:6231", system: nil, username: "u", passwordSecret: "s")
        #expect(try ConsoleAddress(of: bmc) == .ipmi(host: "10.0.0.1", port: 6231))
        bmc.address = "https://10.0.0.1"
        #expect(try ConsoleAddress(of: bmc) == nil)
        bmc.console = "tcp://10.0.0.9:7001"
        #expect(try ConsoleAddress(of: bmc) == .tcp(host: "10.0.0.9", port: 7001))
    }
}
