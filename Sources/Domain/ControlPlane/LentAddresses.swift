/// What is to be told of controllers that others lend their addresses; pure.
///
/// A controller is known by its address, and goes on with it when nobody lends it any more. Whoever gives addresses must not
/// give it to somebody else meanwhile, as the site's own conductors do not.
public enum LentAddresses {
    /// What to tell of `controllers`, those that there shall be.
    public static func warnings(for controllers: [String], in states: [String: ControllerState]) -> [String] {
        controllers.sorted().compactMap { name in
            guard let state = states[name], let address = state.address, state.isLentByOthers else { return nil }
            return "\(name) gets its address by a DHCP server that is not the site's. Have it keep \(address) for "
                + "\(name): the others know a controller by its address."
        }
    }
}
