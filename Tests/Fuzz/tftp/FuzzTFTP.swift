// A libFuzzer target: any bytes are a TFTP message or an error, a message decodes from its own encoding, and a session
// that is sent them ends in bounded time with bounded output.
// `Tests/Fuzz/run.sh tftp SECONDS` builds it together with the codec's sources into one module and runs it.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzTFTP(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    guard let packet = try? TFTPPacket(decoding: bytes) else { return 0 }
    var options: [TFTPOption] = []
    switch packet {
    case .readRequest(let request), .writeRequest(let request):
        options = request.options
        _ = request.path
    case .error: return 0
    default: break
    }
    guard (try? TFTPPacket(decoding: packet.encoded)) == packet else { fatalError("a message changed") }
    let content = [UInt8](repeating: 7, count: 3000)
    var session = TFTPReadSession(content, for: options, now: .zero)
    guard session.step(.begin, now: .zero).count <= 16 else { fatalError("too much at the beginning") }
    guard session.step(.received(packet), now: .seconds(1)).count <= 17 else { fatalError("too much in answer") }
    var now: Duration = .seconds(2)
    for _ in 0..<1000 {
        let effects = session.step(.tick, now: now)
        if effects.contains(where: { if case .finish = $0 { true } else { false } }) { return 0 }
        now += .seconds(1)
    }
    if session.step(.tick, now: .seconds(100_000)).isEmpty { return 0 }
    fatalError("a session goes on for ever")
}
