import Primitives
import TestSupport
import Testing

@testable import ConductorServer

/// Nobody answers DHCP any more once it has been switched off.
@Suite struct DHCPSwitchTests {
    @Test func `it is off when the last one who answers has ended, and nobody begins then`() async throws {
        let (gate, end) = (DHCPSwitch(), StopSignal())
        var begun = 0
        let first = Task { await gate.answer { await end.wait() } }
        try await waitUntil { gate.answeringCount == 1 }
        let off = Task {
            try await gate.turnOff()
            return gate.answeringCount
        }
        try await waitUntil { !gate.position.isOn }
        await gate.answer { begun += 1 }
        #expect(gate.answeringCount == 1 && begun == 0, "one answers still, and no other begins")
        end.stop()
        await first.value
        #expect(try await off.value == 0)
        gate.turnOn()
        await gate.answer { begun += 1 }
        #expect(begun == 1, "it begins again")
    }

    @Test func `each time that it is switched off counts, also when it is on again before anybody looks`() async throws
    {
        let gate = DHCPSwitch()
        for turn in 1...3 {
            try await gate.turnOff()
            try await gate.turnOff()
            gate.turnOn()
            #expect(gate.position == DHCPSwitch.Position(isOn: true, turn: turn))
        }
    }

    @Test func `who does not end is told of, and it stays off`() async throws {
        let (gate, end) = (DHCPSwitch(), StopSignal())
        let first = Task { await gate.answer { await end.wait() } }
        try await waitUntil { gate.answeringCount == 1 }
        await #expect(throws: DHCPGoesOn.self) { try await gate.turnOff(within: .milliseconds(50)) }
        #expect(!gate.position.isOn)
        end.stop()
        await first.value
    }
}
