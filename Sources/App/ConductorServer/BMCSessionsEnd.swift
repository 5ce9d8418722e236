import BMCDrivers
import ServiceLifecycle

/// Ends the sessions at BMCs when the conductor stops, after all who use them.
struct BMCSessionsEnd: Service {
    let opener: BMCOpener

    func run() async throws {
        try? await gracefulShutdown()
        await opener.close()
    }
}
