import ServiceLifecycle

/// A service that is called after its type.
///
/// The group of services asks each for its description, which of a value is all that it holds: the programs that
/// machines boot among it, which took seconds of the start and megabytes of the log.
struct NamedService: Service, CustomStringConvertible {
    private let service: any Service

    /// `service` under its type's name.
    init(_ service: any Service) { self.service = service }

    var description: String { "\(type(of: service))" }

    func run() async throws { try await service.run() }
}
