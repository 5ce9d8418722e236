import ControlPlane
import Primitives
import Testing

@Suite struct LentAddressesTests {
    @Test("Another DHCP server has to keep the address; of others nothing is told")
    func others() {
        func state(_ address: IPv4Address?, isLentByOthers: Bool) -> ControllerState {
            ControllerState(address: address, isReady: true, isServing: true, isLentByOthers: isLentByOthers)
        }
        let address = IPv4Address(0x0A4D_0003)
        let states = [
            "a": state(address, isLentByOthers: true), "b": state(address, isLentByOthers: false),
            "c": state(nil, isLentByOthers: true), "d": state(address, isLentByOthers: true),
        ]
        let warnings = LentAddresses.warnings(for: ["b", "a", "c", "x"], in: states)
        #expect(warnings.count == 1 && warnings.first?.contains("keep 10.77.0.3 for a") == true, "\(warnings)")
        #expect(LentAddresses.warnings(for: ["d", "a"], in: states).count == 2)
    }
}
