import Primitives
import Testing

@testable import Identity

@Suite struct EC2SignatureTests {
    private static let client = "89cdf9e94e2643cab35b8b8ac5a51f83"
    private static let example = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    private static let emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    private func time(_ text: String) throws -> Timestamp { try #require(EC2Time.parse(text)) }

    /// The requests that keystoneclient's own tests sign.
    private static func old(_ version: String, _ more: [String: String], _ signature: String) -> EC2Request {
        var parameters = more
        parameters["SignatureVersion"] = version
        parameters["AWSAccessKeyId"] = "966afbde20b84200ae4e62e09acf46b2"
        return EC2Request(verb: "GET", host: "127.0.0.1", path: "/v1/", parameters: parameters, signature: signature)
    }

    @Test(arguments: [
        old("0", ["Timestamp": "2012-11-27T11:47:02Z", "Action": "Foo"], "SmXQEZAUdQw5glv5mX8mmixBtas="),
        old("1", [:], "VRnoQH/EhVTTLhwRLfuL7jmFW9c="),
        old("2", [:], "odsGmT811GffUO0Eu13Pq+xTzKNIjJ6NhgZU74tYX/w="),
        old("2", ["SignatureMethod": "HmacSHA1"], "ZqCxMI4ZtTXWI175743mJ0hy/Gc="),
    ])
    func `takes what Keystone's client signs`(request: EC2Request) throws {
        let now = try time("2012-11-27T11:50:00Z")
        try request.verify(secret: Self.client, now: now)
        #expect(throws: EC2SignatureError.mismatch) { try request.verify(secret: "x", now: now) }
        var changed = request
        changed.parameters["Timestamp"] = "2012-11-27T11:48:00Z"
        #expect(throws: EC2SignatureError.mismatch) { try changed.verify(secret: Self.client, now: now) }
        changed = request
        changed.signature = String(request.signature.dropLast())
        #expect(throws: EC2SignatureError.mismatch) { try changed.verify(secret: Self.client, now: now) }
    }

    /// AWS General Reference, "Signature Version 2 signing process": the request to Elastic MapReduce.
    private static let mapReduce = EC2Request(
        verb: "GET", host: "elasticmapreduce.amazonaws.com", path: "/",
        parameters: [
            "Action": "DescribeJobFlows", "Version": "2009-03-31", "AWSAccessKeyId": "AKIAIOSFODNN7EXAMPLE",
            "SignatureVersion": "2", "SignatureMethod": "HmacSHA256", "Timestamp": "2011-10-03T15:19:30",
        ], signature: "i91nKc4PWAt0JJIdXwz9HxZCJDdiy6cf/Mj6vPxyYIs=")

    @Test func `has AWS' example of version 2`() throws {
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
        try Self.mapReduce.verify(secret: secret, now: time("2011-10-03T15:30:00Z"))
        var withPort = Self.mapReduce
        withPort.host = "elasticmapreduce.amazonaws.com:443"
        try withPort.verify(secret: secret, now: time("2011-10-03T15:30:00Z"))
        withPort.host = "elasticmapreduce.amazonaws.org:443"
        #expect(throws: EC2SignatureError.mismatch) {
            try withPort.verify(secret: secret, now: time("2011-10-03T15:30:00Z"))
        }
    }

    /// AWS General Reference, "Signature Version 4 signing process": ListUsers, in a header.
    private static let listUsers = EC2Request(
        verb: "GET", host: "iam.amazonaws.com", path: "/",
        parameters: ["Action": "ListUsers", "Version": "2010-05-08"],
        headers: [
            "Host": "iam.amazonaws.com", "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
            "X-Amz-Date": "20150830T123600Z",
            "Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
                + "SignedHeaders=content-type;host;x-amz-date, Signature=5d67",
        ], bodyHash: emptyHash, signature: "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")

    @Test func `has AWS' examples of version 4`() throws {
        let now = try time("20150830T124000Z")
        try Self.listUsers.verify(secret: Self.example, now: now)
        // AWS' test suite, get-vanilla.
        try EC2Request(
            verb: "GET", host: "example.amazonaws.com", path: "/", parameters: [:],
            headers: [
                "host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z",
                "authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                    + "SignedHeaders=host;x-amz-date",
            ], bodyHash: Self.emptyHash, signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        ).verify(secret: Self.example, now: now)
        // AWS' CreateUser, as keystoneclient's own tests have it.
        var create = EC2Request(
            verb: "POST", host: "iam.amazonaws.com", path: "/", parameters: ["Action": "CreateUser"],
            headers: [
                "Content-type": "application/x-www-form-urlencoded; charset=utf-8", "X-Amz-Date": "20110909T233600Z",
                "Host": "iam.amazonaws.com",
                "Authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20110909/us-east-1/iam/aws4_request,"
                    + "SignedHeaders=content-type;host;x-amz-date,",
            ], bodyHash: "b6359072c78d70ebee1e81adcbab4f01bf2c23245fa365ef83fe8f1f955085e2",
            signature: "ced6826de92d2bdeed8f846f0bf508e8559e98e4b0199114b84c54174deb456c")
        try create.verify(secret: Self.example, now: time("20110909T233600Z"))
        create.headers["Host"] = "foo:8000"
        create.signature = "26dd92ea79aaa49f533d13b1055acdcd7d7321460d64621f96cc79c4f4d4ab2b"
        try create.verify(secret: Self.example, now: time("20110909T233600Z"))
    }

    @Test func `anything signed that is changed does not pass`() throws {
        let now = try time("20150830T124000Z")
        let changes: [(inout EC2Request) -> Void] = [
            { $0.verb = "PUT" }, { $0.path = "/x" }, { $0.parameters["Action"] = "DeleteUser" },
            { $0.parameters["More"] = "1" }, { $0.headers["Host"] = "example.com" }, { $0.bodyHash = "00" },
            { $0.headers["X-Amz-Date"] = "20150830T123601Z" }, { $0.signature = "5d" },
            { $0.headers["Content-Type"] = "text/plain" },
        ]
        for change in changes {
            var request = Self.listUsers
            change(&request)
            #expect(throws: EC2SignatureError.mismatch) { try request.verify(secret: Self.example, now: now) }
        }
    }

    @Test func `takes version 4 from the query`() throws {
        let scope = ["20150830", "us-east-1", "ec2", "aws4_request"]
        let parameters = [
            "Action": "List é *", "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Date": "20150830T123600Z",
            "X-Amz-SignedHeaders": "host", "X-Amz-Credential": (["AKID"] + scope).joined(separator: "/"),
        ]
        #expect(
            EC2Request.query(parameters)
                == "Action=List%20%C3%A9%20%2A&X-Amz-Algorithm=AWS4-HMAC-SHA256"
                + "&X-Amz-Credential=AKID%2F20150830%2Fus-east-1%2Fec2%2Faws4_request&X-Amz-Date=20150830T123600Z"
                + "&X-Amz-SignedHeaders=host")
        // Computed with keystoneclient 5.
        let request = EC2Request(
            verb: "GET", host: "h", path: "/", parameters: parameters, headers: ["Host": "h"],
            bodyHash: Self.emptyHash, signature: "a26c7b590307726fb013c8eaea5014f719dca1588aba95289f207a6bb72c834a")
        try request.verify(secret: "s", now: time("20150830T123600Z"))
    }

    @Test func `signed times end`() throws {
        for (now, error) in [
            ("20150830T125100Z", nil), ("20150830T122100Z", nil),
            ("20150830T125101Z", .expired(try time("20150830T123600Z"))),
            ("20150830T122059Z", .early(try time("20150830T123600Z"))),
        ] as [(String, EC2SignatureError?)] {
            let now = try time(now)
            var thrown: EC2SignatureError?
            do throws(EC2SignatureError) {
                try Self.listUsers.verify(secret: Self.example, now: now)
            } catch { thrown = error }
            #expect(thrown == error)
        }
        // A time that was not signed does not make an old request young.
        var old = Self.listUsers
        old.verb = "POST"
        old.signature = "36eb6a0394d2f15b199467414466aff676cb93410e2b43a7b621f4f9ede4ce88"
        try old.verify(secret: Self.example, now: time("20150830T123600Z"))
        old.parameters["Timestamp"] = "2015-09-30T00:00:00Z"
        #expect(throws: EC2SignatureError.expired(try time("20150830T123600Z"))) {
            try old.verify(secret: Self.example, now: time("2015-09-30T00:00:00Z"))
        }
    }

    @Test(arguments: [
        ("2015-08-30T12:36:00Z", "2015-08-30T12:36:00Z"), ("20150830T123600Z", "2015-08-30T12:36:00Z"),
        ("2015-08-30T12:36:00", "2015-08-30T12:36:00Z"), ("2015-08-30 12:36:00.123456", "2015-08-30T12:36:00Z"),
        ("2015-08-30T12:36:00+02:00", "2015-08-30T10:36:00Z"), ("20150830T123600-0130", "2015-08-30T14:06:00Z"),
        ("2015-08-30T12:36:00+02", "2015-08-30T10:36:00Z"),
    ])
    func `reads times of ISO 8601`(text: String, time: String) {
        #expect(EC2Time.parse(text)?.description == time)
    }

    @Test(arguments: ["", "now", "2015-02-30T12:36:00Z", "2015-08-30", "2015-08-30T12:36Z", "2015-08-30T12:36:00Zx"])
    func `refuses other times`(text: String) throws {
        #expect(EC2Time.parse(text) == nil)
        #expect(EC2Time.parse(text + String(repeating: "0", count: 50)) == nil)
        #expect(throws: EC2SignatureError.badTime) {
            try EC2Time.check(text, now: time("20150830T123600Z"), lifetime: .seconds(900))
        }
    }

    @Test func `requests without form are refused`() throws {
        let now = try time("20150830T124000Z")
        let changes: [(EC2SignatureError, (inout EC2Request) -> Void)] = [
            (.missing, { $0.signature = "" }), (.unknownVersion, { $0.headers = [:] }),
            (.unknownVersion, { $0.parameters["SignatureVersion"] = "3" }),
            (.unknownVersion, { $0.headers["Authorization"] = "Basic x" }),
            (.malformed, { $0.headers["Authorization"] = "AWS4-HMAC-SHA256" }),
            (.malformed, { $0.headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host" }),
            (.malformed, { $0.headers["X-Amz-Date"] = nil }),
            (.malformed, { $0.headers["X-Amz-Date"] = "20150831T123600Z" }),
            (.malformed, { $0.path = "/\n" }), (.malformed, { $0.bodyHash = String(repeating: "a", count: 70_000) }),
            (.malformed, { $0.parameters["SignatureVersion"] = "0" }),
        ]
        for (error, change) in changes {
            var request = Self.listUsers
            change(&request)
            #expect(throws: error) { try request.verify(secret: Self.example, now: now) }
        }
    }
}

@Suite struct S3SignatureTests {
    private let now = Timestamp(millisecondsSinceEpoch: 1_440_938_400_000)
    private let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

    private func token(_ text: String) -> String { Base64.urlSafe.encode(text.utf8) }

    /// Amazon S3, "Signing and authenticating REST requests": object GET.
    @Test func `has S3's example of version 2`() throws {
        let text = "GET\n\n\nTue, 27 Mar 2007 19:36:42 +0000\n/awsexamplebucket1/photos/puppy.jpg"
        let request = S3Request(token: token(text) + "==", signature: "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=")
        try request.verify(secret: secret, now: now)
        #expect(throws: EC2SignatureError.mismatch) { try request.verify(secret: secret + "x", now: now) }
        var late = request
        late.time = now.advanced(by: .seconds(-901)).description
        #expect(throws: EC2SignatureError.self) { try late.verify(secret: secret, now: now) }
        late.time = now.advanced(by: .seconds(-899)).description
        try late.verify(secret: secret, now: now)
    }

    /// Amazon S3, "Signature calculations for the Authorization header": GET object.
    @Test func `has S3's example of version 4`() throws {
        let lines = [
            "AWS4-HMAC-SHA256", "20130524T000000Z", "20130524/us-east-1/s3/aws4_request",
            "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972",
        ]
        let signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        try S3Request(token: token(lines.joined(separator: "\n")), signature: signature).verify(
            secret: secret, now: now)
        for (index, wrong) in [(0, "AWS4-HMAC-SHA1"), (2, "20130524/us-east-1/ec2/aws4_request"), (2, "x/y/s3")] {
            var changed = lines
            changed[index] = wrong
            #expect(throws: EC2SignatureError.malformed) {
                try S3Request(token: token(changed.joined(separator: "\n")), signature: signature).verify(
                    secret: secret, now: now)
            }
        }
    }

    @Test(arguments: ["", "é", "A", "=", "//8"]) func `any token is taken or refused`(token: String) {
        #expect(throws: EC2SignatureError.self) {
            try S3Request(token: token, signature: "x").verify(secret: secret, now: now)
        }
        #expect(throws: EC2SignatureError.missing) {
            try S3Request(token: token, signature: "").verify(secret: secret, now: now)
        }
    }
}
