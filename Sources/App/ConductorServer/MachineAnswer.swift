import APISupport
import BareMetal
import HTTPTypes
import Identity
import Primitives
import ResourceModel
import TPMVerification

/// The HTTP form of what goes wrong at the provisioning port.
struct MachineAnswer {
    let status: HTTPResponse.Status
    let code: String
    let message: String
    let headers: HTTPFields

    init(_ error: any Error, requestID: String) {
        var headers: HTTPFields = [:]
        let known: (HTTPResponse.Status, String)? =
            switch error {
            case let error as RegistrationError:
                switch error {
                case .conflict: (.conflict, "identity_conflict")
                case .tooManyStrangers, .busy: (.serviceUnavailable, "busy")
                case .badBootID, .nameless: (.badRequest, "bad_inventory")
                }
            case let error as DiscoveryRefusal:
                switch error {
                case .noSession: (.unauthorized, "no_session")
                case .notOrdered: (.forbidden, "not_ordered")
                case .noImage: (.conflict, "no_image")
                case .noNetwork: (.conflict, "no_network")
                case .badSigningRequest: (.badRequest, "bad_signing_request")
                }
            case let error as EnrolmentError:
                switch error {
                case .unknown: (.forbidden, "token_unknown")
                case .expired: (.forbidden, "token_expired")
                case .alreadyUsed: (.forbidden, "token_used")
                case .wrongNode: (.forbidden, "token_of_another_node")
                case .store: (.serviceUnavailable, "store")
                }
            case is AttestationRefusal: (.badRequest, "bad_attestation")
            case is InvalidTransition: (.conflict, "wrong_state")
            case NodeLogError.unknownSource: (.badRequest, "unknown_source")
            case is AuthorityError: (.badRequest, "bad_signing_request")
            case is UnknownNode: (.notFound, "unknown_node")
            case is InvalidValue: (.badRequest, "invalid_value")
            case is StoreError: (.serviceUnavailable, "store")
            default: nil
            }
        if let known, let error = error as? any UserFacingError {
            (status, code) = known
            message = error.publicMessage
            if status == .serviceUnavailable { headers[.retryAfter] = "5" }
        } else {
            let answer = APIError(error, requestID: requestID)
            (status, code, message) = (answer.status, answer.code, answer.message)
            headers = answer.headers
        }
        self.headers = headers
    }
}
