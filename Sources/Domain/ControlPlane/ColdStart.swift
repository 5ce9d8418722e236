/// What is in the way when all controllers start at once, as after a loss of power; pure.
///
/// Controllers are known by their addresses, and a conductor serves DHCP only once the store has its quorum: a controller
/// whose address comes from there has none until enough others have come back without it.
public enum ColdStart {
    /// What to tell of `controllers`, those that there shall be; none: they come back by themselves.
    public static func warnings(for controllers: [String], in states: [String: ControllerState]) -> [String] {
        func names(_ origin: ControllerState.AddressOrigin) -> [String] {
            controllers.filter { states[$0]?.address != nil && states[$0]?.origin == origin }.sorted()
        }
        let leased = names(.siteDHCP)
        let quorum = controllers.count / 2 + 1
        var warnings: [String] = []
        if controllers.count - leased.count < quorum, !leased.isEmpty {
            warnings.append(
                "After a loss of power the site would not come back: \(told(leased)) by the site's own DHCP, which nobody "
                    + "serves until \(quorum) of the controllers have theirs. \(remedy(leased))")
        } else if !leased.isEmpty {
            warnings.append(
                "\(told(leased)) by the site's own DHCP, and after a loss of power only once the others serve; when the "
                    + "lease has ended by then, another machine may have it. \(remedy(leased))")
        }
        for name in names(.otherDHCP) {
            guard let address = states[name]?.address else { continue }
            warnings.append(
                "\(told([name])) by a DHCP server that is not the site's. Have it keep \(address) for \(name): the store "
                    + "knows its members by their addresses.")
        }
        return warnings
    }

    private static func told(_ names: [String]) -> String {
        names.joined(separator: ", ") + (names.count == 1 ? " gets its address" : " get their addresses")
    }

    private static func remedy(_ names: [String]) -> String {
        "Write each address under 'hosts' of a network in the site file, take it with 'from: pool' in a node network, and "
            + "choose that: " + names.map { "muster node set \($0) --network NETWORK" }.joined(separator: "; ")
    }
}
