import Foundation
import OpenIDIssuers
import Primitives
import Testing

@testable import Identity

/// The operator's file of issuers.
@Suite struct IssuerSettingsTests {
    @Test func `the example is right`() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let path = root.appendingPathComponent("Inventory/oidc-settings.yaml").path
        let example = try String(contentsOfFile: path, encoding: .utf8)
        let settings = try IssuerSettings(example, path: path)
        let issuer = IssuerSettings.Issuer(url: "https://sso.example.com/realms/staff", audiences: ["muster"])
        #expect(settings.issuers == [issuer.url: issuer])
        // What it shows in comments is right too.
        let shown = example.replacingOccurrences(of: "  # ", with: "  ")
            .replacingOccurrences(of: "  A provider of", with: "  # A provider of")
        let lab = try #require(
            try IssuerSettings(shown, path: path).issuers["https://keycloak.lab.internal:8443/realms/lab"])
        #expect(lab.caFile == "/etc/muster/lab-ca.pem" && lab.allowsPrivateAddresses)
    }

    @Test func `what is wrong is told with its line`() {
        let good = "issuers:\n  https://sso.example:\n    audiences: [a]\n"
        #expect(throws: Never.self) { try IssuerSettings(good, path: "f") }
        for (text, part) in [
            ("", "mapping"), ("issuers: []", "line 1"), ("other: 1", "'other'"),
            ("issuers:\n  http://sso: {}", "line 2"),
            ("issuers:\n  https://u@sso.example:\n    audiences: [a]", "https://u@sso.example"),
            ("issuers:\n  https://SSO.example:\n    audiences: [a]", "SSO"),
            ("issuers:\n  https://sso.example?x=1:\n    audiences: [a]", "https"),
            ("issuers:\n  https://sso.example: {}", "audiences"),
            ("issuers:\n  https://sso.example:\n    audiences: []", "line 3"),
            ("issuers:\n  https://sso.example:\n    audiences: muster", "line 3"),
            (good + "    allowPrivateAddresses: perhaps\n", "line 4"), (good + "    colour: red\n", "'colour'"),
            (good + "    audiences: [b]\n", "not YAML"), ("issuers: {", "not YAML"),
        ] {
            let error = #expect(throws: IssuerSettingsError.self, "\(text)") {
                try IssuerSettings(text, path: "f.yaml")
            }
            #expect(error?.publicMessage.contains("f.yaml") == true)
            #expect(error?.publicMessage.contains(part) == true, "\(error?.publicMessage ?? "") has no \(part)")
        }
    }
}
