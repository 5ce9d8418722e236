import FleetContract
import Foundation
import Synchronization

/// How long neither a seed nor its controllers take writes while the site moves, as both say of themselves.
final class Handover: Sendable {
    private let namespace: String
    private let authority: String
    private let moments = Mutex<(seed: ContinuousClock.Instant?, controllers: ContinuousClock.Instant?)>((nil, nil))

    init(_ fleet: ControllerFleet) {
        namespace = fleet.bed.scene.namespace
        authority = "\(fleet.bed.scene.state)/ca.pem"
    }

    /// From the seed's last yes to the controllers' first one, too long by the time of a look at both; nil: they have not
    /// said yes yet.
    var duration: Duration? {
        let (seed, controllers) = moments.withLock(\.self)
        guard let seed, let controllers else { return nil }
        return controllers - seed
    }

    /// Asks both, again and again, until the controllers take writes, two minutes at the most.
    func watch() async {
        let end = ContinuousClock.now + .seconds(120)
        while !Task.isCancelled, duration == nil, ContinuousClock.now < end {
            let now = ContinuousClock.now
            if await takesWrites("127.0.0.1") { moments.withLock { $0.seed = now } }
            if await takesWrites(ControllerFleet.vip) { moments.withLock { $0.controllers = .now } }
            try? await Task.sleep(for: .milliseconds(20))
        }
    }

    private func takesWrites(_ host: String) async -> Bool {
        let answer = try? await Shell.run(
            "curl -sf --max-time 1 -o /dev/null --cacert \(authority) https://\(host):9443\(FleetPath.ready)",
            in: namespace)
        return answer?.status == 0
    }
}
