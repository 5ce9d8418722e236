import FoundationEssentials
import Primitives

/// The version of a resource (RFC 9110 section 8.8.3; DSP0266 section 6.5.4), with its quotes and `W/`.
public struct EntityTag: Hashable, Sendable {
    /// As sent.
    public let text: String

    /// Checks `text`; nil unless it is printable ASCII of at most 256 bytes.
    public init?(_ text: String) {
        guard (1...256).contains(text.utf8.count), text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            return nil
        }
        self.text = text
    }

    /// The tag without `W/`: there are services that give weak tags and want strong ones in If-Match.
    public var strong: EntityTag { text.hasPrefix("W/") ? EntityTag(String(text.dropFirst(2))) ?? self : self }
}

/// A request to a service (DSP0266 section 7).
public struct RedfishRequest: Hashable, Sendable {
    /// The methods that are used.
    public enum Method: String, Sendable, Hashable {
        case get = "GET"
        case patch = "PATCH"
        case post = "POST"
        case delete = "DELETE"
    }

    /// What to do.
    public let method: Method
    /// To which resource.
    public let path: ResourcePath
    /// The JSON body.
    public let body: [UInt8]?
    /// Only if the resource still has this version.
    public let ifMatch: EntityTag?

    /// A request.
    public init(method: Method, path: ResourcePath, body: [UInt8]?, ifMatch: EntityTag?) {
        self.method = method
        self.path = path
        self.body = body
        self.ifMatch = ifMatch
    }

    /// Reads a resource.
    public static func get(_ path: ResourcePath) -> RedfishRequest {
        RedfishRequest(method: .get, path: path, body: nil, ifMatch: nil)
    }

    /// Makes a session (DSP0266, session management): the answer has `X-Auth-Token` and the session's `Location`.
    public static func login(at sessions: ResourcePath, user: String, password: SecretText) -> RedfishRequest {
        let body = try? JSONEncoder().encode(["UserName": user, "Password": password.revealed])
        return RedfishRequest(method: .post, path: sessions, body: body.map { Array($0) }, ifMatch: nil)
    }

    /// Ends a session.
    public static func logout(_ session: ResourcePath) -> RedfishRequest {
        RedfishRequest(method: .delete, path: session, body: nil, ifMatch: nil)
    }

    /// Posts a system's reset (DSP0268 ComputerSystem.Reset).
    public static func reset(_ action: ComputerSystem.ResetAction, type: ResetType) -> RedfishRequest {
        RedfishRequest(
            method: .post, path: action.target, body: Array(#"{"ResetType":"\#(type.rawValue)"}"#.utf8), ifMatch: nil)
    }

    /// Sets a system's boot override (DSP0268 ComputerSystem, Boot).
    public static func boot(
        _ system: ResourcePath, target: BootSource, uri: String? = nil, enabled: BootOverride, ifMatch: EntityTag?
    ) -> RedfishRequest {
        // A URI is made of typed parts by the caller; what could end the text is not sent.
        let http = uri.map { #","HttpBootUri":"\#($0.filter { $0 != "\"" && $0 != "\\" })""# } ?? ""
        let boot =
            #"{"BootSourceOverrideEnabled":"\#(enabled.rawValue)","BootSourceOverrideTarget":"\#(target.rawValue)"\#(http)}"#
        return RedfishRequest(
            method: .patch, path: system, body: Array(#"{"Boot":\#(boot)}"#.utf8), ifMatch: ifMatch)
    }
}

/// Values of `ResetType` that are used.
public enum ResetType: String, Sendable, Hashable {
    case on = "On"
    case forceOn = "ForceOn"
    case forceOff = "ForceOff"
    case forceRestart = "ForceRestart"
    case powerCycle = "PowerCycle"
}

/// Values of `BootSourceOverrideTarget` that are used.
public enum BootSource: String, Sendable, Hashable {
    case network = "Pxe"
    case disk = "Hdd"
    case medium = "Cd"
    case http = "UefiHttp"
}

/// Values of `BootSourceOverrideEnabled` that are used.
public enum BootOverride: String, Sendable, Hashable {
    case once = "Once"
    case continuous = "Continuous"
}

/// A service's answer, its body read in full.
public struct RedfishResponse: Sendable {
    /// The HTTP status.
    public let status: Int
    /// The resource's version.
    public let etag: EntityTag?
    /// Where to go instead.
    public let location: String?
    /// Seconds to wait, when the service gave a number.
    public let retryAfter: Duration?
    /// The token of a new session (`X-Auth-Token`).
    public let token: SecretText?
    /// The body.
    public let body: [UInt8]

    /// The largest body that is read.
    public static let bodySizeMax = 1 << 20

    /// An answer; `retryAfter` is the header's text.
    public init(
        status: Int, etag: String?, location: String?, retryAfter: String?, token: String? = nil, body: [UInt8]
    ) {
        self.status = status
        self.etag = etag.flatMap(EntityTag.init)
        self.location = location
        self.retryAfter = retryAfter.flatMap(Int.init).flatMap { (0...86_400).contains($0) ? .seconds($0) : nil }
        let isToken = token.map { text in
            (1...4096).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        }
        self.token = isToken == true ? token.map(SecretText.init) : nil
        self.body = body
    }

    /// Whether the request was carried out or accepted.
    public var isSuccess: Bool { (200..<300).contains(status) }

    /// The resource in the body; throws `RedfishFormatError` when it is something else.
    public func decode<R: RedfishResource & Decodable>(_ type: R.Type) throws(RedfishFormatError) -> R {
        let data = Data(body)
        guard body.count <= Self.bodySizeMax else { throw RedfishFormatError("the body is too large") }
        let name: TypeName
        do { name = try JSONDecoder().decode(TypeName.self, from: data) } catch {
            throw RedfishFormatError("the body is not a JSON object")
        }
        if let found = name.text, !found.contains(R.typeName) {
            throw RedfishFormatError("expected a \(R.typeName), got '\(found.printable(limit: 100))'")
        }
        do { return try JSONDecoder().decode(type, from: data) } catch {
            throw RedfishFormatError("the \(R.typeName) lacks a member it must have")
        }
    }

    /// What the error body says (DSP0266 section 8.6), printable and cut to 300 characters; nil when it says nothing.
    public var errorMessage: String? {
        guard let body = try? JSONDecoder().decode(ErrorDocument.self, from: Data(body)) else { return nil }
        return body.message?.printable(limit: 300)
    }

    /// Whether the service wants the account's password changed before anything else (DSP0266, password change required;
    /// the message `PasswordChangeRequired` of the Base registry), and where the account is, if it tells.
    public var requiredPasswordChange: PasswordChange? {
        guard let body = try? JSONDecoder().decode(ExtendedDocument.self, from: Data(body)) else { return nil }
        return body.messages.lazy.compactMap(\.passwordChange).first
    }

    /// That the password has to be changed.
    public struct PasswordChange: Hashable, Sendable {
        /// The account whose password it is.
        public let account: ResourcePath?
    }

    private struct TypeName: Decodable {
        let text: String?

        init(from decoder: any Decoder) throws {
            text = try decoder.container(keyedBy: MemberName.self).text("@odata.type")
        }
    }
}

/// A body that is not what the protocol says.
public struct RedfishFormatError: Error, Hashable {
    /// What is wrong.
    public let message: String

    /// An error that says what is wrong.
    public init(_ message: String) { self.message = message }
}

/// The body of an error with `@Message.ExtendedInfo` (DSP0266 section 8.6).
struct ErrorDocument: Decodable {
    let message: String?

    init(from decoder: any Decoder) throws {
        let error = try decoder.container(keyedBy: MemberName.self)
            .nestedContainer(keyedBy: MemberName.self, forKey: "error")
        let extended =
            (try? error.decodeIfPresent([Lenient<Message>].self, forKey: "@Message.ExtendedInfo"))?
            .prefix(5).compactMap { $0.value?.text } ?? []
        message = extended.isEmpty ? error.text("message") : extended.joined(separator: " ")
    }

    struct Message: Decodable {
        let text: String?
        let passwordChange: RedfishResponse.PasswordChange?

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: MemberName.self)
            text = container.text("Message")
            let isChange = container.text("MessageId")?.hasSuffix(".PasswordChangeRequired") ?? false
            let account = container.texts("MessageArgs")?.first.flatMap { try? ResourcePath($0) }
            passwordChange = isChange ? RedfishResponse.PasswordChange(account: account) : nil
        }
    }
}

/// `@Message.ExtendedInfo` of an error, or of a resource that was made (DSP0266 section 8.6).
struct ExtendedDocument: Decodable {
    let messages: [ErrorDocument.Message]

    init(from decoder: any Decoder) throws {
        let top = try decoder.container(keyedBy: MemberName.self)
        let error = try? top.nestedContainer(keyedBy: MemberName.self, forKey: "error")
        messages = [top, error].compactMap(\.self).flatMap { container in
            let found = try? container.decodeIfPresent(
                [Lenient<ErrorDocument.Message>].self, forKey: "@Message.ExtendedInfo")
            return (found ?? []).prefix(8).compactMap(\.value)
        }
    }
}
