import APISupport
import HTTPTypes
import Policy
import Primitives

extension IronicAPI {
    private static let listQuery = [
        QueryParameter("limit", .any, "The most elements of the answer."),
        QueryParameter("marker", .string(), "The last node of the page before, by UUID."),
        QueryParameter("sort_key", .string(), "The member to sort by."),
        QueryParameter("sort_dir", .string(), "asc or desc."),
        QueryParameter("fields", .string(), "The members that are shown, parted by commas."),
        QueryParameter("provision_state"), QueryParameter("maintenance"), QueryParameter("associated"),
        QueryParameter("driver"), QueryParameter("resource_class"), QueryParameter("instance_uuid"),
    ]

    static let nodeRoutes: [BareMetalRoute] = [
        BareMetalRoute(
            .get, "/v1/nodes", .rule("baremetal:node:list"), "Lists nodes.", query: listQuery, response: nodePage
        ) { try $0.listNodes(isDetailed: false) },
        BareMetalRoute(
            .get, "/v1/nodes/detail", .rule("baremetal:node:list"), "Lists nodes with all that is known of them.",
            query: listQuery, response: nodePage
        ) { try $0.listNodes(isDetailed: true) },
        BareMetalRoute(
            .get, "/v1/nodes/{node_ident}", .rule("baremetal:node:get"), "Shows a node.",
            query: [QueryParameter("fields", .string(), "The members that are shown, parted by commas.")],
            response: nodeElement, target: { try $0.nodeTarget() }
        ) { call in
            let known = Set(NodeField.defaults.keys).union([
                "uuid", "driver", "conductor", "created_at", "provision_state", "traits", "links",
            ])
            let fields = try call.fields(known: known, firstMinor: NodeField.firstMinor)
            return .json(call.render(try call.node(in: call.now), fields: fields))
        },
        BareMetalRoute(
            .post, "/v1/nodes", .rule("baremetal:node:create:self_owned_node"), "Makes a node without hardware.",
            request: .object(["driver": .string()], required: ["driver"]), response: nodeElement
        ) { try await $0.createNode() },
        BareMetalRoute(
            .patch, "/v1/nodes/{node_ident}", .rule("baremetal:node:get"), "Changes a node by a JSON patch.",
            request: .array(of: .object([:])), response: nodeElement, target: { try $0.nodeTarget() }
        ) { try await $0.patchNode() },
        BareMetalRoute(
            .delete, "/v1/nodes/{node_ident}", .rule("baremetal:node:get"), "Deletes a node without hardware.",
            target: { try $0.nodeTarget() }
        ) { try await $0.deleteNode() },
    ]
}

extension APICall where Backend == BareMetalBackend {
    /// The node that the path names, as rules see it; throws 404.
    func nodeTarget() throws -> PolicyTarget { try node(in: now).target }
}
