import Primitives
import Redfish
import Testing

@Suite struct RedfishModelTests {
    private func response(_ body: String, status: Int = 200) -> RedfishResponse {
        RedfishResponse(status: status, etag: nil, location: nil, retryAfter: nil, body: Array(body.utf8))
    }

    @Test func systemHasWhatIsUsed() throws {
        let body = Document.system(
            power: "PoweringOn", resets: #""On",1,"ForceOff""#, more: #","@odata.etag":"W/\"7\"","Oem":{"x":[1,{}]}"#)
        let system = try response(body).decode(ComputerSystem.self)
        #expect(system.id == "1")
        #expect(system.serialNumber == "SN1")
        #expect(system.powerState == .poweringOn)
        #expect(system.reset?.allowableTypes == ["On", "ForceOff"])
        #expect(system.reset?.target.text == "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset")
        #expect(system.boot?.allowableTargets == ["Pxe", "Hdd"])
        #expect(system.etag?.strong.text == "\"7\"")
    }

    @Test func membersOfTheWrongTypeAreAbsent() throws {
        let body = """
            {"Id":"x","UUID":7,"SerialNumber":[],"PowerState":"Sideways","Boot":"no","Actions":[],
            "@odata.id":5,"Model":"  "}
            """
        let system = try response(body).decode(ComputerSystem.self)
        #expect(system.id == "x")
        #expect(system.uuid == nil && system.serialNumber == nil && system.powerState == nil && system.boot == nil)
        #expect(system.reset == nil && system.path == nil && system.model == nil)
    }

    @Test(arguments: [
        "", "null", "[]", "7", "{", "{}", ##"{"Id":7}"##, ##"{"Id":"1","@odata.type":"#Chassis.v1.Chassis"}"##,
        "\u{0}\u{1}", String(repeating: "[", count: 100_000),
    ])
    func otherBodiesAreRefused(body: String) {
        #expect(throws: RedfishFormatError.self) { try response(body).decode(ComputerSystem.self) }
    }

    @Test func everyPrefixAndEveryChangedByteIsAnswered() throws {
        let bytes = Array(Document.system(resets: #""On""#).utf8)
        for end in stride(from: 0, to: bytes.count, by: 7) {
            let cut = RedfishResponse(
                status: 200, etag: nil, location: nil, retryAfter: nil, body: Array(bytes.prefix(end)))
            #expect(throws: RedfishFormatError.self) { try cut.decode(ComputerSystem.self) }
        }
        var random = SeededRandom(seed: 7)
        for _ in 0..<300 {
            var changed = bytes
            changed[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            let answer = RedfishResponse(status: 200, etag: nil, location: nil, retryAfter: nil, body: changed)
            if let system = try? answer.decode(ComputerSystem.self) { #expect(system.id.count <= 200) }
            _ = answer.errorMessage
        }
    }

    @Test func collectionsSkipWhatIsNoLinkAndEnd() throws {
        let links = (0..<3000).map { #"{"@odata.id":"/redfish/v1/Systems/\#($0)"}"# }.joined(separator: ",")
        let many = try response(#"{"Members":[\#(links)]}"#).decode(ResourceCollection.self)
        #expect(many.members.count == ResourceCollection.memberCountMax)
        let odd = #"{"Members":[1,{"@odata.id":"/redfish/v1/Systems/a"},{"@odata.id":"//evil/x"},null,{}]}"#
        #expect(try response(odd).decode(ResourceCollection.self).members.map(\.lastComponent) == ["a"])
    }

    @Test func errorsTellTheExtendedMessages() {
        #expect(response(Document.error("Power\\nis locked"), status: 400).errorMessage == "Power\\u{a}is locked")
        let plain =
            #"{"error":{"message":"Fake system nope was not found","@Message.ExtendedInfo":[{"MessageId":"x"}]}}"#
        #expect(response(plain).errorMessage == "Fake system nope was not found")
        #expect(response("<html>").errorMessage == nil)
        #expect(response(Document.error(String(repeating: "x", count: 9999))).errorMessage?.count ?? 0 <= 301)
    }

    @Test(arguments: [
        "", "/", "redfish/v1", "http://h/redfish/v1", "//h/redfish", "/redfish/v1/../../etc", "/redfish/v1/a b",
        "/redfish/v1/a\r\nX: y", "/redfish/v1/#x", "/redfish//v1", "/redfish/v1/\u{e4}", "/other/v1",
        "/redfish/" + String(repeating: "a", count: 600),
    ])
    func otherPathsAreRefused(text: String) {
        #expect(throws: InvalidValue.self) { try ResourcePath(text) }
    }

    @Test func pathsAreComparedWithoutCaseAndLastSlash() throws {
        let path = try ResourcePath("/redfish/v1/Systems/ABC/")
        #expect(path.isSame(as: try ResourcePath.systems.appending("abc")))
        #expect(!path.isSame(as: .systems))
        for name in ["", "a/b", "..", "a?b", "%2e%2e", "a b"] {
            #expect(throws: InvalidValue.self) { try ResourcePath.systems.appending(name) }
        }
    }

    @Test func requestsAreExact() throws {
        let path = try ResourcePath("/redfish/v1/Systems/1")
        let boot = RedfishRequest.boot(path, target: .network, enabled: .once, ifMatch: EntityTag("\"1\""))
        #expect(
            boot.body.map { String(decoding: $0, as: UTF8.self) }
                == #"{"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideTarget":"Pxe"}}"#)
        #expect(EntityTag("a\nb") == nil)
        #expect(EntityTag("") == nil)
    }

    @Test func retryAfterIsASmallNumberOfSeconds() {
        func seconds(_ text: String) -> Duration? {
            RedfishResponse(status: 503, etag: nil, location: nil, retryAfter: text, body: []).retryAfter
        }
        #expect(seconds("7") == .seconds(7))
        for text in ["-1", "999999999999999999999", "Wed, 21 Oct 2026 07:28:00 GMT", "1.5", ""] {
            #expect(seconds(text) == nil)
        }
    }
}
