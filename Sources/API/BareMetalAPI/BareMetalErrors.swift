import APISupport
import HTTPTypes
import Primitives
import ResourceModel

extension APIError {
    /// As Ironic's API says errors: JSON text in a member of a JSON object.
    ///
    /// A version that is not known is told with `code`, `title` and `description`, all else as a fault.
    var ironicBody: JSONValue {
        let inner: JSONValue =
            code == "version_not_supported"
            ? ["code": 406, "title": "Not Acceptable", "description": .string(message)]
            : [
                "faultcode": .string(status.kind == .serverError ? "Server" : "Client"),
                "faultstring": .string(message), "debuginfo": nil,
            ]
        return ["error_message": .string(String(decoding: inner.text, as: UTF8.self))]
    }

    /// There is no such thing of a sort.
    static func missing(_ sort: String, _ id: String) -> APIError {
        .notFound("\(sort) \(id.printable(limit: 255)) could not be found.")
    }

    /// The version that was asked for does not have it.
    static let notInVersion = APIError(.notAcceptable, "not_in_version", "Request not acceptable.")

    /// The verb cannot be said in this state.
    static func invalidState(_ verb: String, _ node: String, _ state: String) -> APIError {
        .badRequest(
            "The requested action \"\(verb.printable(limit: 40))\" can not be performed on node \"\(node)\" while it is in "
                + "state \"\(state)\".")
    }

    /// Nothing is done to a node in maintenance.
    static func inMaintenance(_ verb: String, _ node: String) -> APIError {
        .badRequest(
            "The \(verb.printable(limit: 40)) operation can't be performed on node \(node) because it's in maintenance mode."
        )
    }
}

extension JSONPatchError: APIErrorConvertible {
    public var apiError: APIError { .badRequest(publicMessage) }
}
