import IPMI
import Testing

/// Answers as ipmitool 1.8.19 wrote them.
@Suite struct IPMIAnswerTests {
    private static let chatter = """
        Loading IANA PEN Registry...
        Get HPM.x Capabilities request failed, compcode = d4
        Running Get VSO Capabilities my_addr 0x20, transit 0, target 0x20
        Invalid completion code received: Insufficient privilege level
        Discovered IPMB address 0x0

        """

    private func good(_ output: String) -> IPMIAnswer {
        IPMIAnswer(status: 0, output: output, errorOutput: Self.chatter)
    }

    private static let noSession = "Error: Unable to establish IPMI v2 / RMCP+ session\n"

    @Test(
        arguments: [
            ("> RAKP 2 HMAC is invalid\n" + noSession, IPMIFailure.wrongPassword),
            ("RAKP 2 message indicates an error : unauthorized name\n" + noSession, .unknownUser),
            (
                "Error in open session response message : invalid authentication algorithm\n\n" + noSession,
                .cipherRefused
            ),
            ("Unsupported cipher suite ID : 99\n\n" + noSession, .cipherRefused),
            (
                "Get Auth Capabilities error\nError issuing Get Channel Authentication Capabilities request\n"
                    + noSession, .unreachable("no answer")
            ),
            (
                "Address lookup for nosuch.invalid failed\nCould not open socket!\n" + noSession,
                .unreachable("Address lookup for nosuch.invalid failed")
            ),
            (
                "Set Chassis Power Control to Down/Off failed: Insufficient privilege level\n",
                .privilege("Set Chassis Power Control to Down/Off failed: Insufficient privilege level")
            ),
            (
                "Set Session Privilege Level to OPERATOR failed: Unknown (0x81)\n" + noSession,
                .privilege("Set Session Privilege Level to OPERATOR failed: Unknown (0x81)")
            ),
            (
                "Error in open session response message : insufficient resources for session\n" + noSession,
                .busy("Error in open session response message : insufficient resources for session")
            ),
            (
                "Set Chassis Boot Parameter 5 failed: Invalid command\n",
                .unsupported("Set Chassis Boot Parameter 5 failed: Invalid command")
            ),
            (
                " Device not present (Invalid data field in request)\n",
                .other("Device not present (Invalid data field in request)")
            ),
            ("", .other("exit status 1")),
        ])
    func failuresAreToldApart(text: String, expected: IPMIFailure) {
        let answer = IPMIAnswer(status: 1, output: "", errorOutput: Self.chatter + text)
        #expect(throws: expected) { try answer.isPoweredOn() }
    }

    @Test func powerIsReadAndNeverGuessed() throws {
        #expect(try good("Chassis Power is on\n").isPoweredOn() == true)
        #expect(try good("Chassis Power is off\n").isPoweredOn() == false)
        #expect(try good("Chassis Power is unknown\n").isPoweredOn() == nil)
        #expect(try good("").isPoweredOn() == nil)
    }

    @Test func identityIsRead() throws {
        let guid = "System GUID   : 674523A1-ab89-efcd-a123-456789abcdef\nGUID Version  : Unknown/unsupported (14)\n"
        #expect(try good(guid).guid() == "674523a1-ab89-efcd-a123-456789abcdef")
        for none in [
            "", "System GUID   : 00000000-0000-0000-0000-000000000000\n", "System GUID   : x\n",
            "System GUID   : zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz\n",
        ] {
            #expect(try good(none).guid() == nil)
        }
        let fru = """
             Board Mfg             : Acme Boards
             Product Manufacturer  : Acme
             Product Name          : Rack: One
             Product Serial        : SN-0042

            """
        #expect(try good(fru).product() == IPMIProduct(manufacturer: "Acme", name: "Rack: One", serial: "SN-0042"))
        let board = " Board Mfg : Acme\n Board Product : B1\n Product Serial :\n Chassis Serial : C7\n"
        #expect(try good(board).product() == IPMIProduct(manufacturer: "Acme", name: "B1", serial: "C7"))
        #expect(try good("Firmware Revision         : 9.08\n").firmwareVersion() == "9.08")
    }

    @Test func sensorsAreReadWithinTheirLimit() throws {
        let text = """
            Ambient,42,degrees C,ok,3.1,Processor,Temperature,,,,,,,,,,0.000,255.000
            Fan 1,5500,RPM,ok,3.1,Processor,Fan,,,,,,,,,,0.000,25500.000
            12V,9.100,Volts,nc,3.1,Processor,Voltage,,,,,,,,,,0.000,25.500
            Fan 2,,,ns,7.1,System Board,No Reading
            Odd,nan,Volts,ok,7.1
            no sensor at all
            """
        let sensors = try good(text).sensors()
        #expect(
            sensors == [
                IPMISensor(name: "Ambient", value: 42, unit: "degrees C", isGood: true),
                IPMISensor(name: "Fan 1", value: 5500, unit: "RPM", isGood: true),
                IPMISensor(name: "12V", value: 9.1, unit: "Volts", isGood: false),
            ])
        let many = (0..<1000).map { "S\($0),1,Volts,ok,1.1" }.joined(separator: "\n")
        #expect(try good(many).sensors().count == IPMISensor.countMax)
    }

    @Test func commandsAreExact() {
        let connection = IPMIConnection(host: "fd00::1", user: "op", cipherSuite: 17)
        #expect(
            connection.arguments(.bootDevice(.disk, isOnce: false, isUEFI: true)).joined(separator: " ")
                == "-v -I lanplus -H fd00::1 -p 623 -U op -E -C 17 -L OPERATOR -N 1 -R 2 "
                + "chassis bootdev disk options=persistent,efiboot")
        #expect(
            IPMICommand.bootDevice(.network, isOnce: true, isUEFI: false).arguments == ["chassis", "bootdev", "pxe"])
    }
}
