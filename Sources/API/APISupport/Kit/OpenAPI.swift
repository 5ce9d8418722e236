import HTTPTypes
import Primitives

extension APIService {
    /// The service as an OpenAPI 3.1 document, made of its routes.
    public var openAPI: JSONValue {
        var paths: [String: JSONValue] = [:]
        for (path, routes) in Dictionary(grouping: routes, by: \.path) {
            var item: [String: JSONValue] = [:]
            for route in routes { item[route.method.rawValue.lowercased()] = operation(route) }
            if let parameters = routes.first?.parameters, !parameters.isEmpty {
                item["parameters"] = .array(
                    parameters.map {
                        [
                            "name": .string($0), "in": "path", "required": true,
                            "schema": ["type": "string", "minLength": 1],
                        ]
                    })
            }
            paths[path.isEmpty ? "/" : path] = .object(item)
        }
        return [
            "openapi": "3.1.0", "info": ["title": .string(title), "version": "1"],
            "servers": [["url": .string(path)]], "paths": .object(paths),
            "components": [
                "securitySchemes": ["token": ["type": "apiKey", "in": "header", "name": "X-Auth-Token"]],
                "schemas": ["Error": ["type": "object"]],
            ],
        ]
    }

    private func operation(_ route: APIRoute<Backend>) -> JSONValue {
        var success: [String: JSONValue] = [:]
        if let schema = route.response { success["content"] = ["application/json": ["schema": schema.document]] }
        let failure: JSONValue = [
            "description": "An error; its body says what to do.",
            "content": ["application/json": ["schema": ["$ref": "#/components/schemas/Error"]]],
        ]
        var responses: [String: JSONValue] = ["4XX": failure, "503": failure, "507": failure]
        for status in [route.status, route.otherStatus].compactMap({ $0 }) {
            responses["\(status.code)"] = .object(success.merging(["description": .string(status.reasonPhrase)]) { $1 })
        }
        var members: [String: JSONValue] = [
            "summary": .string(route.summary),
            "operationId": .string("\(route.method.rawValue.lowercased())\(route.path.replacing("/", with: "_"))"),
            "responses": .object(responses),
        ]
        if route.access != .open { members["security"] = [["token": []]] }
        if case .rule(let rule) = route.access { members["x-policy"] = .string(rule) }
        if let first = route.versions?.lowerBound { members["x-min-version"] = .string("\(first)") }
        if let schema = route.request {
            members["requestBody"] = [
                "required": true, "content": ["application/json": ["schema": schema.document]],
            ]
        }
        if !route.query.isEmpty {
            members["parameters"] = .array(
                route.query.map {
                    [
                        "name": .string($0.name), "in": "query", "description": .string($0.summary),
                        "schema": $0.schema.document,
                    ]
                })
        }
        return .object(members)
    }
}
