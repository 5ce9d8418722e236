import FoundationEssentials
import Primitives

/// A drive whose medium comes over the network (DSP0268 VirtualMedia).
public struct VirtualMedia: RedfishResource, Decodable, Hashable {
    public static let typeName = "VirtualMedia"

    /// For example `CD` or `DVD`.
    public let mediaTypes: [String]
    /// Whether a medium is in it.
    public let isInserted: Bool
    /// Where that comes from.
    public let image: String?
    /// Where `InsertMedia` is posted; nil: it has no such action.
    public let insert: ResourcePath?
    /// Where `EjectMedia` is posted; nil: it has no such action.
    public let eject: ResourcePath?

    /// Whether optical media go into it.
    public var isOptical: Bool { mediaTypes.contains { ["CD", "DVD"].contains($0.uppercased()) } }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: MemberName.self)
        mediaTypes = container.texts("MediaTypes") ?? []
        image = container.text("Image")
        isInserted = (try? container.decodeIfPresent(Bool.self, forKey: "Inserted")) ?? (image != nil)
        let actions = try? container.nestedContainer(keyedBy: MemberName.self, forKey: "Actions")
        func target(_ name: MemberName) -> ResourcePath? {
            (try? actions?.nestedContainer(keyedBy: MemberName.self, forKey: name))
                .flatMap { try? $0.decode(ResourcePath.self, forKey: "target") }
        }
        insert = target("#VirtualMedia.InsertMedia")
        eject = target("#VirtualMedia.EjectMedia")
    }
}

extension RedfishRequest {
    /// Inserts the image at `url` (DSP0268 VirtualMedia.InsertMedia). `brief`: with the one parameter that must be there
    /// only, for services that refuse the others.
    public static func insertMedia(_ action: ResourcePath, image url: String, brief: Bool = false) -> RedfishRequest {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let body = try? encoder.encode(
            Insertion(image: url, isInserted: brief ? nil : true, isWriteProtected: brief ? nil : true))
        return RedfishRequest(method: .post, path: action, body: body.map { Array($0) }, ifMatch: nil)
    }

    /// Ejects what is inserted (DSP0268 VirtualMedia.EjectMedia).
    public static func ejectMedia(_ action: ResourcePath) -> RedfishRequest {
        RedfishRequest(method: .post, path: action, body: Array("{}".utf8), ifMatch: nil)
    }

    private struct Insertion: Encodable {
        var image: String
        var isInserted: Bool?
        var isWriteProtected: Bool?

        enum CodingKeys: String, CodingKey {
            case image = "Image"
            case isInserted = "Inserted"
            case isWriteProtected = "WriteProtected"
        }
    }
}
