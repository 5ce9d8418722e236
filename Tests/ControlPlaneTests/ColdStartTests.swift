import ControlPlane
import Primitives
import Testing

@Suite struct ColdStartTests {
    private static func states(_ origins: [String: ControllerState.AddressOrigin]) -> [String: ControllerState] {
        origins.mapValues {
            ControllerState(address: IPv4Address(0x0A4D_0003), isReady: true, isServing: true, origin: $0)
        }
    }

    @Test("Who has an address of its own comes back, and so does one of whom nothing is known yet")
    func nothing() {
        let states = Self.states(["a": .ownSetup, "b": .ownSetup, "d": .siteDHCP])
        #expect(ColdStart.warnings(for: ["a", "b", "c"], in: states).isEmpty)
    }

    @Test(
        "Without a quorum of own addresses a site does not come back; with one, the others come late",
        arguments: [
            (["a"], true), (["b"], nil), (["a", "b", "c"], false), (["a", "b", "d"], true),
            (["a", "d", "e", "b", "c"], true), (["a", "d", "b", "c", "x"], false),
        ] as [([String], Bool?)])
    func lent(_ names: [String], _ isLost: Bool?) {
        let states = Self.states([
            "a": .siteDHCP, "b": .ownSetup, "c": .ownSetup, "d": .siteDHCP, "e": .siteDHCP, "x": .ownSetup,
        ])
        let warnings = ColdStart.warnings(for: names, in: states)
        #expect(warnings.count == (isLost == nil ? 0 : 1))
        #expect(warnings.first?.contains("would not come back") == isLost)
        for name in names {
            let isNamed = warnings.first?.contains("muster node set \(name) --network") == true
            #expect(isNamed == (states[name]?.origin == .siteDHCP))
        }
    }

    @Test("Another DHCP server has to keep the address")
    func others() {
        let warnings = ColdStart.warnings(for: ["a"], in: Self.states(["a": .otherDHCP]))
        #expect(warnings.count == 1 && warnings.first?.contains("keep 10.77.0.3 for a") == true)
    }
}
