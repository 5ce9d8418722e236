import APISupport

extension BareMetalAPI {
    static let portRoutes: [BareMetalRoute] = []
    static let stateRoutes: [BareMetalRoute] = []
    static let traitRoutes: [BareMetalRoute] = []
    static let chassisRoutes: [BareMetalRoute] = []
}
