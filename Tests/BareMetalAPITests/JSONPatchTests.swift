import FoundationEssentials
import Primitives
import Testing

private func json(_ text: String) throws -> JSONValue {
    try JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))
}

/// The examples of RFC 6902, appendix A: document, patch, and the result; nil: the patch is refused.
private let examples: [(String, String, String, String?)] = [
    ("A.1", #"{"foo":"bar"}"#, #"[{"op":"add","path":"/baz","value":"qux"}]"#, #"{"baz":"qux","foo":"bar"}"#),
    (
        "A.2", #"{"foo":["bar","baz"]}"#, #"[{"op":"add","path":"/foo/1","value":"qux"}]"#,
        #"{"foo":["bar","qux","baz"]}"#
    ),
    ("A.3", #"{"baz":"qux","foo":"bar"}"#, #"[{"op":"remove","path":"/baz"}]"#, #"{"foo":"bar"}"#),
    ("A.4", #"{"foo":["bar","qux","baz"]}"#, #"[{"op":"remove","path":"/foo/1"}]"#, #"{"foo":["bar","baz"]}"#),
    (
        "A.5", #"{"baz":"qux","foo":"bar"}"#, #"[{"op":"replace","path":"/baz","value":"boo"}]"#,
        #"{"baz":"boo","foo":"bar"}"#
    ),
    (
        "A.6", #"{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}"#,
        #"[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]"#,
        #"{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}"#
    ),
    (
        "A.7", #"{"foo":["all","grass","cows","eat"]}"#, #"[{"op":"move","from":"/foo/1","path":"/foo/3"}]"#,
        #"{"foo":["all","cows","eat","grass"]}"#
    ),
    (
        "A.8", #"{"baz":"qux","foo":["a",2,"c"]}"#,
        #"[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}]"#,
        #"{"baz":"qux","foo":["a",2,"c"]}"#
    ),
    ("A.9", #"{"baz":"qux"}"#, #"[{"op":"test","path":"/baz","value":"bar"}]"#, nil),
    (
        "A.10", #"{"foo":"bar"}"#, #"[{"op":"add","path":"/child","value":{"grandchild":{}}}]"#,
        #"{"foo":"bar","child":{"grandchild":{}}}"#
    ),
    (
        "A.11", #"{"foo":"bar"}"#, #"[{"op":"add","path":"/baz","value":"qux","xyz":123}]"#,
        #"{"foo":"bar","baz":"qux"}"#
    ),
    ("A.12", #"{"foo":"bar"}"#, #"[{"op":"add","path":"/baz/bat","value":"qux"}]"#, nil),
    ("A.14", #"{"/":9,"~1":10}"#, #"[{"op":"test","path":"/~01","value":10}]"#, #"{"/":9,"~1":10}"#),
    ("A.15", #"{"/":9,"~1":10}"#, #"[{"op":"test","path":"/~01","value":"10"}]"#, nil),
    (
        "A.16", #"{"foo":["bar"]}"#, #"[{"op":"add","path":"/foo/-","value":["abc","def"]}]"#,
        #"{"foo":["bar",["abc","def"]]}"#
    ),
]

@Suite struct JSONPatchTests {
    @Test(arguments: examples) func examplesOfTheStandardHold(_ example: (String, String, String, String?)) throws {
        let (name, document, patch, expected) = example
        let applied = try? JSONPatch(json(patch)).applied(to: json(document))
        #expect(try applied == expected.map(json), "\(name)")
    }

    @Test(arguments: [
        #"{}"#, #"[{"path":"/a"}]"#, #"[{"op":"add","path":"/a"}]"#, #"[{"op":"spam","path":"/a"}]"#,
        #"[{"op":"add","path":"a","value":1}]"#, #"[{"op":"add","path":"/a~2","value":1}]"#,
        #"[{"op":"move","path":"/a"}]"#,
        #"[{"op":"remove","path":"/list/01"}]"#, #"[{"op":"remove","path":"/list/-1"}]"#,
        #"[{"op":"remove","path":"/list/1"}]"#,
        #"[{"op":"replace","path":"/none","value":1}]"#, #"[{"op":"move","from":"/in","path":"/in/side"}]"#,
    ]) func whatCannotBeIsRefused(_ patch: String) throws {
        let document = try json(#"{"list":[1],"in":{"side":1}}"#)
        #expect(throws: JSONPatchError.self) { try JSONPatch(json(patch)).applied(to: document) }
    }

    @Test func aPatchIsDoneAllOrNotAtAllAndNumbersAreComparedByTheirWorth() throws {
        let document = try json(#"{"a":1}"#)
        let patch = try json(#"[{"op":"test","path":"/a","value":1.0},{"op":"replace","path":"/a","value":2}]"#)
        #expect(try JSONPatch(patch).applied(to: document) == json(#"{"a":2}"#))
        let long = JSONValue.array(
            Array(repeating: ["op": "remove", "path": "/a"], count: JSONPatch.operationCountMax + 1))
        #expect(throws: JSONPatchError.self) { try JSONPatch(long) }
    }
}
