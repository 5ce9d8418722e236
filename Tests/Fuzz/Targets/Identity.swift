import Identity

extension FuzzTarget {
    /// What is inside an identity token's seal: a payload that its own encoding gives again.
    static let tokenPayload = FuzzTarget("token-payload", sizeMax: 4096) { bytes in
        guard let payload = TokenPayload(decoding: bytes) else { return }
        let encoded = payload.encoded
        try require(encoded.count <= bytes.count + 16, "an encoding about as long as what was read")
        try require(TokenPayload(decoding: encoded) == payload, "a payload that its encoding does not change")
    }
}
