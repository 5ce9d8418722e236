import CXML
import Primitives

/// An element of a small XML document, read by libxml2.
struct XMLTree: Hashable, Sendable {
    /// The largest document in bytes.
    static let sizeMax = 4 << 20
    /// The most elements of a document.
    static let elementCountMax = 20_000
    /// How deep elements may stand in each other.
    static let depthMax = 32

    var name: String
    var attributes: [String: String] = [:]
    /// The text directly in it, without white space around it.
    var text = ""
    var children: [XMLTree] = []

    /// Reads a document; entities are not expanded and nothing is fetched. Throws `XMLError`.
    init(parsing text: String) throws(XMLError) {
        guard text.utf8.count <= Self.sizeMax else { throw XMLError(reason: "it is over \(Self.sizeMax) bytes") }
        let options =
            XML_PARSE_NONET.rawValue | XML_PARSE_NOERROR.rawValue | XML_PARSE_NOWARNING.rawValue
            | XML_PARSE_NOBLANKS.rawValue
        let document = text.withCString { xmlReadMemory($0, Int32(text.utf8.count), nil, nil, Int32(options)) }
        guard let document else { throw XMLError(reason: "it is not XML") }
        defer { xmlFreeDoc(document) }
        guard let root = xmlDocGetRootElement(document) else { throw XMLError(reason: "it is empty") }
        var room = Self.elementCountMax
        self = try Self.element(root, depth: 1, room: &room)
    }

    private init(name: String) { self.name = name }

    private static func element(_ node: xmlNodePtr, depth: Int, room: inout Int) throws(XMLError) -> XMLTree {
        room -= 1
        guard room >= 0, depth <= depthMax else { throw XMLError(reason: "it has too many elements") }
        var tree = XMLTree(name: string(node.pointee.name))
        var attribute = node.pointee.properties
        while let current = attribute {
            tree.attributes[string(current.pointee.name)] = content(current.pointee.children)
            attribute = current.pointee.next
        }
        var child = node.pointee.children
        while let current = child {
            if current.pointee.type == XML_ELEMENT_NODE {
                tree.children.append(try element(current, depth: depth + 1, room: &room))
            }
            child = current.pointee.next
        }
        tree.text = content(node.pointee.children).trimmed
        return tree
    }

    /// The text of a row of nodes.
    private static func content(_ first: xmlNodePtr?) -> String {
        var text = ""
        var node = first
        while let current = node {
            let type = current.pointee.type
            if type == XML_TEXT_NODE || type == XML_CDATA_SECTION_NODE { text += string(current.pointee.content) }
            node = current.pointee.next
        }
        return text
    }

    private static func string(_ bytes: UnsafePointer<xmlChar>?) -> String {
        bytes.map { String(decodingCString: $0, as: UTF8.self) } ?? ""
    }

    // MARK: Reading

    /// The elements of this name right below.
    func all(_ name: String) -> [XMLTree] { children.filter { $0.name == name } }

    /// The first element at a path of names below.
    func first(_ path: String...) -> XMLTree? {
        var tree = self
        for name in path {
            guard let next = tree.children.first(where: { $0.name == name }) else { return nil }
            tree = next
        }
        return tree
    }

    /// A number in an attribute.
    func number(_ attribute: String) -> Int? { attributes[attribute].flatMap { Int($0) } }
}

/// A document that cannot be read.
struct XMLError: Error, Hashable {
    let reason: String
}

extension String {
    fileprivate var trimmed: String {
        let isSpace: (Character) -> Bool = { $0.isWhitespace }
        guard let first = firstIndex(where: { !isSpace($0) }), let last = lastIndex(where: { !isSpace($0) }) else {
            return ""
        }
        return String(self[first...last])
    }
}
