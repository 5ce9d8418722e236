import FoundationEssentials

extension AgentStream {
    /// The text of one message, UTF-8.
    public static func encode(_ message: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes]
        return Array(try encoder.encode(message))
    }

    /// The message in `bytes`; throws `DecodingError` when it is not one.
    public static func decode<Message: Decodable>(_ type: Message.Type, from bytes: some Sequence<UInt8>) throws
        -> Message
    {
        try JSONDecoder().decode(type, from: Data(bytes))
    }
}
