import BMCDrivers
import BareMetal
import Crypto
import Foundation
import Logging
import NIOSSL
import Primitives
import SwiftASN1
import X509

/// The documents of a proper BMC with one system.
enum Document {
    static let root =
        ##"{"@odata.type":"#ServiceRoot.v1_5_0.ServiceRoot","Systems":{"@odata.id":"/redfish/v1/Systems"}}"##

    static func systems(_ names: String...) -> String {
        let members = names.map { #"{"@odata.id":"/redfish/v1/Systems/\#($0)"}"# }.joined(separator: ",")
        return ##"{"@odata.type":"#ComputerSystemCollection.ComputerSystemCollection","Members":[\##(members)]}"##
    }

    static func system(
        id: String = "1", power: String = "On", manufacturer: String = "Acme", resets: String? = nil, more: String = ""
    ) -> String {
        let allowable = resets.map { #","ResetType@Redfish.AllowableValues":[\#($0)]"# } ?? ""
        return """
            {"@odata.type":"#ComputerSystem.v1_13_0.ComputerSystem","@odata.id":"/redfish/v1/Systems/\(id)","Id":"\(id)",
            "UUID":"27946B59-9E44-4FA7-8E91-F3527A1EF094","SerialNumber":" SN1 ","Manufacturer":"\(manufacturer)",
            "Model":"R1","PowerState":"\(power)",
            "Boot":{"BootSourceOverrideTarget@Redfish.AllowableValues":["Pxe","Hdd"]},
            "Actions":{"#ComputerSystem.Reset":{"target":"/redfish/v1/Systems/\(id)/Actions/ComputerSystem.Reset"\(allowable)}},
            "EthernetInterfaces":{"@odata.id":"/redfish/v1/Systems/\(id)/EthernetInterfaces"}\(more)}
            """
    }

    static func error(_ message: String) -> String {
        #"{"error":{"code":"Base.1.0.GeneralError","message":"see below","@Message.ExtendedInfo":[{"Message":"\#(message)"}]}}"#
    }
}

/// Answers as a proper BMC does, one system `1`.
@Sendable func proper(_ request: StubRequest, _ number: Int) -> StubReply {
    switch (request.method, request.path) {
    case ("GET", "/redfish/v1/"): .answer(200, Document.root)
    case ("GET", "/redfish/v1/Systems"): .answer(200, Document.systems("1"))
    case ("GET", "/redfish/v1/Systems/1"): .answer(200, Document.system())
    case ("PATCH", "/redfish/v1/Systems/1"), ("POST", "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset"):
        .answer(204, "")
    default: .answer(404, Document.error("no such thing"))
    }
}

let quick = BMCLimits(
    connect: .seconds(2), request: .milliseconds(300), call: .milliseconds(1500), attemptCountMax: 3,
    backoff: .milliseconds(10))
let patient = BMCLimits(request: .seconds(20), backoff: .milliseconds(10))

/// A driver with the user `admin` and the password `hunter2`.
func redfish(
    port: Int, system: String? = "1", scheme: BMCAddress.Scheme = .http, trust: BMCTrust = .systemStore,
    limits: BMCLimits = patient, logins: LoginSessions? = nil
) -> RedfishDriver {
    RedfishDriver(
        address: try! BMCAddress(scheme: scheme, host: "127.0.0.1", port: port, system: system, user: "admin"),
        password: SecretText("hunter2"), trust: trust, limits: limits, logins: logins, logger: Logger(label: "test"))
}

/// A self-signed certificate for nobody in particular, and its digest.
func selfSigned() throws -> (tls: TLSConfiguration, digest: Primitives.Digest) {
    let key = P256.Signing.PrivateKey()
    let name = try DistinguishedName { CommonName("bmc") }
    let certificate = try Certificate(
        version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: .init(key.publicKey),
        notValidBefore: Date(timeIntervalSinceNow: -86_400), notValidAfter: Date(timeIntervalSinceNow: 86_400),
        issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256, extensions: Certificate.Extensions {},
        issuerPrivateKey: .init(key))
    var serializer = DER.Serializer()
    try serializer.serialize(certificate)
    let der = serializer.serializedBytes
    let tls = TLSConfiguration.makeServerConfiguration(
        certificateChain: [.certificate(try NIOSSLCertificate(bytes: der, format: .der))],
        privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(key.pemRepresentation.utf8), format: .pem)))
    return (tls, Primitives.Digest(bytes: Array(SHA256.hash(data: der))))
}
