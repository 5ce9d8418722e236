import BMCDrivers
import BareMetal
import CatalogBareMetal
import Foundation
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Primitives
import Testing

@Suite(.timeLimit(.minutes(2))) struct RedfishDriverTests {
    @Test func properBMCIsReadAndSwitched() async throws {
        try await StubBMC.with(reply: proper) { bmc in
            let driver = redfish(port: bmc.port)
            #expect(try await driver.powerState() == .on)
            let found = try await driver.identify()
            #expect(found.uuid == "27946b59-9e44-4fa7-8e91-f3527a1ef094")
            #expect(found.serial == "SN1")
            #expect(bmc.requests.count == 2, "nothing is read that nobody uses")
            try await driver.setPower(.reset)
            try await driver.setBoot(.network, once: true, firmware: nil)
            let sent = bmc.requests.filter { $0.method != "GET" }
            #expect(
                sent.map(\.body) == [
                    #"{"ResetType":"ForceRestart"}"#,
                    #"{"Boot":{"BootSourceOverrideEnabled":"Once","BootSourceOverrideTarget":"Pxe"}}"#,
                ])
            let expected = "Basic " + Data("admin:hunter2".utf8).base64EncodedString()
            #expect(bmc.requests.allSatisfy { $0.headers["Authorization"] == [expected] })
        }
    }

    @Test func onlySystemIsFoundWithoutItsName() async throws {
        try await StubBMC.with(reply: proper) { bmc in
            let power = try await redfish(port: bmc.port, system: nil).powerState()
            #expect(power == .on)
        }
    }

    @Test func unclearOrUnknownSystemsAreNamed() async throws {
        try await StubBMC.with { request, number in
            request.path == "/redfish/v1/Systems" ? .answer(200, Document.systems("a", "b")) : proper(request, number)
        } _: { bmc in
            await #expect(throws: BMCError.systemNotNamed(available: ["a", "b"])) {
                try await redfish(port: bmc.port, system: nil).powerState()
            }
            await #expect(throws: BMCError.notFound(system: "c", available: ["a", "b"])) {
                try await redfish(port: bmc.port, system: "c").powerState()
            }
        }
    }

    @Test func answerForAnotherSystemIsRefused() async throws {
        try await StubBMC.with { _, _ in
            .answer(200, Document.system(id: "2"))
        } _: { bmc in
            let error = await #expect(throws: BMCError.self) { try await redfish(port: bmc.port).powerState() }
            guard case .protocolViolation(let message) = error else { return #expect(Bool(false), "\(error!)") }
            #expect(message.contains("/redfish/v1/Systems/2"))
        }
    }

    @Test func wrongPasswordIsNotTriedAgain() async throws {
        try await StubBMC.with { _, _ in
            .answer(401, "")
        } _: { bmc in
            let error = await #expect(throws: BMCError.badCredentials) {
                try await redfish(port: bmc.port).powerState()
            }
            #expect(bmc.requests.count == 1, "BMCs lock the user after a few wrong passwords")
            #expect(error?.publicMessage.contains("hunter2") == false)
        }
    }

    @Test func nobodyListeningIsUnreachableAndNotOff() async throws {
        let port = try await StubBMC.with(reply: proper) { $0.port }
        let error = await #expect(throws: BMCError.self) {
            try await redfish(port: port).powerState()
        }
        guard case .unreachable(let cause) = error else { return #expect(Bool(false), "\(error!)") }
        #expect(cause.lowercased().contains("refused"))
        #expect(error?.isTransient == true)
    }

    @Test func hangingBMCEndsInTime() async throws {
        try await StubBMC.with { _, _ in
            .hang
        } _: { bmc in
            var limits = quick
            limits.request = .seconds(1)
            limits.call = .seconds(10)
            let driver = redfish(port: bmc.port, limits: limits)
            let clock = ContinuousClock()
            let start = clock.now
            let error = await #expect(throws: BMCError.self) { try await driver.powerState() }
            guard case .timeout = error else { return #expect(Bool(false), "\(error!)") }
            #expect(bmc.requests.count == 3)
            #expect(start.duration(to: clock.now) < .seconds(20))
        }
    }

    @Test func drippingBMCEndsInTime() async throws {
        try await StubBMC.with { _, _ in
            .drip
        } _: { bmc in
            let error = await #expect(throws: BMCError.self) {
                try await redfish(port: bmc.port, limits: quick).powerState()
            }
            guard case .timeout = error else { return #expect(Bool(false), "\(error!)") }
        }
    }

    @Test func hangingActionIsSentOnce() async throws {
        try await StubBMC.with { request, number in
            request.method == "GET" ? proper(request, number) : .hang
        } _: { bmc in
            var limits = quick
            limits.request = .seconds(1)
            limits.call = .seconds(10)
            let driver = redfish(port: bmc.port, limits: limits)
            let error = await #expect(throws: BMCError.self) { try await driver.setPower(.reset) }
            guard case .timeout = error else { return #expect(Bool(false), "\(error!)") }
            #expect(bmc.requests.filter { $0.method == "POST" }.count == 1)
        }
    }

    @Test func hugeBodiesAreCutOff() async throws {
        try await StubBMC.with { _, _ in
            .flood(count: 8 << 20)
        } _: { bmc in
            let error = await #expect(throws: BMCError.self) { try await redfish(port: bmc.port).powerState() }
            #expect(error == .protocolViolation("a body of more than 1 MiB"))
        }
    }

    @Test(arguments: [
        "", "not json", "{\"Id\":", "[]", "<html></html>", ##"{"@odata.type":"#Chassis.v1.Chassis","Id":"1"}"##,
    ])
    func otherBodiesAreRefused(body: String) async throws {
        try await StubBMC.with { _, _ in
            .answer(200, body)
        } _: { bmc in
            let error = await #expect(throws: BMCError.self) { try await redfish(port: bmc.port).powerState() }
            guard case .protocolViolation = error else { return #expect(Bool(false), "\(error!)") }
        }
    }

    @Test(arguments: ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/9.9 999 x\r\n\r\n", "\u{0}\u{1}\u{2}\r\n\r\n"])
    func otherProtocolsAreAnError(text: String) async throws {
        try await StubBMC.withRaw(text) { port in
            let error = await #expect(throws: BMCError.self) {
                try await redfish(port: port, limits: quick).powerState()
            }
            #expect(error != .badCredentials)
        }
    }

    @Test func closedConnectionIsTriedAgain() async throws {
        try await StubBMC.with { request, number in
            number < 3 ? .close : proper(request, number)
        } _: { bmc in
            let power = try await redfish(port: bmc.port).powerState()
            #expect(power == .on)
            #expect(bmc.requests.count == 3)
        }
    }

    @Test func busyBMCIsLeftAloneAsLongAsItAsks() async throws {
        try await StubBMC.with { request, number in
            number == 1 ? .answer(503, "", ["Retry-After": "1"]) : proper(request, number)
        } _: { bmc in
            let clock = ContinuousClock()
            let start = clock.now
            let power = try await redfish(port: bmc.port).powerState()
            #expect(power == .on)
            #expect(start.duration(to: clock.now) >= .seconds(1))
        }
        try await StubBMC.with { _, _ in
            .answer(503, "", ["Retry-After": "600"])
        } _: { bmc in
            await #expect(throws: BMCError.busy(retryAfter: .seconds(600))) {
                try await redfish(port: bmc.port).powerState()
            }
            #expect(bmc.requests.count == 1)
        }
    }

    @Test func redirectsStayOnTheBMC() async throws {
        try await StubBMC.with { request, number in
            request.path == "/redfish/v1/Systems/alias"
                ? .answer(308, "", ["Location": "/redfish/v1/Systems/1"]) : proper(request, number)
        } _: { bmc in
            let power = try await redfish(port: bmc.port, system: "alias").powerState()
            #expect(power == .on)
        }
        try await StubBMC.with(reply: proper) { other in
            let port = other.port
            for location in [
                "http://127.0.0.1:\(port)/redfish/v1/Systems/1", "//127.0.0.1:\(port)/redfish/v1", "/etc", "",
            ] {
                try await StubBMC.with { _, _ in
                    .answer(302, "", ["Location": location])
                } _: { bmc in
                    let error = await #expect(throws: BMCError.self) {
                        try await redfish(port: bmc.port).powerState()
                    }
                    guard case .protocolViolation = error else { return #expect(Bool(false), "\(error!)") }
                }
            }
            #expect(other.requests.isEmpty, "the password never goes to another service")
        }
    }

    @Test(arguments: [307, 308]) func changesFollowRedirectsWithAllThatTheyHave(status: Int) async throws {
        try await StubBMC.with { request, number in
            switch (request.method, request.path) {
            case ("GET", "/redfish/v1/Systems/1"): .answer(200, Document.system(), ["ETag": "\"e1\""])
            case ("PATCH", "/redfish/v1/Systems/1"): .answer(status, "", ["Location": "/redfish/v1/Systems/1/Settings"])
            case ("PATCH", "/redfish/v1/Systems/1/Settings"): .answer(204, "")
            default: proper(request, number)
            }
        } _: { bmc in
            try await redfish(port: bmc.port).setBoot(.disk, once: false, firmware: nil)
            let patches = bmc.requests.filter { $0.method == "PATCH" }
            #expect(patches.map(\.path) == ["/redfish/v1/Systems/1", "/redfish/v1/Systems/1/Settings"])
            #expect(patches[0].body == patches[1].body)
            #expect(patches.allSatisfy { $0.headers["If-Match"] == ["\"e1\""] })
        }
    }

    @Test(arguments: [301, 302, 303]) func changesFollowNoRedirectThatWouldChangeThem(status: Int) async throws {
        try await StubBMC.with { request, number in
            request.method == "PATCH"
                ? .answer(status, "", ["Location": "/redfish/v1/Systems/2"]) : proper(request, number)
        } _: { bmc in
            let error = await #expect(throws: BMCError.self) {
                try await redfish(port: bmc.port).setBoot(.disk, once: false, firmware: nil)
            }
            guard case .protocolViolation = error else { return #expect(Bool(false), "\(error!)") }
            #expect(!bmc.requests.contains { $0.path == "/redfish/v1/Systems/2" })
        }
    }

    @Test func redirectLoopsEnd() async throws {
        try await StubBMC.with { request, _ in
            .answer(302, "", ["Location": request.path])
        } _: { bmc in
            let error = await #expect(throws: BMCError.self) { try await redfish(port: bmc.port).powerState() }
            guard case .protocolViolation = error else { return #expect(Bool(false), "\(error!)") }
            #expect(bmc.requests.count == 4)
        }
    }

    @Test func changedSystemIsReadAgainOnce() async throws {
        try await StubBMC.with { request, number in
            switch request.method {
            case "GET": .answer(200, Document.system(), ["ETag": "W/\"\(number)\""])
            case "PATCH" where request.headers["If-Match"] == ["\"3\""]: .answer(204, "")
            default: .answer(412, Document.error("changed"))
            }
        } _: { bmc in
            try await redfish(port: bmc.port).setBoot(.disk, once: false, firmware: nil)
            #expect(bmc.requests.map(\.method) == ["GET", "PATCH", "GET", "PATCH", "GET"])
            #expect(bmc.requests[1].headers["If-Match"] == ["W/\"1\""])
        }
        try await StubBMC.with { request, number in
            request.method == "GET" ? proper(request, number) : .answer(412, Document.error("changed"))
        } _: { bmc in
            await #expect(throws: BMCError.refused("changed")) {
                try await redfish(port: bmc.port).setBoot(.disk, once: false, firmware: nil)
            }
            #expect(bmc.requests.filter { $0.method == "PATCH" }.count == 2)
        }
    }
}

@Suite(.timeLimit(.minutes(2))) struct RedfishPowerTests {
    /// The reset that each action becomes; nil: nothing is sent.
    @Test(
        arguments: [
            (PowerAction.on, "On", nil), (.on, "Off", "On"), (.forceOff, "Off", nil), (.forceOff, "On", "ForceOff"),
            (.reset, "On", "ForceRestart"), (.reset, "Off", "On"), (.reset, "PoweringOff", "ForceRestart"),
        ] as [(PowerAction, String, String?)])
    func actionsFollowTheState(action: PowerAction, power: String, expected: String?) async throws {
        try await StubBMC.with { request, number in
            request.method == "GET" ? .answer(200, Document.system(power: power)) : proper(request, number)
        } _: { bmc in
            try await redfish(port: bmc.port).setPower(action)
            let sent = bmc.requests.filter { $0.method == "POST" }.map(\.body)
            #expect(sent == expected.map { [#"{"ResetType":"\#($0)"}"#] } ?? [])
        }
    }

    @Test func anotherWordIsUsedWhenOnlyThatIsOffered() async throws {
        try await StubBMC.with { request, number in
            request.method == "GET"
                ? .answer(200, Document.system(resets: #""PowerCycle","On""#)) : proper(request, number)
        } _: { bmc in
            try await redfish(port: bmc.port).setPower(.reset)
            #expect(bmc.requests.last?.body == #"{"ResetType":"PowerCycle"}"#)
            await #expect(throws: BMCError.refused("it cannot do 'ForceOff'; it offers: PowerCycle, On")) {
                try await redfish(port: bmc.port).setPower(.forceOff)
            }
        }
    }

    @Test func refusalBecauseItIsSoAlreadyIsNone() async throws {
        try await StubBMC.with { request, number in
            switch (request.method, number) {
            case ("GET", 1): .answer(200, Document.system(power: "On"))
            case ("GET", _): .answer(200, Document.system(power: "Off"))
            default: .answer(409, Document.error("already off"))
            }
        } _: { bmc in
            try await redfish(port: bmc.port).setPower(.forceOff)
        }
        try await StubBMC.with { request, number in
            request.method == "GET" ? proper(request, number) : .answer(409, Document.error("a lock is set"))
        } _: { bmc in
            await #expect(throws: BMCError.refused("a lock is set")) {
                try await redfish(port: bmc.port).setPower(.forceOff)
            }
        }
    }

    @Test func stateThatIsNotOnOrOffIsUnknown() async throws {
        try await StubBMC.with { _, _ in
            .answer(200, Document.system(power: "Sideways"))
        } _: { bmc in
            let power = try await redfish(port: bmc.port).powerState()
            #expect(power == .unknown)
        }
    }

    @Test func waitingEndsWithTheStateOrTheDeadline() async throws {
        try await StubBMC.with { _, number in
            number == 2 ? .close : .answer(200, Document.system(power: number > 4 ? "Off" : "On"))
        } _: { bmc in
            try await redfish(port: bmc.port).waitForPower(.off, within: .seconds(30), every: .milliseconds(10))
        }
        try await StubBMC.with(reply: proper) { bmc in
            let error = await #expect(throws: BMCError.self) {
                try await redfish(port: bmc.port).waitForPower(
                    .off, within: .milliseconds(100), every: .milliseconds(20))
            }
            guard case .timeout = error else { return #expect(Bool(false), "\(error!)") }
        }
        try await StubBMC.with { _, _ in
            .answer(401, "")
        } _: { bmc in
            await #expect(throws: BMCError.badCredentials) {
                try await redfish(port: bmc.port).waitForPower(.off, within: .seconds(60))
            }
        }
    }

    @Test func bootTargetThatIsNotOfferedIsRefused() async throws {
        try await StubBMC.with { _, _ in
            .answer(
                200, #"{"Id":"1","Boot":{"BootSourceOverrideTarget@Redfish.AllowableValues":["Hdd"]}}"#)
        } _: { bmc in
            await #expect(throws: BMCError.refused("it cannot boot 'Pxe'; it offers: Hdd")) {
                try await redfish(port: bmc.port).setBoot(.network, once: true, firmware: nil)
            }
        }
    }

    @Test func knownQuirksChangeWhatIsSent() async throws {
        try await StubBMC.with { request, number in
            request.method == "GET"
                ? .answer(200, Document.system(manufacturer: "Sushy Emulator")) : proper(request, number)
        } _: { bmc in
            try await redfish(port: bmc.port).setBoot(.network, once: true, firmware: nil)
            #expect(bmc.requests.last { $0.method == "PATCH" }?.body.contains("Continuous") == true)
        }
    }

    @Test func withoutBMCEachCallSaysWhatToDo() async throws {
        let driver = NoBMCDriver()
        for action in PowerAction.allCases {
            let error = await #expect(throws: BMCError.self) { try await driver.setPower(action) }
            #expect(error?.publicMessage.contains("by hand") == true)
        }
        for target in BootTarget.allCases {
            let error = await #expect(throws: BMCError.self) {
                try await driver.setBoot(target, once: true, firmware: nil)
            }
            #expect(error?.publicMessage.contains("boot menu") == true)
        }
        await #expect(throws: BMCError.self) { try await driver.powerState() }
        await #expect(throws: BMCError.self) { try await driver.identify() }
    }
}

@Suite(.timeLimit(.minutes(2))) struct RedfishTLSTests {
    @Test func pinnedCertificateIsAccepted() async throws {
        let (tls, digest) = try selfSigned()
        try await StubBMC.with(tls: tls, reply: proper) { bmc in
            let driver = redfish(port: bmc.port, scheme: .https, trust: .certificate(digest))
            let power = try await driver.powerState()
            #expect(power == .on)
        }
    }

    @Test func anotherCertificateGetsNoPassword() async throws {
        let (tls, digest) = try selfSigned()
        try await StubBMC.with(tls: tls, reply: proper) { bmc in
            let other = redfish(
                port: bmc.port, scheme: .https, trust: .certificate(Digest(bytes: [UInt8](repeating: 1, count: 32))))
            await #expect(throws: BMCError.tlsUntrusted(found: digest)) { try await other.powerState() }
            let unpinned = redfish(port: bmc.port, scheme: .https)
            await #expect(throws: BMCError.tlsUntrusted(found: digest)) { try await unpinned.powerState() }
            #expect(bmc.requests.isEmpty)
        }
    }

    @Test func aCertificateThatIsSwappedGetsNeitherPasswordNorSessionUntilItIsApproved() async throws {
        let (first, second) = (try selfSigned(), try selfSigned())
        try await StubBMC.with(tls: first.tls, reply: proper) { bmc in
            let opener = BMCOpener(logger: Logger(label: "test"))
            var spec = BMC.Spec(
                address: "https://127.0.0.1:\(bmc.port)", system: "1", username: "admin", passwordSecret: "bmc.r1")
            func power() async throws -> PowerState {
                try await opener.driver(of: spec, password: SecretText("hunter2")).powerState()
            }
            await #expect(throws: BMCError.tlsUntrusted(found: first.digest)) { try await power() }
            #expect(bmc.requests.isEmpty, "nobody has approved it")
            let now = Timestamp(millisecondsSinceEpoch: 0)
            spec.approvedCertificate = BMC.ApprovedCertificate(digest: first.digest, by: "operator:admin", at: now)
            #expect(try await power() == .on)
            let count = bmc.requests.count
            #expect(count > 0)
            try bmc.swap(to: second.tls)
            await #expect(throws: BMCError.tlsUntrusted(found: second.digest)) { try await power() }
            #expect(bmc.requests.count == count, "what it has changed to gets nothing")
            spec.approvedCertificate = BMC.ApprovedCertificate(digest: second.digest, by: "operator:admin", at: now)
            #expect(try await power() == .on)
            // What the site file says goes before.
            spec.certificateDigest = first.digest
            await #expect(throws: BMCError.tlsUntrusted(found: second.digest)) { try await power() }
            await opener.close()
        }
    }

    @Test func plainServiceIsNoTLSService() async throws {
        try await StubBMC.with(reply: proper) { bmc in
            let error = await #expect(throws: BMCError.self) {
                try await redfish(port: bmc.port, scheme: .https).powerState()
            }
            guard case .unreachable = error else { return #expect(Bool(false), "\(error!)") }
            #expect(bmc.requests.isEmpty)
        }
    }
}

@Suite struct BMCAddressTests {
    @Test func partsAreRead() throws {
        let address = try BMCAddress("https://bmc-1.example:8443", system: "1", user: "admin")
        #expect(address.scheme == .https && address.host == "bmc-1.example" && address.port == 8443)
        #expect(try BMCAddress("http://10.77.0.1", user: "a").port == 80)
        #expect(try BMCAddress("https://10.77.0.1/", user: "a").port == 443)
        let six = try BMCAddress("http://[fd77::1]:8001", user: "a")
        #expect(six.host == "fd77::1" && six.description == "http://[fd77::1]:8001")
    }

    @Test(arguments: [
        "", "10.77.0.1", "ftp://h", "http://", "http://h:0", "http://h:99999", "http://h:x", "http://h/path",
        "http://user:pw@h", "http://h\r\nX", "http://a b", "http://[fd77::1", "http://[fd77::1]x",
    ])
    func othersAreRefused(text: String) {
        #expect(throws: InvalidValue.self) { try BMCAddress(text, user: "a") }
    }

    @Test(arguments: ["", "a/b", "..", "a b", "a?b", String(repeating: "x", count: 200)])
    func systemsThatLeaveThePathAreRefused(system: String) {
        #expect(throws: InvalidValue.self) { try BMCAddress("http://h", system: system, user: "a") }
    }

    @Test(arguments: ["", "a:b", "a\nb", String(repeating: "x", count: 65)])
    func otherUsersAreRefused(user: String) {
        #expect(throws: InvalidValue.self) { try BMCAddress("http://h", user: user) }
    }
}
