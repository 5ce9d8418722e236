import AgentProtocol
import CLinux
import Glibc
import LLDP
import Primitives
import Testing

@testable import HardwareInventory

/// Frames that come over a cable are heard, and only those.
@Suite(.enabled(if: geteuid() == 0, "links need root")) struct LLDPListenerTests {
    private static func part(_ type: UInt8, _ value: [UInt8]) -> [UInt8] { [type << 1, UInt8(value.count)] + value }

    private static func frame(_ name: String, port: String, time: UInt8 = 120, type: UInt16 = LLDPNeighbour.etherType)
        -> [UInt8]
    {
        LLDPNeighbour.address.bytes + [2, 0, 0, 0, 0, 9] + [UInt8(type >> 8), UInt8(type & 0xFF)]
            + part(1, [4, 2, 0, 0, 0, 0, 9]) + part(2, [5] + Array(port.utf8)) + part(3, [0, time])
            + part(5, Array(name.utf8)) + [0, 0]
    }

    @Test func aSwitchAtTheOtherEndIsHeard() throws {
        let names = (near: "mll\(getpid())a", far: "mll\(getpid())b")
        Shell.run("ip link add \(names.near) type veth peer name \(names.far)")
        defer { Shell.run("ip link delete \(names.near)") }
        Shell.run("ip link set \(names.near) up && ip link set \(names.far) up")
        let listener = LLDPListener(interfaces: [names.near, "no-such-card"])
        #expect(listener.neighbours().isEmpty, "a card on which nothing comes holds nothing up")
        let socket = clinux_packet_socket()
        defer { close(socket) }
        func send(_ frame: [UInt8]) {
            #expect(clinux_packet_send(socket, if_nametoindex(names.far), frame, frame.count) == 0)
        }
        // Not LLDP; LLDP that is cut off; and one after another, of which the newest counts.
        send(Self.frame("other", port: "p1", type: 0x0806))
        send(Array(Self.frame("cut", port: "p1").prefix(20)))
        #expect(listener.neighbours().isEmpty)
        send(Self.frame("old", port: "swp1"))
        send(Self.frame("leaf-3", port: "swp7"))
        #expect(listener.neighbours() == [names.near: .init(switchName: "leaf-3", port: "swp7")])
        #expect(listener.neighbours().count == 1, "it is still so")
        // No more than a few are read at a time; the rest waits.
        for number in 0..<40 { send(Self.frame("loud-\(number)", port: "swp8")) }
        #expect(listener.neighbours() == [names.near: .init(switchName: "loud-31", port: "swp8")])
        #expect(listener.neighbours() == [names.near: .init(switchName: "loud-39", port: "swp8")])
        send(Self.frame("gone", port: "swp9", time: 0))
        #expect(listener.neighbours().isEmpty, "a switch that says that it goes")
        Shell.run("ip link set \(names.near) down && ip link set \(names.near) up")
        // What is sent before the cable carries again is lost.
        var heard = listener.neighbours()
        for _ in 0..<100 where heard.isEmpty {
            send(Self.frame("again", port: "swp7"))
            usleep(20_000)
            heard = listener.neighbours()
        }
        #expect(heard == [names.near: .init(switchName: "again", port: "swp7")])
    }
}
